"""How far one run of one file lies from the next: sigma, pooled over everything that was repeated."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from statistics import NormalDist, fmean, median
from typing import Literal

from autoresearch_mlx.judge.values import UNKNOWN, Run, Sigma

_FAR = 3.0


def age_of(measured: Sequence[bool]) -> int:
    """Experiments since the incumbent was last measured, given for each, oldest first, whether it was then.

    A keep counts: it measured what is the incumbent now.
    """
    return next((age for age, then in enumerate(reversed(measured)) if then), len(measured))


def refresh_due(measured: Sequence[bool], every: int = 10) -> bool:
    """Is it time to measure the incumbent, which is wanted every so many experiments?

    Raises ValueError when ``every`` is under 1.
    """
    if every < 1:
        raise ValueError(f"the incumbent cannot be measured every {every} experiments")
    return age_of(measured) >= every


def drifted(stored: Sequence[Run], new: Sequence[Run], sigma: Sigma, far: float = _FAR) -> bool:
    """Do the new runs of the incumbent lie beyond ``far`` sigma of its stored ones, either way?

    That is far standard errors of the difference, sigma * sqrt(1/n + 1/m); with few repeats behind sigma,
    as many more as leave the same share of false alarms, 1 in 370.  One disturbed run looks like drift:
    take a second before opening a stand, and ask with both.  False where nothing compares.
    """
    old = [run.value for run in stored if run.fresh and not run.tainted]
    now = [run.value for run in new if not run.tainted]
    if not old or not now or not sigma.known or sigma.value is None:
        return False
    error = sigma.value * math.sqrt(1 / len(old) + 1 / len(now))
    return abs(normal_score((fmean(now) - fmean(old)) / error, sigma.dof)) > far


_FURTHEST = 8.0
"""Beyond this many sigma a float has no tail left to tell apart."""
_MANY = 200
"""From here on t is the normal law to the third digit of any score."""


def cumulative(t: float, dof: int) -> float:
    """P(T <= t) for ``dof`` >= 1."""
    return (1 + math.copysign(_inside(abs(t), dof), t)) / 2


def normal_score(t: float, dof: int) -> float:
    """The z with the same tail as ``t``: odd, rising, and closer to 0 than ``t`` the smaller ``dof`` is."""
    if dof >= _MANY or t == 0:
        return max(-_FURTHEST, min(_FURTHEST, t))
    tail = (1 - _inside(abs(t), dof)) / 2
    score = _FURTHEST if tail < 1e-15 else min(_FURTHEST, -NormalDist().inv_cdf(tail))
    return math.copysign(score, t)


@lru_cache(maxsize=1024)
def quantile(share: float, dof: int) -> float:
    """The t with P(T <= t) = ``share``, for 0 < share < 1.  Raises ValueError for another share or dof < 1."""
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
    """P(|T| <= t), by the finite series in cos(theta) (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
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


_MAD = 1.4826
"""Median absolute deviation to standard deviation, for normal noise."""
_CLIP = 3.0
_ENOUGH = 6
"""With fewer degrees of freedom a median absolute deviation says nothing, and nothing is clipped."""

PairClass = Literal["local", "schedule", "structural"]
_CLASSES: Mapping[str, PairClass] = {"lr": "local", "weight_decay": "local", "schedule": "schedule"}


def pooled(groups: Iterable[Sequence[float]], of: str = "commit") -> Sigma:
    """Sigma within the groups, each the values of one thing: sqrt(sum of squares / sum of (n - 1)).

    Residuals beyond 3 median absolute deviations are cut to that, so that one run under a backup job
    does not blind the judge for the night.
    """
    repeated = [group for group in groups if len(group) > 1]
    if not repeated:
        return UNKNOWN
    n = sum(map(len, repeated))
    dof = n - len(repeated)
    residuals = [r for group in repeated for r in _residuals(group)]
    if dof >= _ENOUGH:
        most = _CLIP * _MAD * median(map(abs, residuals))
        residuals = [max(-most, min(most, r)) for r in residuals]
    # Each residual is scaled to the spread of a run, so their mean square is sigma squared, weighted by (n - 1) / n.
    weights = [(len(group) - 1) / len(group) for group in repeated for _ in group]
    square = math.fsum(w * r * r for w, r in zip(weights, residuals, strict=True)) / dof
    return Sigma(math.sqrt(square), n, dof, f"{n} runs of {len(repeated)} {of}{'' if len(repeated) == 1 else 's'}")


def _residuals(group: Sequence[float]) -> list[float]:
    mean = math.fsum(group) / len(group)
    scale = math.sqrt(len(group) / (len(group) - 1))
    return [(value - mean) * scale for value in group]


def replicates(runs: Iterable[tuple[str, Run]]) -> tuple[tuple[float, ...], ...]:
    """Values to pool, grouped by commit and stand, of runs given as (commit, run).

    A tainted run is no repeat, nor is one that was selected: what had to be good to be repeated lies
    further from its repeats than those from each other.
    """
    groups: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    for commit, run in runs:
        if run.fresh and not run.tainted:
            groups[commit, run.stand].append(run.value)
    return tuple(tuple(group) for group in groups.values())


def with_repeats(sigma: Sigma, values: Sequence[float]) -> Sigma:
    """Sigma with one more group of repeats.  Raises ValueError when there is no sigma to add to."""
    if sigma.value is None:
        raise ValueError(f"no sigma to add repeats to: {sigma.source}")
    if len(values) < 2:
        return sigma
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    dof = sigma.dof + len(values) - 1
    value = math.sqrt((sigma.dof * sigma.value**2 + squares) / dof)
    return Sigma(value, sigma.n + len(values), dof, sigma.source)


def pair_differences(one: Iterable[Run], other: Iterable[Run]) -> tuple[float, ...]:
    """Values of ``one`` less those of ``other`` on the same seed in the same stand; a group for :func:`pooled`."""
    means = _by_seed(other)
    return tuple(value - means[key] for key, value in _by_seed(one).items() if key in means)


def _by_seed(runs: Iterable[Run]) -> dict[tuple[int, int], float]:
    values: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    for run in runs:
        if not run.tainted:
            values[run.stand, run.seed].append(run.value)
    return {key: math.fsum(each) / len(each) for key, each in values.items()}


def pair_class(axis: str | None) -> PairClass:
    """Which changes share the spread of their paired differences.

    On one seed a change of a learning rate stays close to the incumbent's course; a layer more draws
    other weights and gains little by the pairing.  What is not known counts as structural.
    """
    return _CLASSES.get((axis or "").split(".")[0], "structural")
