"""Exchange results with other labs after the experiments of a run (``run --share``); each git call has a time limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from autoresearch_mlx import terms
from autoresearch_mlx.errors import AutoresearchError
from autoresearch_mlx.experiment import History
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.share.claims import LEAST_SECONDS, Claims
from autoresearch_mlx.share.exchange import pull, push
from autoresearch_mlx.share.hints import add_to_backlog
from autoresearch_mlx.share.outgoing import Source
from autoresearch_mlx.share.question import question_here, tried
from autoresearch_mlx.share.remote import Remote
from autoresearch_mlx.store.ledger import FILE, read

CALL_SECONDS = 20.0
"""Time limit of one call of git during a run."""
_PULL_SECONDS = 30.0
"""Shortest time between two pulls."""
_FIRST_WAIT, _LONGEST_WAIT = 60.0, 1800.0
"""First and longest wait in seconds before a remote that does not answer is asked again; the wait doubles each time."""
_NIGHT_SECONDS = 12 * 3600.0
"""Time in seconds for which a run does not repeat an edit that another lab has measured."""
_CLAIM = 3.0
"""Duration of a claim as a multiple of an experiment's usual duration; ``LEAST_SECONDS`` is added."""


@dataclass(slots=True)
class Sharing:
    """The exchange of one run with one remote."""

    source: Source
    remote: Remote
    machine: str
    say: Callable[[str], None]
    claims: Claims = field(init=False)
    away_until: float = 0.0
    """Time on the monotonic clock before which the remote is not asked again."""
    wait: float = _FIRST_WAIT
    pulled_at: float = -_PULL_SECONDS
    finished: int = -1
    """Number of finished experiments at the last push."""
    said_denied: bool = False
    """Whether the user has been told that the remote does not accept this lab's results."""
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)
    """Lock held during an exchange or a claim, because several threads may want to claim edits."""

    def __post_init__(self) -> None:
        self.claims = Claims(self.source.place, self.remote, self.machine)

    def between(self, files: Mapping[str, str], at_the_end: bool = False) -> None:
        """Publish finished experiments, pull new results, and add ideas that fit ``files``, the incumbent's files.

        If the remote does not answer, the run says so once and goes on alone; a later call publishes what is missing.
        """
        with self.one_at_a_time:
            self._between(files, at_the_end)

    def _between(self, files: Mapping[str, str], at_the_end: bool) -> None:
        if time.monotonic() < self.away_until and not at_the_end:
            return
        try:
            self._push()
            if time.monotonic() - self.pulled_at >= _PULL_SECONDS and not at_the_end:
                self._pull(files)
            self.claims.expire()
        except AutoresearchError as error:  # a failed exchange never ends a run
            self._left_alone(error)
        else:
            self._answered()

    def _push(self) -> None:
        finished = len(read(self.source.folder / FILE).history.experiments)
        if finished == self.finished:
            return
        sent = push(self.source, self.remote)
        self.finished = finished
        if self.away_until and sent.published:
            self.say(f"share: published {terms.plural(len(sent.published), 'waiting result')}")
        if sent.refused:
            refused = terms.plural(len(sent.refused), "result")
            self.say(f"share: {refused} not published: the remote already has different contents under the same names")
        if sent.denied and not self.said_denied:
            self.said_denied = True
            said = f"share: {self.remote.said} does not accept this lab's results"
            self.say(f"{said}; the run goes on, and the next push tries again")

    def _pull(self, files: Mapping[str, str]) -> None:
        received = pull(self.source.place, self.remote)
        self.pulled_at = time.monotonic()
        for words, number in received.refused.items():
            each = ", each" if number > 1 else ""
            self.say(f"share: refused {terms.plural(number, 'object')}{each} because {words}")
        if received.new:
            journal = read(self.source.folder / FILE)
            ideas = add_to_backlog(self.source.folder, received.new, journal, files, self.source.root)
            more = f", {terms.plural(ideas, 'idea')} for the backlog" if ideas else ""
            self.say(f"share: {terms.plural(len(received.new), 'result')} of other labs{more}")

    def claim(self, before: Mapping[str, str], after: Mapping[str, str], history: History) -> str | None:
        """Claim an edit before it is measured; return why the edit may not be measured, or None if it may.

        ``before`` has all files before the edit, and ``after`` has the changed files.  If the remote does not answer,
        the edit may be measured.
        """
        with self.one_at_a_time:
            return self._claim(before, after, history)

    def _claim(self, before: Mapping[str, str], after: Mapping[str, str], history: History) -> str | None:
        journal = read(self.source.folder / FILE)
        asked = question_here(journal.comparability or {}, journal, self.source.root)
        hypothesis = tried(asked, before, after)
        if (known := self._measured_elsewhere(hypothesis)) is not None:
            return known
        if time.monotonic() < self.away_until:
            return None
        try:
            taken = self.claims.take(asked, hypothesis, _CLAIM * (_pace(history) or 0.0) + LEAST_SECONDS)
        except AutoresearchError as error:
            self._left_alone(error)
            return None
        return f"the same edit is being measured elsewhere: {taken}" if taken is not None else None

    def _measured_elsewhere(self, hypothesis: str) -> str | None:
        """Return a sentence that names another lab which measured this edit in the last ``_NIGHT_SECONDS``, or None if
        there is no such lab."""
        for each in reversed(self.source.place.pulled()):
            if each.result.hypothesis == hypothesis and _age(each.time) < _NIGHT_SECONDS:
                result = each.result
                return f"lab {result.lab} has just measured the same edit on {result.chip}: {result.status}"
        return None

    def _left_alone(self, error: AutoresearchError) -> None:
        if self.away_until == 0.0:
            self.say(f"share: {error}; the run goes on alone and tries again in {terms.took(self.wait)}")
        self.away_until = time.monotonic() + self.wait
        self.wait = min(2 * self.wait, _LONGEST_WAIT)

    def _answered(self) -> None:
        if self.away_until:
            self.say(f"share: {self.remote.said} answers again")
        self.away_until, self.wait = 0.0, _FIRST_WAIT


def _pace(history: History) -> float | None:
    """Return the mean duration of an experiment in seconds, or None if no experiment has finished."""
    times = [(_moment(e.started), _moment(e.finished)) for e in history.experiments if e.number > 0]
    spans = [end - begin for begin, end in times if begin is not None and end is not None]
    return sum(spans) / len(spans) if spans else None


def _moment(time: str) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return None


def _age(then: str) -> float:
    moment = _moment(then)
    return float("inf") if moment is None else time.time() - moment


def machine_name(source: Source, machine: Machine) -> str:
    """Return the name of this machine in claims."""
    return source.place.machine_id({"chip": machine.chip})
