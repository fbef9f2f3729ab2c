"""Watch the sessions of a lab for the page, and read a session again only when its files have changed."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

from autoresearch_mlx.agents.ideas import backlog
from autoresearch_mlx.errors import AutoresearchError, ConfigError
from autoresearch_mlx.lab.config import AgentSettings, load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop import control
from autoresearch_mlx.report.dashboard.gauges import LossCurve, MachineGauge
from autoresearch_mlx.report.dashboard.views import sendable, session_view
from autoresearch_mlx.report.status import lanes_in, running_in
from autoresearch_mlx.store import notes, talks
from autoresearch_mlx.store.journal import stamp
from autoresearch_mlx.store.ledger import FILE, Journal, read
from autoresearch_mlx.store.locks import holder
from autoresearch_mlx.store.minutes import minutes_of

_WRITTEN = (FILE, backlog.FILE, notes.FILE, control.FILE, f"{talks.FOLDER}/{talks.CALLS}")


@dataclass(frozen=True, slots=True)
class Look:
    """The result of one look at the files: ``version`` grows whenever ``session`` changes, while ``now`` changes all
    the time."""

    version: int
    session: dict[str, Any]
    now: dict[str, Any]


class WatchedSession:
    """Watches one session; several threads may use it."""

    def __init__(self, lab: Lab, tag: str) -> None:
        self._lab, self._folder = lab, lab.folder(tag)
        self._lock = threading.Lock()
        self._seen: object = None
        self._version = 0
        self._journal: Journal | None = None
        self._session: dict[str, Any] = {}
        self._curve, self._machine = LossCurve(), MachineGauge()

    def look(self) -> Look:
        """Read the files that have changed.  Raises LedgerError when a file cannot be read or understood."""
        with self._lock:
            journal = self._read()
            return Look(self._version, self._session, sendable(self._now(journal)))

    def _read(self) -> Journal:
        seen = (holder(self._folder), *(stamp(self._folder / name) for name in _WRITTEN))
        if seen != self._seen or self._journal is None:
            self._journal = None
            self._journal = read(self._folder / FILE)
            view = sendable(session_view(self._folder, self._journal, self._prices()))
            if view != self._session:
                self._session, self._version = view, self._version + 1
            self._seen = seen
        return self._journal

    def _prices(self) -> AgentSettings | None:
        """Return the current settings, or None if lab.toml has an error; the page then shows no prices."""
        try:
            return load_settings(self._lab.root).settings.agent
        except ConfigError:
            return None

    def _now(self, journal: Journal) -> dict[str, Any]:
        running = running_in(self._folder, journal)
        self._curve.see(running, (journal.session.get("conditions") or {}).get("budget_seconds"))
        return {
            "running": asdict(running) if running is not None else None,
            "briefs": [each.words for each in minutes_of(journal.briefs, journal.history) if each.outcome == "open"],
            "lanes": [asdict(lane) for lane in lanes_in(self._folder, journal)],
            "points": [list(point) for point in self._curve.points],
            "trace": self._curve.run,
            "machine": self._machine.see(running.pid if running is not None else None),
            "time": round(time.time(), 1),
        }


class WatchedLab:
    """Watches the sessions of a lab.

    Running sessions are read even while no page is open, so that their curves have no gaps.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._watched: dict[str, WatchedSession] = {}
        self._lock = threading.Lock()

    def session(self, tag: str) -> WatchedSession | None:
        """Return the session of that tag, or None when there is no such session."""
        if tag not in self.lab.tags():
            return None
        with self._lock:
            return self._watched.setdefault(tag, WatchedSession(self.lab, tag))

    def sessions(self) -> list[dict[str, Any]]:
        """Return the tags, newest first; ``live`` says whether a process works on the session."""
        tags = self.lab.tags()
        return [{"tag": tag, "live": holder(self.lab.folder(tag)) is not None} for tag in reversed(tags)]

    def watch(self) -> None:
        """Read the state of every running session once."""
        for each in self.sessions():
            session = self.session(each["tag"]) if each["live"] else None
            if session is not None:
                try:
                    session.look()
                except AutoresearchError:
                    continue  # the error is shown when that session is opened
