"""Turn timed blocks, taken in alternation, into one number: the paired log ratio of two times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, stdev


@dataclass(frozen=True, slots=True)
class Ratio:
    """How much faster one side was than the other, from pairs of blocks."""

    log: float
    """Median of the pairs' ln(their time / our time); above 0 means that ours is faster."""
    low: float
    high: float
    """90 % interval of the mean of the pairs."""
    pairs: int
    theirs: float
    ours: float
    """Median seconds of one call."""

    @property
    def factor(self) -> float:
        return math.exp(self.log)

    def words(self) -> str:
        return f"{self.factor:.3f} times as fast (90 %: {math.exp(self.low):.3f} to {math.exp(self.high):.3f})"


def order(pairs: int) -> list[bool]:
    """Return which side each block times (True: theirs), in the order A B B A A B B A, so that drift cancels."""
    return [(block % 4) in (0, 3) for block in range(2 * pairs)]


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Return the ratio from seconds of one call, in the order in which the pairs were taken.

    The interval assumes that the mean of the logarithms is normal; a single pair has an interval of length 0.
    """
    logs = [math.log(max(a, 1e-12) / max(b, 1e-12)) for a, b in zip(theirs, ours, strict=True)]
    centre = median(logs)
    error = stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else 0.0
    return Ratio(centre, centre - 1.645 * error, centre + 1.645 * error, len(logs), median(theirs), median(ours))
