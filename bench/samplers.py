"""Search the whole ranges with Optuna's samplers; the choice is the configuration with the best measured value."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.knob_file import KnobFile, Row
from bench.simulated_night import Landscape, Night, true_value


def sampled(make: Callable[[int, KnobFile], Any]) -> Callable[[Landscape, int, int], Night]:
    """Return a function that runs an Optuna sampler on the whole ranges.

    The sampler also gets the results of the baseline and of failed trials.
    """

    def night(landscape: Landscape, trials: int, seed: int) -> Night:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        rng, spent, rows = np.random.default_rng([seed, 1]), 0.0, landscape.knobs.rows
        study = optuna.create_study(sampler=make(seed, landscape.knobs))
        study.enqueue_trial({row.name: _to_optuna(row, row.start) for row in rows})
        best, chosen, failures, failed = np.inf, [], [], 0
        for number in range(trials + 1):
            began = time.perf_counter()
            trial = study.ask()
            values = {row.name: _suggest(trial, row) for row in rows}
            spent += time.perf_counter() - began
            measured = landscape.measure(values, rng)
            study.tell(trial, measured, state=None if measured is not None else optuna.trial.TrialState.FAIL)
            failed += measured is None
            if measured is not None and measured < best:
                best, choice = measured, values
            if number:
                chosen.append(true_value(landscape, choice))
                failures.append(failed)
        return Night(tuple(chosen), tuple(failures), spent)

    return night


def _to_optuna(row: Row, value: Any) -> Any:
    return int(np.log2(value)) if row.kind == "pow2" else value


def _suggest(trial: Any, row: Row) -> Any:
    if row.kind == "choice":
        return trial.suggest_categorical(row.name, row.choices)
    if row.kind == "pow2":
        return 2 ** trial.suggest_int(row.name, int(np.log2(row.low)), int(np.log2(row.high)))
    if row.kind == "int":
        return trial.suggest_int(row.name, int(row.low), int(row.high))
    return trial.suggest_float(row.name, row.low, row.high, log=row.kind == "log")


def random_sampler(seed: int, knobs: KnobFile) -> Any:
    import optuna

    return optuna.samplers.RandomSampler(seed=seed)


def tpe_sampler(seed: int, knobs: KnobFile) -> Any:
    import optuna

    return optuna.samplers.TPESampler(seed=seed)


def cma_sampler(seed: int, knobs: KnobFile) -> Any:
    import optuna

    start = {row.name: _to_optuna(row, row.start) for row in knobs.rows if row.kind != "choice"}
    return optuna.samplers.CmaEsSampler(x0=start, seed=seed, warn_independent_sampling=False)
