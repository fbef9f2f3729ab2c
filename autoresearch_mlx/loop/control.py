"""Pass the user's orders from another terminal, or from the dashboard, to the current run.

Each order is a line of ``control.jsonl`` in the session's folder:

    began     a run has started; the line has its process and its limits
    ended     the run is over
    pause     start nothing new
    resume    continue; also takes back a stop that has not taken effect yet
    stop      end the run after this experiment
    skip      end the experiment NUMBER now; it is logged as interrupted
    policy    use other limits from now on

An order applies to one run only: ``began`` cancels all earlier orders.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from autoresearch_mlx.errors import AutoresearchError, LabError, LedgerError
from autoresearch_mlx.experiment import SKIPPED, Progress, Watch
from autoresearch_mlx.loop.policy import KINDS, Policy, Sofar
from autoresearch_mlx.store.journal import Event, read_events, stamp, writing
from autoresearch_mlx.store.ledger import FILE as LEDGER
from autoresearch_mlx.store.ledger import read
from autoresearch_mlx.store.locks import holder
from autoresearch_mlx.terms import took

FILE = "control.jsonl"
STOPPED = "by hand (autoresearch-mlx stop)"
_POLL_SECONDS = 0.5

Origin: TypeAlias = Literal["cli", "dashboard", "machine"]
Say: TypeAlias = Callable[[str], None]


class Skipped(AutoresearchError):
    """Raised to end the running measurement after the user has skipped the experiment."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The orders for the run that began last."""

    paused: bool = False
    stop: bool = False
    skips: tuple[int, ...] = ()
    """Numbers of the experiments to end, one for each order `skip`, oldest first."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """Limits that were changed during the run."""

    @property
    def skip(self) -> int | None:
        """Number of the experiment in the newest order `skip`, or None without such an order."""
        return self.skips[-1] if self.skips else None


@dataclass(frozen=True, slots=True)
class Run:
    """The run that began last, which may be over."""

    pid: int
    time: str
    limits: Mapping[str, Any]
    """Current limits, by the names of :class:`Policy`; None means no limit."""
    wish: Wish
    ended: bool = False


# --- the person's side


def live_run(folder: Path) -> Run | None:
    """Return the current run of a session, or None if there is none.

    Raises LedgerError when the file cannot be read.
    """
    return _alive(folder, read_events(folder / FILE).events)


def the_run(folder: Path) -> Run:
    """Return the current run of a session.  Raises LabError when there is none."""
    return _refuse_idle(folder, live_run(folder))


def pause(folder: Path, origin: Origin) -> bool:
    """Pause after the running experiment; return False if a pause has already been ordered.

    Each function that gives an order raises LabError when no run is in progress, and LedgerError when the order cannot
    be written.
    """
    return _want(folder, "pause", origin, unless=lambda wish: wish.paused)


def resume(folder: Path, origin: Origin) -> bool:
    """Continue after a pause, or take back a stop; return False if neither a pause nor a stop has been ordered."""
    return _want(folder, "resume", origin, unless=lambda wish: not (wish.paused or wish.stop))


def stop(folder: Path, origin: Origin) -> bool:
    """End the run after the running experiment; return False if a stop has already been ordered."""
    return _want(folder, "stop", origin, unless=lambda wish: wish.stop)


def skip(folder: Path, number: int, origin: Origin) -> bool:
    """End the running experiment ``number`` and continue with the next.

    Raises the errors of :func:`pause`, and LabError for a session's first baseline, because every experiment is
    compared with the baseline.
    """
    the_run(folder)
    if number == 0 and read(folder / LEDGER).history.baseline is None:
        said = "the baseline cannot be skipped: everything is compared with it"
        hint = "`autoresearch-mlx stop` ends the run after the baseline; Ctrl-C in the run's terminal ends the run now"
        raise LabError(said, hint)
    return _want(folder, "skip", origin, unless=lambda wish: False, number=number)


def set_limits(folder: Path, limits: Mapping[str, Any], origin: Origin) -> bool:
    """Change the run's limits to ``limits``, whose names are those of :class:`Policy`; None removes a limit."""
    return _want(folder, "policy", origin, unless=lambda wish: False, limits=dict(limits))


def _want(folder: Path, kind: str, origin: Origin, unless: Callable[[Wish], bool], **fields: Any) -> bool:
    the_run(folder)  # checked first, so that no file is made for an idle session
    with writing(folder / FILE) as journal:
        run = _refuse_idle(folder, _alive(folder, journal.events))
        if unless(run.wish):
            return False
        journal.append(kind, origin=origin, **fields)
    return True


def _refuse_idle(folder: Path, run: Run | None) -> Run:
    if run is not None:
        return run
    pid = holder(folder)
    if pid is not None:
        said = f"no run in progress; session {folder.name} is in use by process {pid}"
        raise LabError(said, f"wait until that process ends, or end it with Ctrl-C in its terminal or `kill {pid}`")
    raise LabError(f"no run in progress in session {folder.name}", "`autoresearch-mlx run` continues the session")


def _alive(folder: Path, events: Sequence[Event]) -> Run | None:
    run = _last_run(events)
    return run if run is not None and not run.ended and holder(folder) == run.pid else None


# --- the run's side


@contextmanager
def listening(folder: Path, policy: Policy, say: Say) -> Iterator[Orders]:
    """Announce that this process runs the session, and listen for orders.  The caller must hold the session's lock.

    Raises LedgerError when the announcement cannot be written.
    """
    with writing(folder / FILE) as journal:
        journal.append("began", pid=os.getpid(), limits=policy.limits())
    try:
        yield Orders(policy, folder, say)
    finally:
        # Even if this line cannot be written, other processes see that the run has ended, because its lock is free.
        with suppress(LedgerError), writing(folder / FILE) as journal:
            journal.append("ended", pid=os.getpid())


class Orders:
    """Reads the user's orders to this run, so that the loop can obey them.  Without a folder there are no orders."""

    def __init__(self, policy: Policy | None = None, folder: Path | None = None, say: Say = lambda text: None) -> None:
        self._given, self._folder, self._say = policy or Policy(), folder, say
        self._seen: tuple[int, int] | None = None
        self._wish = Wish()
        self._obeyed: dict[int, int] = {}
        """Number of an experiment -> the number of its skips that need no more action.

        These skips were obeyed, or were ordered before the experiment's measurement began.
        """
        self._reading = threading.Lock()

    @property
    def policy(self) -> Policy:
        """The current limits of the run."""
        return replace(self._given, **self._wish.limits)

    def wish(self) -> Wish:
        """Return the orders that are in the file now; several lanes may call this method at the same time.

        If the file cannot be read, a message says so, and the orders that were read last stay in force.
        """
        with self._reading:
            if self._folder is not None and (seen := stamp(self._folder / FILE)) != self._seen:
                self._seen = seen
                try:
                    run = _last_run(read_events(self._folder / FILE).events)
                except LedgerError as error:
                    self._say(f"{error}; until the file can be read, pause, stop and skip have no effect")
                else:
                    self._wish = run.wish if run is not None and run.pid == os.getpid() else self._wish
            return self._wish

    def stop(self, sofar: Sofar, watch: Watch) -> str | None:
        """Return the reason why no more experiments should start, or None; during a pause this call waits."""
        waited = False
        while True:
            if (reason := self.over(sofar)) is not None:
                return reason
            wish = self.wish()
            if not wish.paused:
                if waited:
                    self._say("continuing")
                return None
            if not waited:
                self._say("paused by hand; `autoresearch-mlx resume` continues")
            waited = True
            watch(Progress("paused"))
            time.sleep(_POLL_SECONDS)

    def over(self, sofar: Sofar) -> str | None:
        """Return the reason why no more experiments should start, or None; this call does not wait."""
        return STOPPED if self.wish().stop else self.policy.stop(sofar)

    def rest(self, sofar: Sofar, why: str, seconds: float, watch: Watch) -> str | None:
        """Pause the run because the machine fails; return None, or the reason if the run ends during the pause.

        The pause ends after ``seconds``, or when the user orders `resume`.
        """
        self._order("pause")
        self._say(f"paused: {why}; the run tries again in {took(seconds)}, or now after `autoresearch-mlx resume`")
        end = time.monotonic() + seconds
        while time.monotonic() < end and (self._folder is None or self.wish().paused):
            if (reason := self.over(sofar)) is not None:
                return reason
            watch(Progress("paused", words=why))
            time.sleep(_POLL_SECONDS)
        if self.wish().paused:
            self._order("resume")
        self._say("continuing")
        return None

    def _order(self, kind: str) -> None:
        """Write into the file of orders an order that the run gives itself.

        So `status` shows the order, and the user can take it back.
        """
        if self._folder is not None:
            with writing(self._folder / FILE) as journal:
                journal.append(kind, origin="machine")

    def watching(self, number: int, watch: Watch) -> Watch:
        """Return a watch that raises Skipped when the user skips experiment ``number``; this ends the measurement."""
        self._obeyed[number] = self.wish().skips.count(number)

        def heard(progress: Progress) -> None:
            self.obey(number)
            watch(progress)

        return heard

    def obey(self, number: int) -> None:
        """Raise Skipped if the user has skipped experiment ``number`` and this skip was not obeyed before."""
        wanted = self.wish().skips.count(number)
        if wanted > self._obeyed.get(number, 0):
            self._obeyed[number] = wanted
            raise Skipped(SKIPPED)


# --- replay


def _last_run(events: Sequence[Event]) -> Run | None:
    run: Run | None = None
    for event in events:
        if event["event"] == "began":
            run = _begun(event)
        elif run is not None and event["event"] == "ended":
            run = replace(run, ended=True)
        elif run is not None:
            wish = _after(run.wish, event)
            run = replace(run, wish=wish, limits={**run.limits, **wish.limits})
    return run


def _begun(event: Event) -> Run | None:
    pid, time_, limits = event.get("pid"), event.get("time"), event.get("limits")
    if type(pid) is not int or not isinstance(time_, str):
        return None
    return Run(pid, time_, _limits(limits), Wish())


def _after(wish: Wish, event: Event) -> Wish:
    kind = event["event"]
    if kind == "pause":
        return replace(wish, paused=True)
    if kind == "resume":
        return replace(wish, paused=False, stop=False)
    if kind == "stop":
        return replace(wish, stop=True)
    if kind == "skip" and type(number := event.get("number")) is int:
        return replace(wish, skips=(*wish.skips, number))
    if kind == "policy":
        return replace(wish, limits={**wish.limits, **_limits(event.get("limits"))})
    return wish


def _limits(written: Any) -> dict[str, Any]:
    """Return the valid limits in an event, without names that are not in KINDS."""
    if not isinstance(written, dict):
        return {}
    return {
        name: written[name]
        for name, types in KINDS.items()
        if name in written and (written[name] is None or (type(written[name]) in types and written[name] >= 0))
    }
