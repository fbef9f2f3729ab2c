"""Estimate sigma, the standard deviation of one run of an unchanged file, pooled over everything that was repeated.

This module also estimates the spread of differences on a common seed, and says whether the machine has drifted.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Literal

from autoresearch_mlx.judge.evidence import UNKNOWN, Run, Sigma
from autoresearch_mlx.judge.student_t import normal_score

_FAR = 3.0
"""Number of standard errors beyond which new runs of an unchanged file show a drift; chance alone does so 1 in 370."""
_MAD = 1.4826
"""Factor from the median absolute deviation to the standard deviation of normal noise (1 / 0.6745)."""
_CLIP = 3.0
"""Number of deviations to which larger residuals are cut."""
_ENOUGH = 6
"""Smallest number of degrees of freedom for clipping; with fewer, a median absolute deviation says nothing."""

PairClass = Literal["local", "schedule", "structural"]
_CLASSES: Mapping[str, PairClass] = {"lr": "local", "weight_decay": "local", "schedule": "schedule"}


def pooled(groups: Iterable[Sequence[float]], of: str = "commit") -> Sigma:
    """Return the standard deviation within groups of values, pooled over the groups; ``of`` names what a group is.

    It is sqrt(sum of squares / sum of (n - 1)), and the last sum is its degrees of freedom.  Residuals beyond 3 median
    absolute deviations are cut to 3 (winsorised): otherwise one run beside a backup job could make sigma so large that
    no gain is believed for the rest of the night.
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
    """Group the values of runs, given as (commit, run), by commit and regime, for :func:`pooled`.

    Disturbed runs are left out, and so are selected ones: a run that was repeated because it was good differs more from
    its repeats than they differ from each other.
    """
    groups: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    for commit, run in runs:
        if run.fresh and not run.tainted:
            groups[commit, run.regime].append(run.value)
    return tuple(tuple(group) for group in groups.values())


def with_repeats(sigma: Sigma, values: Sequence[float]) -> Sigma:
    """Return sigma with one more group of repeats pooled in.  Raises ValueError when there is no sigma to add to."""
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
    """Return ``one`` minus ``other`` for each seed and regime in which both ran: one group for :func:`pooled`."""
    means = _by_seed(other)
    return tuple(value - means[key] for key, value in _by_seed(one).items() if key in means)


def _by_seed(runs: Iterable[Run]) -> dict[tuple[int, int], float]:
    values: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    for run in runs:
        if not run.tainted:
            values[run.regime, run.seed].append(run.value)
    return {key: math.fsum(each) / len(each) for key, each in values.items()}


def pair_class(axis: str | None) -> PairClass:
    """Return the class of an axis: the paired differences within a class have a similar spread.

    An unknown axis counts as structural.  Runs on a common seed share their initial weights and the order of the data
    (common random numbers; Bouthillier et al., arXiv 2103.03098).  That helps when the candidate stays close to the
    incumbent's course, as with a learning rate.  A change of the layers draws other weights, so pairing gains little.
    """
    return _CLASSES.get((axis or "").split(".")[0], "structural")


def age_of(measured: Sequence[bool]) -> int:
    """Return the number of experiments since the incumbent was last measured.

    ``measured`` says for each experiment, oldest first, whether the incumbent ran in it or right after it.  The
    experiment that was kept as the incumbent is one of them.
    """
    return next((age for age, then in enumerate(reversed(measured)) if then), len(measured))


def refresh_due(measured: Sequence[bool], every: int = 10) -> bool:
    """Return whether the incumbent was last measured ``every`` experiments ago or earlier.

    Raises ValueError when ``every`` is under 1.
    """
    if every < 1:
        raise ValueError(f"the incumbent cannot be measured every {every} experiments")
    return age_of(measured) >= every


def drifted(stored: Sequence[Run], new: Sequence[Run], sigma: Sigma, far: float = _FAR) -> bool:
    """Return whether the incumbent's new runs lie more than ``far`` standard errors from its stored ones, either way.

    The standard error of the difference of two means is sigma * sqrt(1/n + 1/m); Student's t allows for a sigma from
    few repeats.  Returns False if there is nothing to compare.  One disturbed run looks like a drift, so take a second
    run and call this with both before you open a new regime.
    """
    old = [run.value for run in stored if run.fresh and not run.tainted]
    now = [run.value for run in new if not run.tainted]
    if not old or not now or not sigma.known or sigma.value is None:
        return False
    error = sigma.value * math.sqrt(1 / len(old) + 1 / len(now))
    return abs(normal_score((fmean(now) - fmean(old)) / error, sigma.dof)) > far
