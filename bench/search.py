"""Compare how well searches spend a night: ``python -m bench.search [--seeds 20] [--trials 70]``

Needs the package installed (``pip install -e .``), or the repository's root on PYTHONPATH.

The landscapes are fitted to real runs (``bench/fitted.py``) or drawn (``bench/landscapes.py``).  Each search gets the
same landscape, the same start and the same random numbers.  The local searches (``walk``, ``model``, ``knobs``,
``hybrid``) propose changes of the incumbent and follow the loop's rule: keep what measures better than the incumbent
did, by more than one sigma.  The global ones choose the best value they measured.  ``model`` is a scripted model that
knows the usual tricks (``bench/habits.py``), ``hybrid`` is that model together with ``knobs``; both run through the
real agents.  ``menu`` is ``knobs`` with a model that picks at random from its ten best moves, and ``4 lanes`` is
``knobs`` with four experiments at a time.  The table shows the *true* value of each search's chosen configuration after
10, 35 and 70 trials, as mean and standard deviation over the seeds.  It also counts failures (crashes, and answers
without an edit), and the seeds on which the search ended better than the walk.  The standard deviation is mostly that
of the landscapes, which differ from seed to seed unless they are fitted.  The baseline is measured first and is not
counted as a trial.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from autoresearch_mlx.agents import load_agent
from autoresearch_mlx.agents.chat import Chat
from autoresearch_mlx.agents.hybrid import Hybrid, turn
from autoresearch_mlx.agents.knobs.ranked_moves import ranked_moves
from autoresearch_mlx.agents.knobs.space import Space, read_space
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.experiment import (
    Context,
    Experiment,
    Failure,
    History,
    KnobChanges,
    Measurement,
    Proposal,
    Running,
    Status,
)
from autoresearch_mlx.lab.source import changed_knobs, read_knobs, set_knobs
from bench.fitted import TABLES, Fitted, table_named, there
from bench.habits import Habits
from bench.knob_file import KnobFile, Row
from bench.landscapes import FAMILIES, Values, draw
from bench.landscapes import Landscape as Drawn

FILE = "train_mlx.py"
MARKS = (10, 35, 70)
MARGIN = 1.0
"""Sigma by which a run must measure better than the incumbent did to be kept."""

STEP = 0.16
"""The walk's usual step, as a share of a knob's range, chosen after trying 0.06, 0.12 and 0.2 on other seeds."""

Landscape: TypeAlias = Drawn | Fitted
Propose = Callable[[Context], Proposal]


@dataclass(frozen=True, slots=True)
class Night:
    """One search on one landscape: after each trial, the chosen configuration's true value and the failures so far."""

    chosen: tuple[float, ...]
    failures: tuple[int, ...]
    seconds: float
    """Seconds spent on proposing, over all trials."""


# -- local searches: the loop's own rule -------------------------------------------------------------


def local(make: Callable[[int], Propose], lanes: int = 1) -> Callable[[Landscape, int, int], Night]:
    """Return a night of the loop in which ``make(seed)`` proposes and ``lanes`` experiments run side by side."""

    def night(landscape: Landscape, trials: int, seed: int) -> Night:
        session = _Session(landscape, np.random.default_rng([seed, 1]))
        propose = make(seed)
        chosen: list[float] = []
        failures: list[int] = []
        while len(chosen) < trials:
            while len(session.running) < min(lanes, trials - len(chosen)):
                session.begin(propose, seed)
            session.end()
            if not chosen or session.done[-1].status == "keep":
                best = _true(landscape, values_of(session.text))
            chosen.append(best)
            failures.append(sum(e.failed for e in session.done))
        return Night(tuple(chosen), tuple(failures), session.seconds)

    return night


class _Session:
    """The loop's bookkeeping on a landscape.  Experiments end in the order in which they began."""

    def __init__(self, landscape: Landscape, rng: np.random.Generator) -> None:
        self.landscape, self.rng, self.seconds = landscape, rng, 0.0
        self.text = landscape.knobs.text
        self.seen: list[Values] = [values_of(self.text)]
        self.begun = 0
        self.running: list[tuple[Running, str, str]] = []
        """Experiments that run, each with the text from which it started and the commit of that text."""
        self.done: list[Experiment] = []
        self._record(0, "keep", landscape.knobs.start, landscape.measure(landscape.knobs.start, rng), None, None, {})

    @property
    def history(self) -> History:
        return History(tuple(self.done), "val_bpb", "min")

    def begin(self, propose: Propose, seed: int) -> None:
        """Ask for a proposal and start it; an answer without an edit ends at once when its turn comes."""
        self.begun += 1
        running = tuple(now for now, _, _ in self.running)
        context = Context(self.begun, "", {FILE: self.text}, self.history, "", seed, running=running)
        began = time.perf_counter()
        after = _asked(propose, context, self.seen)
        self.seconds += time.perf_counter() - began
        changes = {} if after is None else changed_knobs(self.text, after)
        base = self.history.incumbent
        assert base is not None and base.commit is not None
        edit = Running(self.begun, "", None, changes, {FILE: after or self.text})
        self.running.append((edit, self.text, base.commit))

    def end(self) -> None:
        """Finish the oldest experiment by the loop's rule.

        If another experiment was kept meanwhile, one that lost to the version from which it started is discarded.  One
        that won there is combined with the kept change, measured again and compared with the new incumbent.
        """
        edit, before, base = self.running.pop(0)
        if not edit.knobs:
            self.rng.normal()  # every search has the same luck in the same trial
            self._record(edit.number, "invalid", None, None, None, base, {})
            return
        after, changes = edit.files[FILE], edit.knobs
        over = next(e.value for e in self.done if e.commit == base)
        value = self._measured(after)
        status = self._status(value, over)
        against = None if self.text == before else base
        if against is not None and status == "keep":
            if set(changes) & set(changed_knobs(before, self.text)):
                self._record(edit.number, "conflict", values_of(after), value, None, base, changes, against)
                return
            after = set_knobs(self.text, {name: new for name, (_, new) in changes.items()})
            now = self.history.incumbent
            assert now is not None and now.commit is not None
            changes, base, against, over = changed_knobs(self.text, after), now.commit, None, now.value
            value = self._measured(after)
            status = self._status(value, over)
        gain = None if value is None or over is None else over - value
        self._record(edit.number, status, values_of(after), value, gain, base, changes, against)
        if status == "keep":
            self.text = after

    def _measured(self, text: str) -> float | None:
        return self.landscape.measure(values_of(text), self.rng)

    def _status(self, value: float | None, over: float | None) -> Status:
        if value is None or over is None:
            return "crash"
        return "keep" if over - value > MARGIN * self.landscape.sigma else "discard"

    def _record(
        self,
        number: int,
        status: Status,
        values: Values | None,
        value: float | None,
        gain: float | None,
        base: str | None,
        changes: KnobChanges,
        against: str | None = None,
    ) -> None:
        memory = self.landscape.memory_mb(values) if values is not None and value is not None else None
        failure: Failure | None = "crash" if value is None else None
        run = Measurement(value, seed=0, failure=failure, peak_memory_mb=memory)
        self.done.append(
            Experiment(
                number,
                status,
                value,
                gain,
                f"c{number}",
                base,
                None,
                "",
                None,
                changes,
                "bench",
                "",
                "",
                "",
                measurements=(run,) if values is not None else (),
                against=against,
            )
        )


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


def menu(seed: int) -> Propose:
    """Return ``knobs``, with three proposals in ten picked at random from the ten that its ranking lists first."""
    office, rng = Office(seed=seed), np.random.default_rng([seed, 4])
    agent = load_agent("knobs", office)

    def propose(context: Context) -> Proposal:
        if context.feedback or not turn(context.number, office.settings.share):
            return agent.propose(context)
        moves = ranked_moves(context, 10, seed)
        return Proposal("from the menu", moves[int(rng.integers(len(moves)))].files)

    return propose


def model(seed: int) -> Propose:
    """Return the scripted model alone."""
    return Chat(Habits(seed), Office(seed=seed)).propose


# -- global searches: the best value they measured ---------------------------------------------------


def sampled(make: Callable[[int, KnobFile], Any]) -> Callable[[Landscape, int, int], Night]:
    """Return a night of an Optuna sampler over the whole ranges; it knows the baseline, and which trials failed."""

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


def _random(seed: int, knobs: KnobFile) -> Any:
    import optuna

    return optuna.samplers.RandomSampler(seed=seed)


def _tpe(seed: int, knobs: KnobFile) -> Any:
    import optuna

    return optuna.samplers.TPESampler(seed=seed)


def _cma(seed: int, knobs: KnobFile) -> Any:
    import optuna

    start = {row.name: _to_optuna(row, row.start) for row in knobs.rows if row.kind != "choice"}
    return optuna.samplers.CmaEsSampler(x0=start, seed=seed, warn_independent_sampling=False)


SEARCHES: dict[str, Callable[[Landscape, int, int], Night]] = {
    "random": sampled(_random),
    "global TPE": sampled(_tpe),
    "global CMA-ES": sampled(_cma),
    "walk": local(walk),
    "model": local(model),
    "knobs": local(knobs),
    "menu": local(menu),
    "4 lanes": local(knobs, lanes=4),
    "hybrid": local(hybrid),
}


# -- the table ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Job:
    """One night to simulate."""

    landscape: str
    search: str
    trials: int
    seed: int
    table: Path | None = None
    study: str | None = None


def run_one(job: Job) -> Night:
    warnings.filterwarnings("ignore", module="optuna")
    return SEARCHES[job.search](landscape_of(job), job.trials, job.seed)


def landscape_of(job: Job) -> Landscape:
    """Return a landscape of real runs, which is the same for every seed, or the one that this seed draws."""
    if job.landscape in TABLES:
        return table_named(job.landscape, job.table, job.study)
    return draw(next(family for family in FAMILIES if family.name == job.landscape), job.seed)


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
    names = [*TABLES, *(f.name for f in FAMILIES)]
    parser.add_argument("--landscape", choices=names, action="append")
    parser.add_argument("--search", choices=list(SEARCHES), action="append")
    parser.add_argument("--table", type=Path, help="another table of real runs, for --landscape h200 or cpu")
    parser.add_argument("--study", help="use only the table's rows with this seed")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    began = time.perf_counter()
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    chosen = args.landscape or [name for name in names if name not in TABLES or there(name)]
    with get_context("spawn").Pool(args.processes) as pool:
        for name in chosen:
            nights = {
                search: pool.map(
                    run_one,
                    [Job(name, search, args.trials, seed, args.table, args.study) for seed in seeds],
                    chunksize=1,
                )
                for search in args.search or SEARCHES
            }
            print("\n".join(rows(name, nights, args.trials)), flush=True)
    print(f"\n{args.seeds} seeds, {args.trials} trials, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
