"""Compute how much faster one of two functions is, from blocks of calls that were timed in alternation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, stdev


@dataclass(frozen=True, slots=True)
class Ratio:
    """The speed of our function relative to another function (theirs), from pairs of timed blocks."""

    log: float
    """Median of ln(their time / our time) over the pairs; it is above 0 if our function is faster."""
    low: float
    high: float
    """Upper end of the 90 % interval for the mean of the pairs; ``low`` is the lower end."""
    pairs: int
    theirs: float
    ours: float
    """Median seconds of one call of our function; ``theirs`` is the median for their function."""

    @property
    def factor(self) -> float:
        return math.exp(self.log)

    def words(self) -> str:
        return f"{self.factor:.3f} times as fast (90 %: {math.exp(self.low):.3f} to {math.exp(self.high):.3f})"


def order(pairs: int) -> list[bool]:
    """Return for each block whether it times their function (A) or ours (B); the order A B B A A B B A cancels
    drift."""
    return [(block % 4) in (0, 3) for block in range(2 * pairs)]


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Return the ratio of two functions; both arguments are seconds of one call, in the order of the pairs.

    The interval assumes that the mean of the logarithms is normal; a single pair has an interval of length 0.
    """
    logs = [math.log(max(a, 1e-12) / max(b, 1e-12)) for a, b in zip(theirs, ours, strict=True)]
    centre = median(logs)
    error = stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else 0.0
    return Ratio(centre, centre - 1.645 * error, centre + 1.645 * error, len(logs), median(theirs), median(ours))
