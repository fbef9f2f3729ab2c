"""Read from the records of runs how fast the machine was, and how much work each run could do at that speed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from autoresearch_mlx.experiment import Measurement
from autoresearch_mlx.judge.evidence import STEADY, Run

SLOW = 0.9
"""Share of the usual speed below which a run is marked as slow wherever it is shown."""
_EQUAL = 0.05
"""Difference between the logarithms of two speeds below which the speeds count as equal, because they cannot be
measured more exactly.
"""
_LEFT_OVER = 0.2
"""Share of a difference in speed that still counts when the budget is in reference seconds.  Memory and caches do not
slow down exactly as the processor time shows."""


def log_work(m: Measurement) -> float:
    """Return the natural logarithm of the work that a run could do at its speed, relative to the work at the reference
    speed.

    The logarithm is 0 at the reference speed, for an unknown speed, and for a run of a fixed number of steps.
    """
    if m.speed is None or not 0 < m.speed < math.inf:
        return 0.0
    speed = _beyond(math.log(m.speed))
    if m.stretch is None:
        return 0.0 if m.tokens or m.steps else speed
    worked = _beyond(math.log(m.speed * m.stretch)) if 0 < m.stretch < math.inf else speed
    return worked + _LEFT_OVER * speed


def _beyond(difference: float) -> float:
    """Return the part of a difference that exceeds the limit below which speeds count as equal."""
    return math.copysign(max(0.0, abs(difference) - _EQUAL), difference) if abs(difference) > _EQUAL else 0.0


def log_tokens(m: Measurement) -> float | None:
    """Return the natural logarithm of the tokens of a run, or None if the tokens or the machine's speed are unknown."""
    return math.log(m.tokens) if m.tokens and m.tokens > 0 and m.speed is not None else None


def steady(run: Run) -> bool:
    """Return whether a run could do its usual work, so that its value needs no correction for the speed."""
    return abs(run.log_work) <= STEADY


def mean_speed(measured: Sequence[Measurement]) -> float | None:
    """Return the machine's mean speed in the runs that count, as a share of its usual speed.

    Returns None if no speed is known.
    """
    told = [m for m in measured if m.speed is not None]
    counted = [m for m in told if not m.tainted and m.value is not None] or told
    return fmean(m.speed for m in counted if m.speed is not None) if counted else None


def slow(m: Measurement) -> bool:
    """Return whether the machine was clearly slower than usual during a run."""
    return m.speed is not None and m.speed < SLOW


def off_speed(m: Measurement) -> bool:
    """Return whether the machine was clearly slower or faster than usual during a run."""
    return m.speed is not None and not SLOW <= m.speed <= 1 / SLOW


def slowed(measured: Iterable[Measurement]) -> bool:
    """Return whether the machine was clearly slower than usual during a run that counts."""
    return any(slow(m) and not m.tainted and m.value is not None for m in measured)
