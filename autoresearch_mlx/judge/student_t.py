"""Compute Student's t distribution, which tells how likely a difference is by chance when sigma is itself an estimate.

With few degrees of freedom, t has heavier tails than the normal distribution (Student, "The probable error of a mean",
Biometrika 6, 1908).  The distribution is written out here, because the standard library has only the normal
distribution, and SciPy would be a large dependency for three functions.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

_FURTHEST = 8.0
"""Largest score returned: beyond this many sigma, a float can no longer represent the tail."""
_MANY = 200
"""Smallest number of degrees of freedom for which t and the normal distribution give the same score to three digits."""


def cumulative(t: float, dof: int) -> float:
    """Return P(T <= t) for ``dof`` >= 1 degrees of freedom."""
    return (1 + math.copysign(_inside(abs(t), dof), t)) / 2


def normal_score(t: float, dof: int) -> float:
    """Return the normal score with the same tail probability as ``t``; a smaller ``dof`` brings the score closer to
    0."""
    if dof >= _MANY or t == 0:
        return max(-_FURTHEST, min(_FURTHEST, t))
    tail = (1 - _inside(abs(t), dof)) / 2
    score = _FURTHEST if tail < 1e-15 else min(_FURTHEST, -NormalDist().inv_cdf(tail))
    return math.copysign(score, t)


@lru_cache(maxsize=1024)
def quantile(share: float, dof: int) -> float:
    """Return the t with P(T <= t) = ``share``.  Raises ValueError unless 0 < share < 1 and dof >= 1."""
    if not 0 < share < 1 or dof < 1:
        raise ValueError(f"t has no quantile {share} with {dof} degrees of freedom")
    if share < 0.5:
        return -quantile(1 - share, dof)
    if dof >= _MANY:
        return NormalDist().inv_cdf(share)
    low, high = 0.0, 1.0
    while cumulative(high, dof) < share:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if cumulative(middle, dof) < share else (low, middle)
    return (low + high) / 2


def _inside(t: float, dof: int) -> float:
    """Return P(|T| <= t), by the finite series in cos(theta) (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    theta = math.atan(t / math.sqrt(dof))
    square = math.cos(theta) ** 2
    odd = dof % 2
    term = math.cos(theta) if odd else 1.0
    series = 0.0 if dof == 1 else term
    for k in range(2 + odd, dof, 2):
        term *= square * (k - 1) / k
        series += term
    if odd:
        return 2 / math.pi * (theta + math.sin(theta) * series)
    return math.sin(theta) * series
