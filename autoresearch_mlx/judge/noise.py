"""How far one run of one file lies from the next: sigma, pooled over everything that was repeated."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Literal

from autoresearch_mlx.judge.values import UNKNOWN, Run, Sigma

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
    """Values to pool, grouped by commit and epoch, of runs given as (commit, run).

    A tainted run is no repeat, nor is one that was selected: what had to be good to be repeated lies
    further from its repeats than those from each other.
    """
    groups: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    for commit, run in runs:
        if run.fresh and not run.tainted:
            groups[commit, run.epoch].append(run.value)
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
    """Values of ``one`` less those of ``other`` on the same seed in the same epoch; a group for :func:`pooled`."""
    means = _by_seed(other)
    return tuple(value - means[key] for key, value in _by_seed(one).items() if key in means)


def _by_seed(runs: Iterable[Run]) -> dict[tuple[int, int], float]:
    values: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    for run in runs:
        if not run.tainted:
            values[run.epoch, run.seed].append(run.value)
    return {key: math.fsum(each) / len(each) for key, each in values.items()}


def pair_class(axis: str | None) -> PairClass:
    """Which changes share the spread of their paired differences.

    On one seed a change of a learning rate stays close to the incumbent's course; a layer more draws
    other weights and gains little by the pairing.  What is not known counts as structural.
    """
    return _CLASSES.get((axis or "").split(".")[0], "structural")
