"""Estimate sigma, the standard deviation of one run of an unchanged file, pooled over everything that was repeated.

This module also estimates the spread of differences on a common seed, and says when the incumbent is due to be
measured again.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Literal

from autoresearch_mlx.judge.evidence import UNKNOWN, Run, Sigma

_MAD = 1.4826
"""Factor from the median absolute deviation to the standard deviation of normal noise (1 / 0.6745)."""
_CLIP = 3.0
"""Largest residual, in standard deviations; larger residuals are reduced to this size."""
_ENOUGH = 6
"""Smallest number of degrees of freedom for clipping; with fewer degrees of freedom, a median absolute deviation is not
reliable."""

_SHARED = 6
"""Largest number of degrees of freedom that the variance of a fleet's machines adds to the sigma of one machine
(:func:`moderated`; ``bench/fleet.py`` simulates this)."""

PairClass = Literal["local", "schedule", "structural"]
_CLASSES: Mapping[str, PairClass] = {"lr": "local", "weight_decay": "local", "schedule": "schedule"}


def pooled(groups: Iterable[Sequence[float]], of: str = "commit") -> Sigma:
    """Return the standard deviation within groups of values, pooled over the groups.

    The deviation is sqrt(sum of squares / sum of (n - 1)), and the last sum is its degrees of freedom.  Residuals
    beyond 3 standard deviations, estimated by the median absolute deviation, are cut to this size (winsorised).
    Otherwise one run during a backup could make sigma so large that no gain is believed for the rest of the night.

    ``of`` is the word by which the result's ``source`` calls a group.
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
    # Residuals are scaled to the spread of a run, so their mean square with the weights (n - 1) / n is sigma squared.
    weights = [(len(group) - 1) / len(group) for group in repeated for _ in group]
    square = math.fsum(w * r * r for w, r in zip(weights, residuals, strict=True)) / dof
    return Sigma(math.sqrt(square), n, dof, f"{n} runs of {len(repeated)} {of}{'' if len(repeated) == 1 else 's'}")


def _residuals(group: Sequence[float]) -> list[float]:
    mean = math.fsum(group) / len(group)
    scale = math.sqrt(len(group) / (len(group) - 1))
    return [(value - mean) * scale for value in group]


def replicates(runs: Iterable[tuple[str, Run]]) -> tuple[tuple[Run, ...], ...]:
    """Group runs, given as (commit, run), by commit and regime; :func:`pooled` takes the values of each group.

    Disturbed runs are left out.  Selected runs are left out too, because a run that was selected for its good value
    differs more from its repeats than the repeats differ from each other.
    """
    groups: defaultdict[tuple[str, int], list[Run]] = defaultdict(list)
    for commit, run in runs:
        if run.fresh and not run.tainted:
            groups[commit, run.regime].append(run)
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


def moderated(own: Sigma, every: Sigma) -> Sigma:
    """Return one machine's sigma, estimated from its own repeats and from the repeats of all machines of its fleet.

    A single machine repeats few runs, so its variance is drawn towards the variance of all machines.  The latter has
    the weight of six repeats (Smyth, "Linear models and empirical Bayes methods", Statistical Applications in Genetics
    and Molecular Biology 3, 2004).
    """
    shared = min(_SHARED, every.dof - own.dof)
    if own.value is None or every.value is None or shared <= 0:
        return every if own.value is None else own
    dof = own.dof + shared
    value = math.sqrt((own.dof * own.value**2 + shared * every.value**2) / dof)
    return Sigma(value, every.n, dof, f"{own.source} on this machine, and the repeats of the other machines")


def pair_differences(one: Iterable[Run], other: Iterable[Run], slope: float = 0.0) -> tuple[float, ...]:
    """Return ``one`` minus ``other`` for each seed and regime in which both ran.

    The differences are one group for :func:`pooled`.

    ``slope`` says how a value changes with the work that the machine's speed allows; the part of a difference that
    follows from the speed is subtracted.
    """
    means = _by_seed(other, lambda run: run.value - slope * run.log_work)
    ours = _by_seed(one, lambda run: run.value - slope * run.log_work)
    return tuple(value - means[key] for key, value in ours.items() if key in means)


def pairs_apart(one: Iterable[Run], other: Iterable[Run]) -> tuple[float, ...]:
    """Return the difference in ``log_work`` of each pair of :func:`pair_differences`."""
    means = _by_seed(other, lambda run: run.log_work)
    return tuple(x - means[key] for key, x in _by_seed(one, lambda run: run.log_work).items() if key in means)


def _by_seed(runs: Iterable[Run], figure: Callable[[Run], float]) -> dict[tuple[int, int], float]:
    values: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    for run in runs:
        if not run.tainted:
            values[run.regime, run.seed].append(figure(run))
    return {key: math.fsum(each) / len(each) for key, each in values.items()}


def pair_class(axis: str | None) -> PairClass:
    """Return the class of an axis: the paired differences within a class have a similar spread.

    An unknown axis counts as structural.  Runs on a common seed share their initial weights and the order of the data
    (common random numbers; Bouthillier et al., arXiv 2103.03098).  A common seed helps when the candidate stays close
    to the incumbent's course, as after a change of a learning rate.  After a change of the layers, the initial weights
    differ, so pairing gains little.
    """
    return _CLASSES.get((axis or "").split(".")[0], "structural")


def age_of(measured: Sequence[bool]) -> int:
    """Return the number of experiments since the incumbent was last measured.

    ``measured`` says for each experiment, oldest first, whether the incumbent ran in it or right after it.  The
    experiment that was kept as the incumbent is such an experiment.
    """
    return next((age for age, then in enumerate(reversed(measured)) if then), len(measured))


def refresh_due(measured: Sequence[bool], every: int = 10) -> bool:
    """Return whether the incumbent was last measured ``every`` experiments ago or earlier.

    Raises ValueError when ``every`` is under 1.
    """
    if every < 1:
        raise ValueError(f"the incumbent cannot be measured every {every} experiments")
    return age_of(measured) >= every
