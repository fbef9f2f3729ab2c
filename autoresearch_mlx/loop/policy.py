"""When to go on and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from statistics import median
from typing import Any

from autoresearch_mlx.experiment import Experiment, History
from autoresearch_mlx.terms import took


def pace(history: History) -> float | None:
    """Median seconds of a measured experiment, loop included; None before there is one."""
    spent = [_seconds(e) for e in history.experiments if e.measurements and e.seconds]
    return median(spent) if spent else None


def sofar(history: History, policy: Policy, done: int, idle: int) -> Sofar:
    """What the policy is asked with; ``done`` and ``idle`` are of this call of ``run``."""
    return Sofar(done, idle, next_seconds(history), 2 * policy.certify * (run_seconds(history) or 0.0))


def next_seconds(history: History) -> float | None:
    """Of the experiment to come: the median of the last ones, at first one run of the baseline."""
    spent = [_seconds(e) for e in history.experiments[-_LAST:] if e.number > 0 and e.measurements and e.seconds]
    if spent:
        return median(spent)
    first = history.baseline
    return _seconds(first) / len(first.measurements) if first and first.measurements and first.seconds else None


def run_seconds(history: History) -> float | None:
    """Median seconds of one whole run; None before there is one."""
    spent = [m.seconds.total() for e in history.experiments for m in e.measurements if m.value is not None]
    return median(spent) if spent else None


_LAST = 20
"""Experiments that tell how long the next one takes: an agent or a machine may have changed before them."""


def _seconds(experiment: Experiment) -> float:
    return sum(experiment.seconds.values())


@dataclass(frozen=True, slots=True)
class Sofar:
    """How far one call of ``run`` has come."""

    done: int = 0
    """Experiments, the baseline not counted."""
    idle: int = 0
    """Those since the last keep."""
    next_seconds: float | None = None
    """What the next one takes, as far as it can be told."""
    closing_seconds: float = 0.0
    """What is to follow the last one."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits of one call of ``run``; None: no limit.  Whichever comes first ends it."""

    experiments: int | None = None
    hours: float | None = None
    until: float | None = None
    """Seconds since 1970 by the wall clock: the time to be done."""
    stall: int | None = None
    """Experiments in a row that keep nothing."""
    tokens: int | None = None
    """That the session may spend on models; the agent looks before each call."""
    cost: float | None = None
    """Money, the same way."""
    certify: int = 0
    """Pairs of runs to certify with at the end, for which time is kept."""
    now: Callable[[], float] = time.monotonic
    began: float = field(default_factory=time.monotonic)
    wall: Callable[[], float] = time.time

    def stop(self, sofar: Sofar) -> str | None:
        """Why to stop now, or None.  What cannot end in time is not begun."""
        if self.experiments is not None and sofar.done >= self.experiments:
            return f"{sofar.done} experiments done, as asked"
        if self.stall is not None and sofar.idle >= self.stall:
            return f"{sofar.idle} experiments in a row kept nothing, as asked"
        for left, over, until_then in self._ends():
            if left <= 0:
                return f"{over}, as asked"
            if sofar.next_seconds is not None and left < sofar.next_seconds + sofar.closing_seconds:
                closing = f" and what follows it {took(sofar.closing_seconds)}" if sofar.closing_seconds else ""
                takes = f"the next experiment takes about {took(sofar.next_seconds)}{closing}"
                return f"{takes}, and {until_then} in {took(left)}"
        return None

    def _ends(self) -> Iterator[tuple[float, str, str]]:
        """Each limit of time: seconds left, and how it is said once it is over and before that."""
        if (left := self.seconds_left()) is not None:
            yield left, f"{self.hours:g} hours are over", f"the {self.hours:g} hours are over"
        if self.until is not None:
            at = time.strftime("%H:%M", time.localtime(self.until))
            yield self.until - self.wall(), f"it is {at}", f"it is {at}"

    def seconds_left(self) -> float | None:
        return None if self.hours is None else self.hours * 3600 - (self.now() - self.began)

    def eta_seconds(self, done: int, seconds_each: float | None) -> float | None:
        """Time until the first limit is reached, as far as it can be told."""
        limits = [max(left, 0.0) for left, *_ in self._ends()]
        if self.experiments is not None and seconds_each is not None:
            limits.append((self.experiments - done) * seconds_each)
        return min(limits) if limits else None

    def limits(self) -> dict[str, Any]:
        """What a person may set, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name in KINDS}


KINDS: Mapping[str, tuple[type, ...]] = {
    "experiments": (int,),
    "hours": (int, float),
    "until": (int, float),
    "stall": (int,),
    "tokens": (int,),
    "cost": (int, float),
}
"""The limits that a person may set, and what each may be; none is negative."""
