"""Allow for the speed of the machine: by how much a run's value moves with it, and how well that is known.

Other programs, heat and a saver of power leave a run less of the machine, and with a budget of time it then does less
work.  So the values of runs are compared as ``value = file + slope * log_work + noise``, an analysis of covariance
(Fisher, "Statistical Methods for Research Workers", 4th ed. 1932).  The slope is learned from repeats of one commit at
different speeds.  What is assumed before that comes from the learning curve: it shows what the last part of the work
was worth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean, median

from autoresearch_mlx.experiment import Measurement
from autoresearch_mlx.judge.evidence import Run, Sigma, Slope
from autoresearch_mlx.judge.sigma import pooled

_UNKNOWN_SHARE = 0.5
"""Error of the slope, as a share of the value, where no curve tells: a time measured by a program has a slope of 1."""
_BEND = 0.15
"""Share of the correction that is added to its error: a learning curve is bent even over the logarithm of the work."""
_LATE, _LEAST_POINTS = 0.4, 4
"""Part of the budget after which a curve's slope is taken, and the smallest number of points that it is taken from."""
_CREDIBLE = 3.0
"""Number of prior errors within which a first estimate of the slope is taken."""


def steepness(curve: Sequence[tuple[float, float]]) -> float | None:
    """Return the largest share of its loss that a run may still win with each e-fold of work, at the end of its curve.

    The slope over the logarithm of the budget's share by least squares, and its standard error on top.  None: there are
    too few points to tell.
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
    """Return what is assumed about the slope of values about ``value`` before repeats: 0, with a wide error.

    ``measured``: runs whose curves tell how steep the end of a run is.
    """
    told = [found for m in measured if (found := steepness(m.curve)) is not None]
    share = min(_UNKNOWN_SHARE, median(told)) if told else _UNKNOWN_SHARE
    return Slope(0.0, share * abs(value))


def learned(groups: Iterable[Sequence[Run]], before: Slope) -> tuple[Slope, Sigma]:
    """Return the slope and the sigma of one run, from groups of runs that are each of one commit in one regime.

    Bayesian linear regression within groups: ``before`` counts as much as its error allows.  Without runs at different
    speeds it is the answer, and sigma is that of the plain values.
    """
    repeated = [group for group in groups if len(group) > 1]
    plain = pooled([run.value for run in group] for group in repeated)
    spread, cross = _sums(repeated)
    if not spread or not before.error or plain.dof < 2:
        return before, plain
    reach = _CREDIBLE * before.error
    first = min(max(cross / spread, before.value - reach), before.value + reach)
    noise = _narrower(pooled(_at_speed(repeated, first)), 1.0)
    found, share = _updated(before, spread, cross, noise.value or 0.0)
    return found, _narrower(pooled(_at_speed(repeated, found.value)), share)


def with_repeats(slope: Slope, runs: Sequence[Run], sigma: Sigma) -> Slope:
    """Return the slope with one more group of repeats of one commit."""
    spread, cross = _sums([runs])
    if not spread or not slope.error or not sigma.known:
        return slope
    return _updated(slope, spread, cross, sigma.value or 0.0)[0]


def error_between(slope: Slope, apart: float) -> float:
    """Return the standard error of a difference between runs whose ``log_work`` lies so far apart."""
    return abs(apart) * math.hypot(slope.error, _BEND * slope.value)


def at_reference(run: Run, slope: Slope) -> float:
    """Return the value that a run would have had at the reference speed."""
    return run.value - slope.value * run.log_work


def _sums(groups: Iterable[Sequence[Run]]) -> tuple[float, float]:
    """Return the sum of squares of ``log_work`` within groups, and that of its products with the values."""
    spread = cross = 0.0
    for group in groups:
        x, y = fmean(run.log_work for run in group), fmean(run.value for run in group)
        spread += math.fsum((run.log_work - x) ** 2 for run in group)
        cross += math.fsum((run.log_work - x) * (run.value - y) for run in group)
    return spread, cross


def _updated(before: Slope, spread: float, cross: float, noise: float) -> tuple[Slope, float]:
    """Return the slope after these sums, and the share of it that they tell."""
    if not noise:
        return Slope(cross / spread, 0.0), 1.0
    told, known = spread / noise**2, 1 / before.error**2
    value = (before.value * known + cross / noise**2) / (known + told)
    return Slope(value, 1 / math.sqrt(known + told)), told / (known + told)


def _at_speed(groups: Sequence[Sequence[Run]], slope: float) -> list[list[float]]:
    return [[at_reference(run, Slope(slope)) for run in group] for group in groups]


def _narrower(sigma: Sigma, share: float) -> Sigma:
    """Return sigma with one degree of freedom less, where the runs told more than half of the slope."""
    if share <= 0.5 or sigma.value is None or sigma.dof < 2:
        return sigma
    return replace(sigma, value=sigma.value * math.sqrt(sigma.dof / (sigma.dof - 1)), dof=sigma.dof - 1)
