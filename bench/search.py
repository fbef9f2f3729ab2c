"""Compare how well searches spend a night: ``python -m bench.search [--seeds 20] [--trials 70]``

Needs the package installed (``pip install -e .``), or the repository's root on PYTHONPATH.

Each search gets the same landscape, the same start and the same random numbers.  The local searches (``walk``,
``model``, ``knobs``, ``hybrid``) propose changes of the incumbent and follow the loop's rule: keep what measures better
than the incumbent did, by more than one sigma.  The global ones choose the best value they measured.  ``model`` is a
scripted model that knows the usual tricks (``bench/habits.py``), ``hybrid`` is that model together with ``knobs``; both
run through the real agents.  The table shows the *true* value of each search's chosen configuration after 10, 35 and 70
trials, as mean and standard deviation over the seeds.  It also counts failures (crashes, and answers without an edit),
and the seeds on which the search ended better than the walk.  The standard deviation is mostly that of the landscapes,
which differ from seed to seed.  The baseline is measured first and is not counted as a trial.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

import numpy as np

from autoresearch_mlx.agents import load_agent
from autoresearch_mlx.agents.chat import Chat
from autoresearch_mlx.agents.hybrid import Hybrid
from autoresearch_mlx.agents.knobs.space import Space, read_space
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.experiment import Context, Experiment, History, Measurement, Proposal, Status
from autoresearch_mlx.lab.source import changed_knobs, read_knobs
from bench.habits import Habits
from bench.knob_file import ROWS, START_VALUES, TEXT, Row
from bench.landscapes import FAMILIES, Landscape, Values, draw

FILE = "train_mlx.py"
MARKS = (10, 35, 70)
MARGIN = 1.0
"""Sigma by which a run must measure better than the incumbent did to be kept."""

STEP = 0.16
"""The walk's usual step, as a share of a knob's range, chosen after trying 0.06, 0.12 and 0.2 on other seeds."""

Propose = Callable[[Context], Proposal]


@dataclass(frozen=True, slots=True)
class Night:
    """One search on one landscape: after each trial, the chosen configuration's true value and the failures so far."""

    chosen: tuple[float, ...]
    failures: tuple[int, ...]
    seconds: float
    """Seconds spent on proposing, over all trials."""


# -- local searches: the loop's own rule -------------------------------------------------------------


def local(make: Callable[[int], Propose]) -> Callable[[Landscape, int, int], Night]:
    """Return a night of the loop in which ``make(seed)`` proposes."""

    def night(landscape: Landscape, trials: int, seed: int) -> Night:
        propose, rng = make(seed), np.random.default_rng([seed, 1])
        text, spent = TEXT, 0.0
        seen: list[Values] = [values_of(TEXT)]
        done = [_baseline(landscape, rng)]
        chosen, failures = [], []
        for number in range(1, trials + 1):
            context = Context(number, "", {FILE: text}, History(tuple(done), "val_bpb", "min"), "", seed)
            began = time.perf_counter()
            after = _asked(propose, context, seen)
            spent += time.perf_counter() - began
            done.append(_experiment(number, text, after, landscape, context.history, rng))
            text = after if after is not None and done[-1].status == "keep" else text
            chosen.append(_true(landscape, values_of(text)))
            failures.append(sum(e.failed for e in done))
        return Night(tuple(chosen), tuple(failures), spent)

    return night


def _asked(propose: Propose, context: Context, seen: list[Values]) -> str | None:
    """Ask for a new text, up to three times, as the loop does; return None when none was new."""
    for _ in range(3):
        proposal = propose(context)
        text = proposal.files.get(FILE)
        if text is not None and values_of(text) not in seen:
            seen.append(values_of(text))
            return text
        problem = proposal.problem or "the same as an earlier experiment"
        context = replace(context, feedback=(*context.feedback, problem))
    return None


def values_of(text: str) -> dict[str, Any]:
    return {name: knob.value for name, knob in read_knobs(text).items()}


def _true(landscape: Landscape, values: Values) -> float:
    value = landscape.true(values)
    if value is None:
        raise ValueError("a configuration that fails was chosen")
    return value


def _baseline(landscape: Landscape, rng: np.random.Generator) -> Experiment:
    return _finished(0, "keep", landscape.measure(START_VALUES, rng), None, "c0", None, {})


def _experiment(
    number: int, before: str, after: str | None, landscape: Landscape, history: History, rng: np.random.Generator
) -> Experiment:
    incumbent = history.incumbent
    assert incumbent is not None and incumbent.value is not None
    if after is None:
        rng.normal()  # every search has the same luck in the same trial
        return _finished(number, "invalid", None, None, f"c{number}", incumbent.commit, {}, measured=False)
    value = landscape.measure(values_of(after), rng)
    gain = None if value is None else history.gain(value, over=incumbent.value)
    status: Status = "crash" if gain is None else "keep" if gain > MARGIN * landscape.sigma else "discard"
    return _finished(number, status, value, gain, f"c{number}", incumbent.commit, changed_knobs(before, after))


def _finished(
    number: int,
    status: Status,
    value: float | None,
    gain: float | None,
    commit: str,
    base: str | None,
    knobs: dict[str, tuple[Any, Any]],
    measured: bool = True,
) -> Experiment:
    run = Measurement(value, seed=0, failure="crash" if value is None else None)
    return Experiment(
        number,
        status,
        value,
        gain,
        commit,
        base,
        None,
        "",
        None,
        knobs,
        "bench",
        "",
        "",
        "",
        measurements=(run,) * measured,
    )


def walk(seed: int) -> Propose:
    """Return the plain walk: one random knob, one random step of at least one tick, and no point twice."""
    rng = np.random.default_rng([seed, 2])
    seen: set[tuple[Any, ...]] = set()

    def propose(context: Context) -> Proposal:
        space = read_space(context.files)
        while True:
            point = _one_step(space, rng)
            if point != space.start and point not in seen:
                seen.add(point)
                return Proposal("one step", space.write(point, context.files))

    return propose


def _one_step(space: Space, rng: np.random.Generator) -> tuple[Any, ...]:
    index = int(rng.integers(len(space)))
    d = space.dimensions[index]
    if d.range.kind == "choice":
        value = d.range.choices[int(rng.integers(len(d.range.choices)))]
    else:
        step = rng.normal(0, STEP)
        step = np.sign(step) * max(abs(step), d.tick)
        value = d.at(d.unit(d.value) + step)
    return (*space.start[:index], value, *space.start[index + 1 :])


def knobs(seed: int) -> Propose:
    """Return the agent under test, as the loop loads it."""
    agent = load_agent("knobs", Office(seed=seed))
    return agent.propose


def hybrid(seed: int) -> Propose:
    """Return the agent under test, with a scripted model in place of a real one."""
    office = Office(seed=seed)
    return Hybrid(Chat(Habits(seed), office, patience_seconds=0.0), load_agent("knobs", office), office).propose


def model(seed: int) -> Propose:
    """Return the scripted model alone."""
    return Chat(Habits(seed), Office(seed=seed)).propose


# -- global searches: the best value they measured ---------------------------------------------------


def sampled(make: Callable[[int], Any]) -> Callable[[Landscape, int, int], Night]:
    """Return a night of an Optuna sampler over the whole ranges; it knows the baseline, and which trials failed."""

    def night(landscape: Landscape, trials: int, seed: int) -> Night:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        rng, spent = np.random.default_rng([seed, 1]), 0.0
        study = optuna.create_study(sampler=make(seed))
        study.enqueue_trial({row.name: _to_optuna(row, row.start) for row in ROWS})
        best, chosen, failures, failed = np.inf, [], [], 0
        for number in range(trials + 1):
            began = time.perf_counter()
            trial = study.ask()
            values = {row.name: _suggest(trial, row) for row in ROWS}
            spent += time.perf_counter() - began
            measured = landscape.measure(values, rng)
            study.tell(trial, measured, state=None if measured is not None else optuna.trial.TrialState.FAIL)
            failed += measured is None
            if measured is not None and measured < best:
                best, choice = measured, values
            if number:
                chosen.append(_true(landscape, choice))
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


def _random(seed: int) -> Any:
    import optuna

    return optuna.samplers.RandomSampler(seed=seed)


def _tpe(seed: int) -> Any:
    import optuna

    return optuna.samplers.TPESampler(seed=seed)


def _cma(seed: int) -> Any:
    import optuna

    start = {row.name: _to_optuna(row, row.start) for row in ROWS if row.kind != "choice"}
    return optuna.samplers.CmaEsSampler(x0=start, seed=seed, warn_independent_sampling=False)


SEARCHES: dict[str, Callable[[Landscape, int, int], Night]] = {
    "random": sampled(_random),
    "global TPE": sampled(_tpe),
    "global CMA-ES": sampled(_cma),
    "walk": local(walk),
    "model": local(model),
    "knobs": local(knobs),
    "hybrid": local(hybrid),
}


# -- the table ---------------------------------------------------------------------------------------


def run_one(job: tuple[str, str, int, int]) -> Night:
    family, search, trials, seed = job
    warnings.filterwarnings("ignore", module="optuna")
    landscape = draw(next(f for f in FAMILIES if f.name == family), seed)
    return SEARCHES[search](landscape, trials, seed)


def rows(landscape: str, nights: dict[str, list[Night]], trials: int) -> Iterator[str]:
    marks = [m for m in MARKS if m < trials] + [trials]
    heads = "".join(f"{f'after {m}':>18}" for m in marks)
    yield f"\n{landscape:<14}{heads}{'failures':>14}{'beats walk':>12}{'ms/proposal':>13}"
    for search, found in nights.items():
        cells = "".join(f"{_spread([n.chosen[m - 1] for n in found], 4):>18}" for m in marks)
        crashes = _spread([n.failures[-1] for n in found], 1)
        cost = 1000 * sum(n.seconds for n in found) / len(found) / trials
        yield f"{search:<14}{cells}{crashes:>14}{_wins(found, nights.get('walk', [])):>12}{cost:>13.1f}"


def _wins(found: list[Night], plain: list[Night]) -> str:
    """Return on how many seeds a search ends with a better value than the walk on the same landscape."""
    if found is plain or not plain:
        return ""
    return f"{sum(a.chosen[-1] < b.chosen[-1] for a, b in zip(found, plain, strict=True))}/{len(found)}"


def _spread(values: list[float] | list[int], digits: int) -> str:
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=70)
    parser.add_argument("--landscape", choices=[f.name for f in FAMILIES], action="append")
    parser.add_argument("--search", choices=list(SEARCHES), action="append")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    began = time.perf_counter()
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    with get_context("spawn").Pool(args.processes) as pool:
        for family in args.landscape or [f.name for f in FAMILIES]:
            nights = {
                search: pool.map(run_one, [(family, search, args.trials, seed) for seed in seeds], chunksize=1)
                for search in args.search or SEARCHES
            }
            print("\n".join(rows(family, nights, args.trials)), flush=True)
    print(f"\n{args.seeds} seeds, {args.trials} trials, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
