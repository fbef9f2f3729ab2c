"""The candidate against the incumbent as one number with its standard error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from autoresearch_mlx.judge.noise import normal_score, pair_differences, quantile, with_repeats
from autoresearch_mlx.judge.values import Evidence, Run, Sigma

_PAIR_DOF = 4
"""Fewer degrees of freedom of paired differences are no ground to prefer them."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much better the candidate measured.  Without a known sigma ``error`` is 0 and there is no score."""

    gain: float
    error: float
    dof: int
    sigma: float
    """Of one run."""
    before: float
    """The incumbent's mean."""
    runs_candidate: int
    runs_incumbent: int
    paired: bool = False

    @property
    def score(self) -> float:
        """The gain in standard errors, on the scale of a known sigma."""
        return normal_score(self.gain / self.error, self.dof)


def counted(evidence: Evidence) -> Evidence:
    """The same with the runs that count: undisturbed, and of the current stand."""

    def count(runs: Sequence[Run]) -> tuple[Run, ...]:
        return tuple(run for run in runs if not run.tainted and run.stand == evidence.stand)

    return replace(evidence, candidate=count(evidence.candidate), incumbent=count(evidence.incumbent))


def record(incumbent: Sequence[Run], most: int) -> tuple[Run, ...]:
    """The incumbent's newest unselected runs; the selected ones where there is nothing else."""
    fresh = [run for run in incumbent if run.fresh]
    return tuple((fresh or incumbent)[-most:])


def compare(evidence: Evidence, most: int) -> Comparison:
    """All runs of the candidate against the incumbent's ``most`` newest; both must have some that count.

    Takes the pairs on common seeds where those are the more precise, else the two means.
    """
    against = record(evidence.incumbent, most)
    apart = _apart(evidence, against)
    together = _together(evidence, against, apart)
    return apart if together is None or _width(together) >= _width(apart) else together


def _apart(evidence: Evidence, against: Sequence[Run]) -> Comparison:
    values = [run.value for run in evidence.candidate]
    before = fmean(run.value for run in against)
    gain = _sign(evidence) * (fmean(values) - before)
    found = Comparison(gain, 0.0, 0, 0.0, before, len(values), len(against))
    if not evidence.sigma.known:
        return found
    sigma = with_repeats(evidence.sigma, values)
    assert sigma.value is not None
    error = sigma.value * math.sqrt(1 / len(values) + 1 / len(against))
    return replace(found, error=error, dof=sigma.dof, sigma=sigma.value)


def _together(evidence: Evidence, against: Sequence[Run], apart: Comparison) -> Comparison | None:
    spread: Sigma = evidence.pair_sigma
    differences = pair_differences(evidence.candidate, [run for run in against if run.fresh])
    if not differences or not apart.error or not spread.known or spread.dof < _PAIR_DOF:
        return None
    spread = with_repeats(spread, differences)
    assert spread.value is not None
    n = len(differences)
    return replace(
        apart,
        gain=_sign(evidence) * fmean(differences),
        error=spread.value / math.sqrt(n),
        dof=spread.dof,
        runs_candidate=n,
        runs_incumbent=n,
        paired=True,
    )


def _width(comparison: Comparison) -> float:
    """Half of the 90 % interval: an error that is known badly is no small error."""
    return quantile(0.95, comparison.dof) * comparison.error if comparison.error else math.inf


def _sign(evidence: Evidence) -> int:
    return -1 if evidence.direction == "min" else 1
