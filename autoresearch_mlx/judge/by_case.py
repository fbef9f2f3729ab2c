"""Compare two versions of an agent case by case, when every run scored the same cases.

The cases are a sample of the cases that the agent will meet.  So the error of a gain is the standard error of a mean
over cases, even when every run gives the same answers.  The test flips the signs of the differences in all possible
ways (Fisher, "The Design of Experiments", 1935, section 21) and takes the mid-p value.  For scores of 0 and 1 the test
is McNemar's test (Fagerland, Lydersen and Laake, BMC Medical Research Methodology 13:91, 2013).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

from autoresearch_mlx.experiment import Direction
from autoresearch_mlx.judge.evidence import Run

PASSED = 0.5
"""Lowest mean score of a passed case: at least half of its repeats are right."""
_STEPS = 24
"""Number of equal steps from a score of 0 to a score of 1; the test rounds differences to these steps, so that halves,
thirds, quarters and eighths stay exact."""
_FURTHEST = 8.0
_LEAST = 0.5
"""Smallest standard error of the sum of the differences over all cases.  This minimum is needed when all differences
are equal and so show no spread."""


@dataclass(frozen=True, slots=True)
class ByCase:
    """How much better one version does on the cases that both ran; positive is better."""

    gain: float
    """Mean difference of a case's score."""
    error: float
    """Standard error of the gain; it is enlarged if ``gain / error`` would otherwise be further from 0 than
    ``score``."""
    score: float
    """The normal score whose tail probability is the exact test's one-sided mid-p value."""
    cases: int
    better: int
    """Number of cases on which the candidate scores higher."""
    worse: int
    settled: bool
    """Whether more runs would add no information, because all runs of a version agree on every case."""

    @property
    def words(self) -> str:
        """The comparison as text: ``5 of 20 cases better, 1 worse``."""
        return f"{self.better} of {self.cases} cases better, {self.worse} worse"


def by_case(candidate: Sequence[Run], against: Sequence[Run], direction: Direction) -> ByCase | None:
    """Compare the candidate with the incumbent case by case, on the cases that all runs scored.

    Returns None if there are fewer than two such cases, or if a run names no cases.
    """
    ours, theirs = ([run.cases for run in side if run.cases is not None] for side in (candidate, against))
    if not ours or len(ours) < len(candidate) or not theirs or len(theirs) < len(against):
        return None
    common = sorted(set.intersection(*(set(scores) for scores in (*ours, *theirs))))
    if len(common) < 2:
        return None
    sign = -1 if direction == "min" else 1
    differences = [sign * (_mean(ours, case) - _mean(theirs, case)) for case in common]
    gain, score = fmean(differences), sign_flip_score(differences)
    error = max(stdev(differences) / math.sqrt(len(common)), _LEAST / len(common))
    if score:
        error = max(error, abs(gain / score))
    better, worse = (sum(s * d > 1e-9 for d in differences) for s in (1, -1))
    return ByCase(gain, error, score, len(common), better, worse, _settled(ours, theirs))


def sign_flip_score(differences: Sequence[float]) -> float:
    """Return the normal score of the sum of the differences, compared with the sums for all choices of signs.

    The score is positive when the sum is positive, and 0 when every difference is 0.  The computing time grows with the
    square of the number of differences.
    """
    units = [round(_STEPS * d) for d in differences]
    sizes = [abs(unit) for unit in units if unit]
    ways = [1.0]  # ways[k]: share of the choices of signs for which the positive sizes add up to k
    for size in sizes:
        longer = [0.0] * (len(ways) + size)
        for total, share in enumerate(ways):
            longer[total] += share / 2
            longer[total + size] += share / 2
        ways = longer
    observed = sum(unit for unit in units if unit > 0)
    tail = math.fsum(ways[observed + 1 :]) + ways[observed] / 2
    other = math.fsum(ways[:observed]) + ways[observed] / 2
    if min(tail, other) < 1e-15:
        return math.copysign(_FURTHEST, other - tail)
    return -NormalDist().inv_cdf(tail) if tail <= other else NormalDist().inv_cdf(other)


def _settled(ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]]) -> bool:
    sides = [side for side in (ours, theirs) if len(side) > 1]
    return bool(sides) and all(scores == side[0] for side in sides for scores in side)


def _mean(runs: Sequence[Mapping[str, float]], case: str) -> float:
    return fmean(scores[case] for scores in runs)
