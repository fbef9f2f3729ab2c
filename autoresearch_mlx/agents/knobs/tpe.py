"""Draw moves of several knobs at once from Optuna's TPE sampler, which learns what values occur together in good runs.

TPE (Bergstra et al. 2011; multivariate: Falkner et al. 2018) is asked for two or three knobs at a time, within their
trust region; every other knob keeps the incumbent's value.  Failed trials are entered as failed, not as a number.  The
study is filled from memory each time, so a resumed session starts with everything that was learned.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from autoresearch_mlx.agents.knobs.coordinates import Array
from autoresearch_mlx.agents.knobs.memory import Trial
from autoresearch_mlx.agents.knobs.moves import MOST, Move, Step
from autoresearch_mlx.agents.knobs.space import Dimension, Space

LEAST = 8
"""Number of trials before TPE is asked; with fewer trials it would only draw at random."""


def joint_moves(
    space: Space, trials: Sequence[Trial], widths: Array, weights: Array, count: int, rng: np.random.Generator
) -> list[Move]:
    """Return up to ``count`` moves of two or three knobs to values that TPE suggests.

    The knobs are drawn with a chance in proportion to ``weights``; ``widths`` bounds how far each may move.  Both have
    shape (knobs,).
    """
    if len(trials) < LEAST or len(space) < 2:
        return []
    study = _study(space, trials, int(rng.integers(2**31)))
    chance = weights / weights.sum()
    found: dict[Move, None] = {}
    for _ in range(count):
        size = min(int(rng.integers(2, MOST + 1)), len(space))
        chosen = sorted(int(i) for i in rng.choice(len(space), size=size, replace=False, p=chance))
        move = _ask(study, space, chosen, widths)
        if len(move) > 1:
            found[move] = None
    return list(found)


def _study(space: Space, trials: Sequence[Trial], seed: int) -> Any:
    """Return a study that holds the trials, in memory only; scores are maximised."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    # Optuna announces every study on stderr, and warns that settings are experimental though they are long established.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=0)
        study = optuna.create_study(direction="maximize", sampler=sampler)
    optuna.logging.set_verbosity(verbosity)
    whole = {d.name: _distribution(d, 0.0, 1.0) for d in space}
    for trial in trials:
        state = optuna.trial.TrialState.FAIL if trial.failed else optuna.trial.TrialState.COMPLETE
        params = {d.name: _place(d, value) for d, value in zip(space, trial.point, strict=True)}
        told = optuna.trial.create_trial(params=params, distributions=whole, value=trial.score, state=state)
        study.add_trial(told)
    return study


def _ask(study: Any, space: Space, chosen: Sequence[int], widths: Array) -> Move:
    dimensions = [space.dimensions[i] for i in chosen]
    asked = study.ask({d.name: _near(d, float(widths[i])) for i, d in zip(chosen, dimensions, strict=True)})
    values = [_value(d, asked.params[d.name]) for d in dimensions]
    return tuple(Step(i, v) for i, d, v in zip(chosen, dimensions, values, strict=True) if v != d.value)


def _near(dimension: Dimension, width: float) -> Any:
    """Return the part of the range inside the trust region, but at least one tick in each direction."""
    here, reach = dimension.unit(dimension.value), max(width, dimension.tick)
    return _distribution(dimension, max(0.0, here - reach), min(1.0, here + reach))


def _distribution(dimension: Dimension, low: float, high: float) -> Any:
    import optuna

    if dimension.range.kind == "choice":
        return optuna.distributions.CategoricalDistribution(range(len(dimension.range.choices)))
    return optuna.distributions.FloatDistribution(low, high)


def _place(dimension: Dimension, value: Any) -> Any:
    return dimension.range.choices.index(value) if dimension.range.kind == "choice" else dimension.unit(value)


def _value(dimension: Dimension, place: Any) -> Any:
    return dimension.range.choices[place] if dimension.range.kind == "choice" else dimension.at(place)
