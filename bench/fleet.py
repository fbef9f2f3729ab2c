"""Compare rules for keeping changes in a fleet, on simulated nights: ``python -m bench.fleet [--nights 200]``

Machines differ in what they measure for one file (0, 0.06 and 0.25 apart), in their noise, and in how much a change
helps.  Every night has the same number of runs under every rule, over all machines together; runs of the baseline and
of incumbents are included.  Night i has the same changes under every rule.  The rules do not know the noise: they
estimate it from three runs of the baseline on each machine; with our judge, each machine makes fewer runs if there are
more than three machines.

    gain      true gain of the last incumbent over the baseline, mean over the machines, with its standard error
    keeps     number of changes kept
    false     share of keeps that are no better than what they replaced, on average over the machines; standard error
    idle      share of keeps that were not drawn as gains; effects on single machines may still make them better
    tried     number of changes measured
    again     share of the runs that the baseline and the incumbents took

The sizes of gains are an assumption (``bench/simulated_fleet.py``): compare the rules, not the nights.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import fmean, stdev

import numpy as np

from autoresearch_mlx.judge.combined import Between
from autoresearch_mlx.judge.evidence import Again, Evidence, Mode, Rules, Run, Sigma
from autoresearch_mlx.judge.machines import (
    MachineEffect,
    OnMachine,
    decide_on_machines,
    effects_of,
    runs_of_baseline,
    spread_between,
)
from autoresearch_mlx.judge.sigma import age_of, moderated, pooled
from autoresearch_mlx.judge.stages import decide
from bench.simulated_fleet import WORLDS, Fleet, TrueChange, World, draw_changes
from bench.simulated_runs import SpentError

Rule = Callable[[Fleet, Iterator[TrueChange]], None]
OURS = "this package: over machines"


# -- rules that others use --------------------------------------------------------------------------


def raw_list(fleet: Fleet, changes: Iterator[TrueChange]) -> None:
    """Keep what beats the best number so far, whichever machine measured it."""
    best = min(fleet.measure(machine) for machine in range(fleet.world.machines))
    for at, change in enumerate(changes):
        value = fleet.measure(at % fleet.world.machines, change)
        fleet.tried += 1
        if value < best:
            fleet.keep(change)
            best = value


def levelled_list(fleet: Fleet, changes: Iterator[TrueChange]) -> None:
    """Keep what beats the best number so far; from each number the baseline of its machine is subtracted first."""
    levels = [fmean(fleet.measure(machine) for _ in range(3)) for machine in range(fleet.world.machines)]
    best = 0.0
    for at, change in enumerate(changes):
        machine = at % fleet.world.machines
        value = fleet.measure(machine, change) - levels[machine]
        fleet.tried += 1
        if value < best:
            fleet.keep(change)
            best = value


def same_machine(least: float, confirm: float | None = None) -> Rule:
    """Compare one run with the incumbent's mean on the same machine; keep a gain of more than ``least`` sigma.

    If ``confirm`` is given, a run on the next machine must gain more than this many sigma too.  After a keep the
    incumbent is measured on every machine.
    """

    def rule(fleet: Fleet, changes: Iterator[TrueChange]) -> None:
        machines = range(fleet.world.machines)
        incumbent = [[fleet.measure(machine) for _ in range(3)] for machine in machines]
        sigma = pooled(incumbent).value or 0.0

        def wins(machine: int, change: TrueChange, over: float) -> bool:
            return fmean(incumbent[machine]) - fleet.measure(machine, change) > over * sigma

        for at, change in enumerate(changes):
            here = at % fleet.world.machines
            kept = wins(here, change, least)
            if kept and confirm is not None:
                kept = wins((here + 1) % fleet.world.machines, change, confirm)
            fleet.tried += 1
            if kept:
                fleet.keep(change)
                incumbent = [[fleet.measure(machine)] for machine in machines]

    return rule


def every_machine(least: float) -> Rule:
    """Measure every change on every machine; keep a mean gain of more than ``least`` standard errors."""

    def rule(fleet: Fleet, changes: Iterator[TrueChange]) -> None:
        machines = range(fleet.world.machines)
        incumbent = [[fleet.measure(machine) for _ in range(3)] for machine in machines]
        sigma = pooled(incumbent).value or 0.0
        for change in changes:
            gains = [fmean(incumbent[machine]) - fleet.measure(machine, change) for machine in machines]
            error = sigma * math.sqrt(sum(1 + 1 / len(each) for each in incumbent)) / len(machines)
            fleet.tried += 1
            if fmean(gains) > least * error:
                fleet.keep(change)
                incumbent = [[fleet.measure(machine)] for machine in machines]

    return rule


# -- the judge of this package ----------------------------------------------------------------------


@dataclass(slots=True)
class Bench:
    """One machine's part of a session: its runs, by commit."""

    number: int
    runs: dict[int, list[Run]] = field(default_factory=dict)
    looked: list[bool] = field(default_factory=list)
    """One value for each change that was tried: whether the incumbent ran on this machine while the change was
    judged."""

    def repeats(self) -> list[list[float]]:
        groups = ([run.value for run in runs if run.fresh] for runs in self.runs.values())
        return [group for group in groups if len(group) > 1]


@dataclass(slots=True)
class Session:
    """The part of a session around the judge: it makes the runs that the judge asks for."""

    fleet: Fleet
    mode: Mode = "adaptive"
    spread: Between | None = None
    """The spread of effects between machines; if None, it is estimated from the night's changes."""
    rules: Rules = field(default_factory=Rules)
    machines: list[Bench] = field(default_factory=list)
    kept: list[int] = field(default_factory=lambda: [0])
    """Commits that were kept, oldest first; the last one is the incumbent."""
    commits: int = 1
    changes: list[tuple[MachineEffect, ...]] = field(default_factory=list)

    def begin(self) -> None:
        machines = self.fleet.world.machines
        least, whole = runs_of_baseline(machines, 3)
        for number in range(machines):
            count = least + (number < whole - machines * least)  # the first machines take a third run
            runs = [Run(self.fleet.measure(number), seed) for seed in range(count)]
            self.machines.append(Bench(number, {0: runs}))

    def sigmas(self) -> list[Sigma]:
        """Return the sigma of each machine."""
        own = [machine.repeats() for machine in self.machines]
        every = pooled([group for groups in own for group in groups])
        return [moderated(pooled(groups), every) for groups in own]

    def evidence(
        self, machine: Bench, sigma: Sigma, candidate: Sequence[Run], refreshes: int, commit: int | None = None
    ) -> Evidence:
        incumbent = tuple(machine.runs.get(self.kept[-1] if commit is None else commit, ()))
        age = age_of(machine.looked)
        return Evidence(tuple(candidate), incumbent, sigma, incumbent_age=age, refreshes=refreshes, audited=True)

    def side(self, machine: Bench, sigma: Sigma, candidate: Sequence[Run], refreshes: int) -> OnMachine:
        newest = next(commit for commit in reversed(self.kept) if machine.runs.get(commit))
        older = None if newest == self.kept[-1] else self.evidence(machine, sigma, candidate, refreshes, newest)
        now = self.evidence(machine, sigma, candidate, refreshes)
        return OnMachine(str(machine.number), self.fleet.world.chips[machine.number], now, older)

    def refresh(self, machine: Bench, seed: int | None) -> None:
        runs = machine.runs.setdefault(self.kept[-1], [])
        seed = max((run.seed for run in runs), default=-1) + 1 if seed is None else seed
        runs.append(Run(self.fleet.measure(machine.number), seed))

    def take(self, machine: Bench, change: TrueChange, again: Again, fresh: bool) -> Run:
        return Run(self.fleet.measure(machine.number, change), again.seed or 0, fresh=fresh)

    def settle(self, kept: bool, change: TrueChange, taken: dict[int, list[Run]]) -> None:
        self.fleet.tried += 1
        for number, runs in taken.items():
            if runs:
                self.machines[number].runs[self.commits] = runs
            self.machines[number].looked.append(kept and bool(runs))
        if kept:
            self.fleet.keep(change)
            self.kept.append(self.commits)
        self.commits += 1

    def on_one(self, machine: Bench, change: TrueChange, first: bool = True) -> tuple[bool, list[Run]]:
        """Judge a change by the runs of one machine."""
        candidate: list[Run] = []
        refreshes = 0
        while True:
            sigma = self.sigmas()[machine.number]
            decision = decide(self.evidence(machine, sigma, candidate, refreshes), self.mode, self.rules)
            if not isinstance(decision, Again):
                return decision.status == "keep", candidate
            if decision.whom == "incumbent":
                self.refresh(machine, decision.seed)
                refreshes += 1
            else:
                candidate.append(self.take(machine, change, decision, bool(candidate) or not first))

    def over_machines(self, order: Sequence[Bench], change: TrueChange) -> tuple[bool, dict[int, list[Run]]]:
        """Judge a change by the runs of all machines."""
        taken: dict[int, list[Run]] = {machine.number: [] for machine in order}
        refreshes = dict.fromkeys(taken, 0)
        spread = self.spread or spread_between(self.changes)
        while True:
            sigmas = self.sigmas()
            sides = [self.side(m, sigmas[m.number], taken[m.number], refreshes[m.number]) for m in order]
            decision = decide_on_machines(sides, spread, self.mode, self.rules)
            if not isinstance(decision, Again):
                self.changes.append(effects_of(sides, self.rules.record))
                return decision.status == "keep", taken
            number = int(decision.machine)
            if decision.whom == "incumbent":
                self.refresh(self.machines[number], decision.seed)
                refreshes[number] += 1
            else:
                fresh = any(taken.values())
                taken[number].append(self.take(self.machines[number], change, decision, fresh))


def by_judge(confirm: bool = False, mode: Mode = "adaptive") -> Rule:
    """Let the judge decide on one machine; with ``confirm``, the next machine must keep the change too."""

    def rule(fleet: Fleet, changes: Iterator[TrueChange]) -> None:
        session = Session(fleet, mode)
        session.begin()
        for at, change in enumerate(changes):
            here, there = (session.machines[(at + step) % fleet.world.machines] for step in (0, 1))
            kept, runs = session.on_one(here, change)
            taken = {here.number: runs}
            if kept and confirm:
                kept, taken[there.number] = session.on_one(there, change, first=False)
            session.settle(kept, change, {m.number: taken.get(m.number, []) for m in session.machines})

    return rule


def over_machines(mode: Mode = "adaptive", spread: Between | None = None) -> Rule:
    """Let the judge decide on the runs of all machines."""

    def rule(fleet: Fleet, changes: Iterator[TrueChange]) -> None:
        session = Session(fleet, mode, spread)
        session.begin()
        for at, change in enumerate(changes):
            machines = session.machines
            order = [machines[(at + step) % len(machines)] for step in range(len(machines))]
            kept, taken = session.over_machines(order, change)
            session.settle(kept, change, taken)

    return rule


RULES: dict[str, Rule] = {
    "one list of raw values": raw_list,
    "one list, less the baseline": levelled_list,
    "same machine, 1 sigma": same_machine(1.0),
    "same machine, 1.5 sigma": same_machine(1.5),
    "same machine, 2 sigma": same_machine(2.0),
    "same, second gains too": same_machine(1.0, 0.0),
    "same, 1 sigma on both": same_machine(1.0, 1.0),
    "every machine, 1.5 errors": every_machine(1.5),
    "judge on one machine": by_judge(),
    "strict judge on one machine": by_judge(mode="strict"),
    "judge on one, another confirms": by_judge(confirm=True),
    OURS: over_machines(),
}
VARIANTS: dict[str, Rule] = {
    "... strict": over_machines("strict"),
    "... tau = 0": over_machines(spread=Between(0.0)),
}
"""Variants of our rule, which show what its parts do."""


# -- the tables -------------------------------------------------------------------------------------


def nights(world: World, rule: Rule, many: int, runs: int) -> list[Fleet]:
    """Simulate nights; night ``i`` has the same changes under every rule."""
    found = []
    for i in range(many):
        fleet = Fleet(world, np.random.default_rng([i, 1]), runs)
        with suppress(SpentError):
            rule(fleet, draw_changes(world, np.random.default_rng([i, 2])))
        found.append(fleet)
    return found


def share(nights: Sequence[Fleet], bad: Callable[[TrueChange], bool]) -> tuple[float, float]:
    """Return the share of keeps that are bad, and its standard error; nights count as independent."""
    counts = [(sum(map(bad, night.kept)), len(night.kept)) for night in nights]
    keeps = sum(kept for _, kept in counts)
    if not keeps:
        return 0.0, 0.0
    p = sum(wrong for wrong, _ in counts) / keeps
    return p, math.sqrt(math.fsum((wrong - p * kept) ** 2 for wrong, kept in counts)) / keeps


def error(values: Sequence[float]) -> float:
    """Return the standard error of a mean."""
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def row(name: str, found: Sequence[Fleet]) -> str:
    gains = [night.gain for night in found]
    false, false_error = share(found, lambda change: float(change.effects.mean()) <= 0)
    idle, _ = share(found, lambda change: not change.win)
    cells = (
        f"{fmean(gains):.4f} ± {error(gains):.4f}",
        f"{fmean(len(night.kept) for night in found):.1f}",
        f"{100 * false:.1f} ± {100 * false_error:.1f} %",
        f"{100 * idle:.1f} %",
        f"{fmean(night.tried for night in found):.0f}",
        f"{100 * fmean(night.again / night.taken for night in found):.0f} %",
    )
    return f"{name:<30}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True))


WIDTHS = (18, 8, 15, 10, 8, 8)
HEADS = ("gain", "keeps", "false", "idle", "tried", "again")


def table(world: World, many: int, runs: int) -> Iterator[str]:
    yield f"\n{world.name:<30}" + "".join(f"{head:>{width}}" for head, width in zip(HEADS, WIDTHS, strict=True))
    gains: dict[str, list[float]] = {}
    for name, rule in (RULES | VARIANTS).items():
        found = nights(world, rule, many, runs)
        gains[name] = [night.gain for night in found]
        yield row(name, found)
    best = max(RULES.keys() - {OURS}, key=lambda name: fmean(gains[name]))
    apart = [a - b for a, b in zip(gains[OURS], gains[best], strict=True)]
    yield f"ours minus the best of the other rules ({best}): {fmean(apart):+.4f} ± {error(apart):.4f}, night by night"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=200)
    parser.add_argument("--runs", type=int, default=240, help="runs of a night, over all machines together")
    parser.add_argument("--worlds", type=int, default=1, help=f"number of the tables, up to {len(WORLDS)}")
    args = parser.parse_args()
    if args.nights < 1 or args.runs < 20 or not 1 <= args.worlds <= len(WORLDS):
        parser.error(f"give at least one night and twenty runs, and one to {len(WORLDS)} tables")
    began = time.perf_counter()
    for world in WORLDS[: args.worlds]:
        for line in table(world, args.nights, args.runs):
            print(line, flush=True)
    print(f"\n{args.nights} nights of {args.runs} runs, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
