"""Estimate the difference between candidate and incumbent: one number with its standard error.

Two estimates are made, and the more precise one is used.  The first estimate is the difference of the two means, with
an error from the session's pooled sigma (Student's two-sample t with a common variance).  The second estimate is the
mean of the differences on common seeds (Student's paired t), with an error from earlier pairs of the same class of
changes.  If the machine was not equally fast in all runs, values are first converted to the reference speed
(:mod:`slope`).  A third estimate then uses only those runs of the incumbent during which the machine was about as fast
as for the candidate.  Runs that scored the same cases are compared case by case instead (:mod:`by_case`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from autoresearch_mlx.judge.by_case import ByCase, by_case
from autoresearch_mlx.judge.evidence import STEADY, Evidence, Run, Slope
from autoresearch_mlx.judge.sigma import pair_differences, pairs_apart, with_repeats
from autoresearch_mlx.judge.slope import at_reference, error_between
from autoresearch_mlx.judge.slope import with_repeats as slope_with_repeats
from autoresearch_mlx.judge.student_t import normal_score, quantile

_NEGLIGIBLE = 0.1
"""Errors of the runs' own values are ignored below this share of the standard error.  Such errors would add at most
0.5 % to the standard error."""
_MANY = 200
"""Degrees of freedom of a comparison by cases.  The number is large, because the score of such a comparison comes from
an exact test that needs no allowance for an uncertain sigma."""
_PAIR_DOF = 4
"""The paired estimate is used only if the standard deviation of pairs has at least this number of degrees of
freedom."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better the candidate is than the incumbent, as measured, in the metric's unit; positive is better."""

    gain: float
    error: float
    """Standard error of the gain, or 0 while sigma is unknown; there is then no score."""
    dof: int
    """Degrees of freedom of the error."""
    sigma: float
    """Standard deviation of one run."""
    before: float
    """The incumbent's mean, as measured."""
    runs_candidate: int
    runs_incumbent: int
    paired: bool = False
    """True if the gain is the mean of differences on common seeds."""
    speed_error: float = 0.0
    """Part of the standard error that is due to a difference in the machine's speed."""
    speed_gain: float = 0.0
    """Part of the gain that was added because the runs were not equally fast."""
    by_case: ByCase | None = None
    """The comparison from which the gain comes, if all runs scored the same cases; otherwise None."""

    @property
    def score(self) -> float:
        """The gain in standard errors, as the normal score that has the same tail probability as this t statistic."""
        return normal_score(self.gain / self.error, self.dof)

    @property
    def of_other_speed(self) -> bool:
        """Whether the machine's speed differed between the runs of the candidate and those of the incumbent."""
        return bool(self.speed_error or self.speed_gain)

    @property
    def blurred(self) -> bool:
        """Whether the machine's speed adds more to the error than all other sources together."""
        return 2 * self.speed_error**2 > self.error**2


def counted(evidence: Evidence) -> Evidence:
    """Return the evidence with only the runs that count: undisturbed runs of the current regime."""

    def count(runs: Sequence[Run]) -> tuple[Run, ...]:
        return tuple([run for run in runs if not run.tainted and run.regime == evidence.regime])

    candidate, incumbent = count(evidence.candidate), count(evidence.incumbent)
    if (len(candidate), len(incumbent)) == (len(evidence.candidate), len(evidence.incumbent)):
        return evidence
    return replace(evidence, candidate=candidate, incumbent=incumbent)


def newest_unselected(incumbent: Sequence[Run], most: int) -> tuple[Run, ...]:
    """Return at most ``most`` of the incumbent's unselected runs (``Run.fresh``), the newest ones.

    If no run is unselected, the newest runs are returned.
    """
    fresh = [run for run in incumbent if run.fresh]
    return tuple((fresh or incumbent)[-most:])


def difference(evidence: Evidence, most: int) -> Difference:
    """Return the difference between all runs of the candidate and the ``most`` newest runs of the incumbent.

    Candidate and incumbent must have runs, and all of these runs must count (:func:`counted`).
    """
    against = newest_unselected(evidence.incumbent, most)
    if (cases := by_case(evidence.candidate, against, evidence.direction)) is not None:
        before, sides = fmean([run.value for run in against]), (len(evidence.candidate), len(against))
        return Difference(cases.gain, cases.error, _MANY, cases.error, before, *sides, by_case=cases)
    means = _of_means(evidence, against)
    others = (_of_pairs(evidence, against, means), _at_like_speed(evidence, most))
    return min((means, *(found for found in others if found is not None)), key=_width)


def _of_means(evidence: Evidence, against: Sequence[Run]) -> Difference:
    slope, candidate = _slope(evidence), evidence.candidate
    values = [at_reference(run, slope) for run in candidate]
    before = fmean([at_reference(run, slope) for run in against])
    apart = fmean([run.log_work for run in candidate]) - fmean([run.log_work for run in against])
    gain, allowed = _sign(evidence) * (fmean(values) - before), -_sign(evidence) * slope.value * apart
    plain = fmean([run.value for run in against])
    found = Difference(gain, 0.0, 0, 0.0, plain, len(values), len(against), speed_gain=allowed)
    if not evidence.sigma.known:
        return found
    sigma = with_repeats(evidence.sigma, values)
    assert sigma.value is not None
    error = sigma.value * math.sqrt(1 / len(values) + 1 / len(against))
    error = _widened(error, candidate, against)
    return _blurred(replace(found, error=error, dof=sigma.dof, sigma=sigma.value), slope, apart)


def _of_pairs(evidence: Evidence, against: Sequence[Run], means: Difference) -> Difference | None:
    spread, slope = evidence.pair_sigma, _slope(evidence)
    fresh = [run for run in against if run.fresh]
    differences = pair_differences(evidence.candidate, fresh, slope.value)
    if not differences or not means.error or not spread.known or spread.dof < _PAIR_DOF:
        return None
    spread = with_repeats(spread, differences)
    assert spread.value is not None
    n, apart = len(differences), fmean(pairs_apart(evidence.candidate, fresh))
    found = replace(
        means,
        gain=_sign(evidence) * fmean(differences),
        error=_widened(spread.value / math.sqrt(n), evidence.candidate, against),
        dof=spread.dof,
        runs_candidate=n,
        runs_incumbent=n,
        paired=True,
        speed_gain=-_sign(evidence) * slope.value * apart,
        speed_error=0.0,
    )
    return _blurred(found, slope, apart)


def _at_like_speed(evidence: Evidence, most: int) -> Difference | None:
    """Compare the candidate with those runs of the incumbent that ran at about the candidate's speed.

    Returns None if sigma is unknown, if all of the incumbent's runs had about this speed, or if no unselected run had
    it.
    """
    speed = fmean([run.log_work for run in evidence.candidate])
    like = [run for run in evidence.incumbent if abs(run.log_work - speed) <= STEADY]
    if not evidence.sigma.known or not 0 < len(like) < len(evidence.incumbent) or not any(run.fresh for run in like):
        return None
    return _of_means(evidence, newest_unselected(like, most))


def _slope(evidence: Evidence) -> Slope:
    """Return the slope, updated by the candidate's own runs."""
    return slope_with_repeats(evidence.slope, evidence.candidate, evidence.sigma)


def _blurred(found: Difference, slope: Slope, apart: float) -> Difference:
    """Add the error that is due to the machine's speed; ``apart`` is the difference of the two sides' ``log_work``."""
    blur = error_between(slope, apart)
    return replace(found, error=math.hypot(found.error, blur), speed_error=blur) if blur else found


def _widened(error: float, candidate: Sequence[Run], against: Sequence[Run]) -> float:
    """Add the errors of the runs' own values to the standard error of the gain, unless they are negligible."""
    own = math.hypot(*(run.error / len(side) for side in (candidate, against) for run in side))
    return math.hypot(error, own) if own > _NEGLIGIBLE * error else error


def _width(found: Difference) -> float:
    """Return half the width of the 90 % interval. An error that is estimated from few runs gives a wider interval."""
    return quantile(0.95, found.dof) * found.error if found.error else math.inf


def _sign(evidence: Evidence) -> int:
    return -1 if evidence.direction == "min" else 1
