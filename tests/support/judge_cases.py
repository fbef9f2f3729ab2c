"""Runs and evidence for the judge's tests: sigma 0.002, around an incumbent of 1.8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoresearch_mlx.judge.evidence import Evidence, Run, Sigma

SIGMA = 0.002
WELL_KNOWN = Sigma(SIGMA, 40, 30, "40 runs of 10 commits")
BASELINE_ONLY = Sigma(SIGMA, 3, 2, "3 runs of 1 commit")


def runs(*values: float, first_seed: int = 0, selected: bool = False, regime: int = 0) -> tuple[Run, ...]:
    """Return runs on consecutive seeds; with ``selected``, the candidate was selected by the first one."""
    return tuple(
        Run(value, seed, regime, fresh=not (selected and seed == first_seed))
        for seed, value in enumerate(values, first_seed)
    )


def gains(*sigmas: float, **options: Any) -> Evidence:
    """Return a candidate whose runs have these gains, in sigma, over an incumbent with three runs of mean 1.8."""
    return against((1.798, 1.8, 1.802), [1.8 - SIGMA * each for each in sigmas], **options)


def against(incumbent: Sequence[float], candidate: Sequence[float], **options: Any) -> Evidence:
    options = {"sigma": WELL_KNOWN, **options}
    return Evidence(runs(*candidate, selected=True), runs(*incumbent), **options)
