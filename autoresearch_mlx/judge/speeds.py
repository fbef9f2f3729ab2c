"""Read from the records of runs how fast the machine was, and how much of its work that left to a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from autoresearch_mlx.experiment import Measurement
from autoresearch_mlx.judge.evidence import STEADY, Run

SLOW = 0.9
"""Speed, as a share of the usual one, below which a run is marked wherever it is shown."""
_EQUAL = 0.05
"""Speeds that differ by less than this, as a logarithm, count as equal: they are not measured more exactly."""
_LEFT_OVER = 0.2
"""Share of a difference in speed that may be left when the budget counts reference seconds: caches and memory are
slowed less, or more, than the processor time tells."""


def log_work(m: Measurement) -> float:
    """Return the natural logarithm of the work that the machine's speed left to a run, as a share of the usual work.

    0: as much as at the reference speed, or the speed is unknown, or the run ended after a fixed number of steps.
    """
    if m.speed is None or not 0 < m.speed < math.inf:
        return 0.0
    speed = _beyond(math.log(m.speed))
    if m.stretch is None:
        return 0.0 if m.tokens or m.steps else speed
    worked = _beyond(math.log(m.speed * m.stretch)) if 0 < m.stretch < math.inf else speed
    return worked + _LEFT_OVER * speed


def _beyond(difference: float) -> float:
    """Return what of a difference lies beyond the part that counts as none."""
    return math.copysign(max(0.0, abs(difference) - _EQUAL), difference) if abs(difference) > _EQUAL else 0.0


def steady(run: Run) -> bool:
    """Return whether the machine left a run its work, so that its plain value stands for its file."""
    return abs(run.log_work) <= STEADY


def mean_speed(measured: Sequence[Measurement]) -> float | None:
    """Return the mean speed of the machine in the runs that count, 1 as usual; None where no run tells it."""
    told = [m for m in measured if m.speed is not None]
    counted = [m for m in told if not m.tainted and m.value is not None] or told
    return fmean(m.speed for m in counted if m.speed is not None) if counted else None


def slow(m: Measurement) -> bool:
    """Return whether the machine was clearly slower than usual during a run."""
    return m.speed is not None and m.speed < SLOW


def slowed(measured: Iterable[Measurement]) -> bool:
    """Return whether a run that counts was taken while the machine was slow, so that its time was stretched."""
    return any(slow(m) and not m.tainted and m.value is not None for m in measured)
