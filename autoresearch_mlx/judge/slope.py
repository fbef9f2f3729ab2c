"""Correct values for the speed of the machine: estimate how much a run's value changes with the speed, and the error of
that estimate.

Other programs, heat and power saving take a part of the machine from a run, so that a run with a budget of time does
less work.  So the values of runs are compared as ``value = file + slope * log_work + noise``, an analysis of covariance
(Fisher, "Statistical Methods for Research Workers", 4th ed. 1932).  The slope is estimated from repeats of one commit
at different speeds.  Before there are repeats, the error of the slope is estimated from the learning curve, which shows
how much the last part of the work gained.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean, median

from autoresearch_mlx.experiment import Measurement
from autoresearch_mlx.judge.evidence import Run, Sigma, Slope
from autoresearch_mlx.judge.sigma import pooled
from autoresearch_mlx.judge.work import by_tokens, doubt

_UNKNOWN_SHARE = 0.5
"""Error of the slope if there is no curve, as a share of the value.

If the value is itself a time, the true slope is as large as the value, and so lies two of these errors from 0.
"""
_BEND = 0.15
"""Share of the correction that is added to its error, because a learning curve is not quite a straight line over
``log_work``."""
_LATE, _LEAST_POINTS = 0.4, 4
"""Share of the budget after which a curve's slope is computed, and the smallest number of points that this computation
needs."""
_CREDIBLE = 3.0
"""Number of the prior's standard errors within which the first estimate of the slope must lie."""


def steepness(curve: Sequence[tuple[float, float]]) -> float | None:
    """Return how much lower, at most, a run's loss would end after e times as much work, as a share of that loss.

    The figure is the least-squares slope of the loss over the logarithm of the budget's share, plus the slope's
    standard error.  Returns None if there are too few points.
    """
    late = [(math.log(share), loss) for share, loss in curve if share >= _LATE and math.isfinite(loss)]
    if len(late) < _LEAST_POINTS:
        return None
    x, y = fmean(at for at, _ in late), fmean(loss for _, loss in late)
    spread = math.fsum((at - x) ** 2 for at, _ in late)
    if not spread:
        return None
    slope = math.fsum((at - x) * (loss - y) for at, loss in late) / spread
    left = math.fsum((loss - y - slope * (at - x)) ** 2 for at, loss in late) / (len(late) - 2)
    end = y + slope * (0.0 - x)
    return (max(0.0, -slope) + math.sqrt(left / spread)) / end if end > 0 else None


def prior(measured: Iterable[Measurement], value: float) -> Slope:
    """Return the slope that is assumed before there are repeats, for values near ``value``: 0, with a wide error.

    The error follows from the curves of the runs ``measured``, which show how steep the end of a run is.
    """
    told = [found for m in measured if (found := steepness(m.curve)) is not None]
    share = min(_UNKNOWN_SHARE, median(told)) if told else _UNKNOWN_SHARE
    return Slope(0.0, share * abs(value))


def learned(groups: Iterable[Sequence[Run]], before: Slope) -> tuple[Slope, Sigma]:
    """Return the slope and the sigma of one run, from groups of runs; a group has the runs of one commit in one regime.

    The estimate is a Bayesian linear regression within groups, in which ``before`` is the prior.  Without runs at
    different speeds, the slope is ``before``, and sigma is computed from the plain values.  Work is counted in tokens
    if they are known.
    """
    plain_groups = [group for group in groups if len(group) > 1]
    repeated = [told[0] if (told := by_tokens(group)) is not None else group for group in plain_groups]
    if before.error and any(run.off_speed for group in plain_groups for run in group):
        before = replace(before, doubt=doubt(plain_groups))
    plain = pooled([run.value for run in group] for group in repeated)
    if not before.error or plain.dof < 2:
        return before, plain
    spread, cross = _sums(repeated)
    if not spread:
        return before, plain
    reach = _CREDIBLE * before.error
    first = min(max(cross / spread, before.value - reach), before.value + reach)
    noise = _narrower(pooled(_at_speed(repeated, first)), 1.0)
    found, share = _updated(before, spread, cross, noise.value or 0.0)
    return found, _narrower(pooled(_at_speed(repeated, found.value)), share)


def with_repeats(slope: Slope, runs: Sequence[Run], sigma: Sigma) -> Slope:
    """Return the slope, updated by one more group of repeats of one commit."""
    if not slope.error or not sigma.known:
        return slope
    spread, cross = _sums([runs])
    if not spread:
        return slope
    return _updated(slope, spread, cross, sigma.value or 0.0)[0]


def error_between(slope: Slope, apart: float) -> float:
    """Return the standard error of a difference between runs whose ``log_work`` differs by ``apart``."""
    return abs(apart) * math.hypot(slope.error, _BEND * slope.value)


def at_reference(run: Run, slope: Slope) -> float:
    """Return the value that a run would have had at the reference speed."""
    return run.value - slope.value * run.log_work


def _sums(groups: Iterable[Sequence[Run]]) -> tuple[float, float]:
    """Return two sums within groups: the squares of ``log_work``, and its products with the values."""
    spread = cross = 0.0
    for group in groups:
        x, y = fmean(run.log_work for run in group), fmean(run.value for run in group)
        spread += math.fsum((run.log_work - x) ** 2 for run in group)
        cross += math.fsum((run.log_work - x) * (run.value - y) for run in group)
    return spread, cross


def _updated(before: Slope, spread: float, cross: float, noise: float) -> tuple[Slope, float]:
    """Return the slope updated by the two sums of :func:`_sums`, and the share of the new slope that the sums give."""
    if not noise:
        return replace(before, value=cross / spread, error=0.0), 1.0
    told, known = spread / noise**2, 1 / before.error**2
    value = (before.value * known + cross / noise**2) / (known + told)
    return replace(before, value=value, error=1 / math.sqrt(known + told)), told / (known + told)


def _at_speed(groups: Sequence[Sequence[Run]], slope: float) -> list[list[float]]:
    return [[at_reference(run, Slope(slope)) for run in group] for group in groups]


def _narrower(sigma: Sigma, share: float) -> Sigma:
    """Return sigma with one degree of freedom less if ``share``, the part of the slope that sigma's runs have shown,
    is over a half."""
    if share <= 0.5 or sigma.value is None or sigma.dof < 2:
        return sigma
    return replace(sigma, value=sigma.value * math.sqrt(sigma.dof / (sigma.dof - 1)), dof=sigma.dof - 1)
