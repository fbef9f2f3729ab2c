"""Decide whether a run of the loop goes on or stops, by the limits that the user set."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from statistics import median
from typing import Any

from autoresearch_mlx.experiment import Experiment, History
from autoresearch_mlx.terms import plural, took


def pace(history: History) -> float | None:
    """Return the median seconds of a measured experiment, with the loop's own work, or None if none was measured."""
    spent = [_seconds(e) for e in history.experiments if e.measurements and e.seconds]
    return median(spent) if spent else None


def sofar(history: History, policy: Policy, done: int, idle: int) -> Sofar:
    """Return the progress of this run; ``done`` and ``idle`` are the counts that :class:`Sofar` explains."""
    return Sofar(done, idle, next_seconds(history), 2 * policy.certify * (run_seconds(history) or 0.0))


def next_seconds(history: History) -> float | None:
    """Predict the seconds of the next experiment from the last experiments, or at first from the baseline."""
    spent = [_seconds(e) for e in history.experiments[-_LAST:] if e.number > 0 and e.measurements and e.seconds]
    if spent:
        return median(spent)
    first = history.baseline
    return _seconds(first) / len(first.measurements) if first and first.measurements and first.seconds else None


def run_seconds(history: History) -> float | None:
    """Return the median seconds of the runs that were not stopped early, or None if there are none."""
    spent = [m.seconds.total() for e in history.experiments for m in e.measurements if m.value is not None]
    return median(spent) if spent else None


_LAST = 20
"""Number of the newest experiments that the prediction uses; earlier ones may be from another agent or machine."""


def _seconds(experiment: Experiment) -> float:
    return sum(experiment.seconds.values())


@dataclass(frozen=True, slots=True)
class Sofar:
    """The progress of one run of the loop, from which the policy decides."""

    done: int = 0
    """Number of experiments done, without the baseline."""
    idle: int = 0
    """Number of experiments since the last keep."""
    next_seconds: float | None = None
    """Expected seconds of the next experiment, or None if no prediction is possible."""
    closing_seconds: float = 0.0
    """Seconds that a certification needs after the last experiment."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits of one run of the loop; None means no limit.  The first limit that is reached ends the run."""

    experiments: int | None = None
    hours: float | None = None
    until: float | None = None
    """Time at which the run must be over, in seconds since 1970 by the wall clock."""
    stall: int | None = None
    """Number of experiments in a row without a keep after which the run ends."""
    tokens: int | None = None
    """Tokens that the session may spend on models; the agent checks this limit before each call of a model."""
    cost: float | None = None
    """Money that the session may spend on models; the agent checks this limit before each call of a model."""
    certify: int = 0
    """Number of pairs of runs in the certification at the end; time is reserved for these runs."""
    now: Callable[[], float] = time.monotonic
    began: float = field(default_factory=time.monotonic)
    wall: Callable[[], float] = time.time

    def stop(self, sofar: Sofar) -> str | None:
        """Return the reason to stop now, or None.  One reason is that the next experiment would not end in time."""
        if self.experiments is not None and sofar.done >= self.experiments:
            return f"{plural(sofar.done, 'experiment')} done, as asked"
        if self.stall is not None and sofar.idle >= self.stall:
            return f"{sofar.idle} experiments in a row kept nothing, which is the limit"
        for left, over, until_then in self._ends():
            if left <= 0:
                return f"{over}, as asked"
            if sofar.next_seconds is not None and left < sofar.next_seconds + sofar.closing_seconds:
                closing = f" and the certification {took(sofar.closing_seconds)}" if sofar.closing_seconds else ""
                takes = f"the next experiment takes about {took(sofar.next_seconds)}{closing}"
                return f"{takes}, and {until_then} in {took(left)}"
        return None

    def _ends(self) -> Iterator[tuple[float, str, str]]:
        """Yield three values for each time limit.

        They are the seconds left, the message for a limit that is reached, and the message for a limit that will be
        reached during the next experiment.
        """
        if (left := self.seconds_left()) is not None:
            over = f"the time limit of {self.hours:g} h is over"
            yield left, over, over
        if self.until is not None:
            at = time.strftime("%H:%M", time.localtime(self.until))
            yield self.until - self.wall(), f"it is {at}", f"it is {at}"

    def seconds_left(self) -> float | None:
        return None if self.hours is None else self.hours * 3600 - (self.now() - self.began)

    def eta_seconds(self, done: int, seconds_each: float | None) -> float | None:
        """Return the seconds until the first limit is reached, or None if this time is unknown."""
        limits = [max(left, 0.0) for left, *_ in self._ends()]
        if self.experiments is not None and seconds_each is not None:
            limits.append((self.experiments - done) * seconds_each)
        return min(limits) if limits else None

    def limits(self) -> dict[str, Any]:
        """Return the limits that the user may set, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name in KINDS}


KINDS: Mapping[str, tuple[type, ...]] = {
    "experiments": (int,),
    "hours": (int, float),
    "until": (int, float),
    "stall": (int,),
    "tokens": (int,),
    "cost": (int, float),
}
"""Name of each limit that the user may set -> its types; no limit may be negative."""
