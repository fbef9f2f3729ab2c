"""Compare how well searches spend a night: ``python -m bench.search [--seeds 20] [--trials 70]``

The script needs the installed package (``pip install -e .``), or the repository's root on PYTHONPATH.

The landscapes are fitted to real runs (``bench/fitted.py``) or drawn (``bench/landscapes.py``).  Each search gets the
same landscape, the same start and the same random numbers.  The local searches (``walk``, ``model``, ``knobs``,
``hybrid``) propose changes of the incumbent and follow the loop's rule: keep what measures better than the incumbent
did, by more than one sigma.  The global searches choose the best value they measured.  ``model`` is a scripted model
that knows the usual tricks (``bench/habits.py``), and ``hybrid`` is that model together with ``knobs``; both run
through the real agents.  ``menu`` is ``hybrid`` with a model that picks at random from the menu, and ``4 lanes`` is
``knobs`` with four experiments at a time.  The table shows the *true* value of each search's chosen
configuration after 10, 35 and 70 trials, as mean and standard deviation over the seeds.  The table also counts failures
(crashes, and answers without an edit), and the seeds on which the search ended better than the walk.  Most of the
standard deviation comes from the landscapes, which differ from seed to seed unless they are fitted.  The baseline is
measured first and is not counted as a trial.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from autoresearch_mlx.agents import load_agent
from autoresearch_mlx.agents.chat import Chat
from autoresearch_mlx.agents.chat.opening import MENU
from autoresearch_mlx.agents.hybrid import Hybrid, due
from autoresearch_mlx.agents.knobs import choices
from autoresearch_mlx.agents.knobs.space import Space, read_space
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.experiment import Context, Proposal
from autoresearch_mlx.lab.config import AgentSettings
from bench.fitted import TABLES, table_named, there
from bench.habits import Habits
from bench.landscapes import FAMILIES, draw
from bench.samplers import cma_sampler, random_sampler, sampled, tpe_sampler
from bench.simulated_night import Landscape, Night, Proposer, local

MARKS = (10, 35, 70)
PICKER = "picker"
CODE = AgentSettings(format="blocks")
"""Settings of the scripted model, which reads the knobs from the file in its prompt."""
STEP = 0.16
"""The walk's usual step, as a share of a knob's range, chosen after trying 0.06, 0.12 and 0.2 on other seeds."""


def walk(seed: int) -> Proposer:
    """Return the plain walk: random steps of one random knob, no shorter than its smallest step, and no point twice."""
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


def knobs(seed: int) -> Proposer:
    """Return the agent under test, as the loop loads it."""
    agent = load_agent("knobs", Office(seed=seed))
    return agent.propose


def hybrid(seed: int) -> Proposer:
    """Return the agent under test, with a scripted model in place of a real one."""
    office = Office(CODE, seed=seed)
    return Hybrid(Chat(Habits(seed), office, patience_seconds=0.0), load_agent("knobs", office), office).propose


def menu(seed: int) -> Proposer:
    """Return ``hybrid`` with a model that picks at random from the program's menu: its turns depend on its record."""
    office = Office(seed=seed)
    agent = load_agent("knobs", office)

    def propose(context: Context) -> Proposal:
        if context.feedback or not due(context.number, office.settings.share, context.history, PICKER):
            return agent.propose(context)
        # The menu is shuffled, so its first move is a random one.
        return Proposal("from the menu", choices.menu(context, MENU)[0].files, talk={"agent": PICKER})

    return propose


def model(seed: int) -> Proposer:
    """Return the scripted model alone."""
    return Chat(Habits(seed), Office(CODE, seed=seed)).propose


SEARCHES: dict[str, Callable[[Landscape, int, int], Night]] = {
    "random": sampled(random_sampler),
    "global TPE": sampled(tpe_sampler),
    "global CMA-ES": sampled(cma_sampler),
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
    """Say on how many seeds a search ends with a better value than the walk on the same landscape."""
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
