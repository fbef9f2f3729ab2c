"""Compare rules for keeping changes on simulated nights: ``python -m bench.judge [--nights 200]``

The script needs the installed package (``pip install -e .``), or the repository's root on PYTHONPATH.

Runs are simulated: a true value, plus normal noise of one sigma, plus drift in some regimes.  Each rule gets the same
proposals and starts without knowing sigma.  The first table shows a single decision against an incumbent with three
runs, by the candidate's true gain: the share of keeps and the mean number of runs.  The second table shows whole
nights.  A night ends after a number of runs, and every run counts, including the runs of the baseline and the
incumbent.  All gains are in sigma:

    true      true gain of the last incumbent over the baseline
    bias      gain that the rule reports at the end, minus the true one
    per keep  the same for one keep, with the gain reported when it was kept
    held      share of keeps whose reported 90 % interval contains the true gain
    false     share of keeps that are no better than what they replaced
    worse     share of nights that end worse than they began
    tried     number of proposals measured

The quality of proposals is an assumption (``bench/simulated_runs.py``): compare the rules, not the nights.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from statistics import fmean

import numpy as np

from autoresearch_mlx.experiment import Verdict
from autoresearch_mlx.judge.difference import counted, difference
from autoresearch_mlx.judge.drift import drifted
from autoresearch_mlx.judge.evidence import Again, Evidence, Mode, Rules, Run, Sigma, Slope
from autoresearch_mlx.judge.margin import by_margin
from autoresearch_mlx.judge.shrinkage import effect_of
from autoresearch_mlx.judge.sigma import age_of, pair_differences, pooled, refresh_due, replicates
from autoresearch_mlx.judge.slope import learned
from autoresearch_mlx.judge.stages import decide
from autoresearch_mlx.judge.work import compared
from bench.simulated_runs import REGIMES, Machine, Night, Regime, SpentError, draw_proposals

EFFECTS = (-1.0, 0.0, 1.0, 1.5, 2.0, 3.0, 5.0)

Rule = Callable[[Machine, Iterator[float]], Night]


# -- the rules that others use ----------------------------------------------------------------------


def by_one_run(margin: float) -> Rule:
    """Keep a candidate whose one run is better than the incumbent's one run by more than the margin."""

    def rule(machine: Machine, proposals: Iterator[float]) -> Night:
        night = Night()
        first = before = machine.measure(0.0, 0)
        try:
            for gain in proposals:
                value = machine.measure(night.quality + gain, 0)
                night.tried += 1
                if by_margin(before - value, before, margin).status == "keep":
                    night.keep(gain, before - value)
                    before = value
        except SpentError:
            pass
        night.reported = first - before
        return night

    return rule


def by_bootstrap(machine: Machine, proposals: Iterator[float]) -> Night:
    """Run three seeds, unless the first is no better than the incumbent's mean; keep at P(better) >= 0.95."""
    night = Night()
    incumbent = tuple(machine.measure(0.0, seed) for seed in range(3))
    first = fmean(incumbent)
    try:
        for gain in proposals:
            night.tried += 1
            runs = _three(machine, night.quality + gain, fmean(incumbent))
            if len(runs) == 3 and share_better(runs, incumbent) >= 0.95:
                night.keep(gain, fmean(incumbent) - fmean(runs))
                incumbent = runs
    except SpentError:
        pass
    night.reported = first - fmean(incumbent)
    return night


def _three(machine: Machine, quality: float, before: float) -> tuple[float, ...]:
    one = machine.measure(quality, 0)
    return (one, machine.measure(quality, 1), machine.measure(quality, 2)) if one < before else (one,)


def share_better(runs: Sequence[float], incumbent: Sequence[float]) -> float:
    """Return the share of all pairs of resamples in which the candidate's mean is lower."""
    draws = _resamples()
    return float(np.mean(np.array(runs)[draws].mean(1)[:, None] < np.array(incumbent)[draws].mean(1)[None, :]))


@lru_cache(maxsize=1)
def _resamples() -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array(list(itertools.product(range(3), repeat=3)))


# -- the rule of this package -----------------------------------------------------------------------


@dataclass(slots=True)
class Desk:
    """The part of a session around the judge: it makes the runs that the judge asks for, and watches for drift."""

    machine: Machine
    mode: Mode
    rules: Rules
    replicates: int = 3
    night: Night = field(default_factory=Night)
    regime: int = 0
    commit: int = 0
    """Number of the incumbent's commit."""
    runs: dict[int, list[Run]] = field(default_factory=dict)
    pairs: list[tuple[float, ...]] = field(default_factory=list)
    effects: list[float] = field(default_factory=list)
    measured: list[bool] = field(default_factory=list)
    assumed: Slope = field(default_factory=Slope)
    """The slope of values over the machine's speed, assumed until there are repeats."""
    same_cost: bool = False
    """Whether a step of a candidate costs as much as one of the incumbent, so that the tokens show the work."""
    score: float = 0.0
    """The last gain that was reported, in standard errors."""

    def begin(self) -> None:
        self.runs[0] = [self._run(0.0, seed) for seed in range(self.replicates)]

    def noise(self) -> tuple[Slope, Sigma]:
        groups = replicates((str(commit), run) for commit, runs in self.runs.items() for run in runs)
        return learned(groups, self.assumed)

    def _run(self, quality: float, seed: int, fresh: bool = True) -> Run:
        value = self.machine.measure(quality, seed)
        of = self.machine
        return Run(value, seed, self.regime, fresh, log_work=of.log_work, log_tokens=of.log_tokens, off_speed=of.slow)

    def look_for_drift(self) -> None:
        if not refresh_due(self.measured):
            return
        stored = [run for run in self.runs[self.commit] if run.regime == self.regime]
        new = [self._refresh(None)]
        if self._drifted(stored, new):
            new.append(self._refresh(None))
            if self._drifted(stored, new):
                self.regime += 1
                self.runs[self.commit] += [replace(run, regime=self.regime) for run in new]
        self.measured.append(True)

    def _drifted(self, stored: Sequence[Run], new: Sequence[Run]) -> bool:
        slope, sigma = self.noise()
        return drifted(stored, new, sigma, slope)

    def _refresh(self, seed: int | None) -> Run:
        seed = max(run.seed for run in self.runs[self.commit]) + 1 if seed is None else seed
        run = self._run(self.night.quality, seed)
        self.runs[self.commit].append(run)
        return run

    def evidence(self, candidate: Sequence[Run], refreshes: int = 0) -> Evidence:
        slope, sigma = self.noise()
        return Evidence(
            *compared(candidate, self.runs[self.commit], slope, self.same_cost),
            sigma,
            recent_effects=tuple(self.effects[-10:]),
            regime=self.regime,
            pair_sigma=pooled(self.pairs, "change"),
            incumbent_age=age_of(self.measured),
            refreshes=refreshes,
            audited=True,
            slope=slope,
        )

    def try_one(self, gain: float) -> Verdict:
        self.night.tried += 1
        quality = self.night.quality + gain
        seed = self.runs[self.commit][-1].seed
        candidate, refreshes = [self._run(quality, seed, fresh=False)], 0
        evidence = self.evidence(candidate)
        while isinstance(decision := decide(evidence, self.mode, self.rules), Again):
            if decision.whom == "incumbent":
                self._refresh(decision.seed)
                refreshes += 1
            else:
                assert decision.seed is not None
                candidate.append(self._run(quality, decision.seed))
            evidence = self.evidence(candidate, refreshes)
        self._settle(decision, candidate, evidence, gain)
        return decision

    def _settle(self, verdict: Verdict, candidate: Sequence[Run], evidence: Evidence, gain: float) -> None:
        self.pairs.append(pair_differences(candidate, self.runs[self.commit], evidence.slope.value))
        self.runs[len(self.runs)] = list(candidate)
        kept = verdict.status == "keep"
        self.measured.append(kept)
        effect = effect_of(difference(counted(evidence), self.rules.record), evidence.recent_effects)
        self.score = effect.z
        if kept:
            self.commit = len(self.runs) - 1
            self.effects.append(effect.raw)
            self.night.keep(gain, effect.gain, effect.low <= gain <= effect.high)

    def report(self) -> float:
        """Return the gain reported at the end, from the incumbent's later runs or, without any, from all its runs."""
        head = [run for run in self.runs[self.commit] if run.fresh] or self.runs[self.commit]
        return fmean(run.value for run in self.runs[0][: self.replicates]) - fmean(run.value for run in head)


def by_decide(mode: Mode, rules: Rules | None = None) -> Rule:
    def rule(machine: Machine, proposals: Iterator[float]) -> Night:
        desk = Desk(machine, mode, rules or Rules())
        desk.begin()
        try:
            for gain in proposals:
                desk.look_for_drift()
                desk.try_one(gain)
        except SpentError:
            pass
        desk.night.reported = desk.report()
        return desk.night

    return rule


RULES: dict[str, Rule] = {
    "one run": by_one_run(0.0),
    "margin 1 sigma": by_one_run(1.0),
    "3 seeds, bootstrap": by_bootstrap,
    "fast": by_decide("fast"),
    "adaptive": by_decide("adaptive"),
    "auto": by_decide("auto"),
    "strict": by_decide("strict"),
}


# -- nights -----------------------------------------------------------------------------------------


def nights(regime: Regime, rule: Rule, many: int, runs: int = 70, common: float = 0.0) -> list[Night]:
    """Simulate nights; night ``i`` has the same proposals under every rule."""
    return [
        rule(
            Machine(np.random.default_rng([i, 1]), runs, regime.drift, common),
            draw_proposals(regime, np.random.default_rng([i, 2])),
        )
        for i in range(many)
    ]


# -- one decision -----------------------------------------------------------------------------------


def one_decision(rule: str, effect: float, many: int, common: float = 0.0) -> tuple[float, float]:
    """Return P(keep) and the mean number of runs that a decision takes, against an incumbent with three runs."""
    kept = spent = 0
    for i in range(many):
        machine = Machine(np.random.default_rng([i, 3]), 1000, common=common)
        kept += _first(rule, machine, effect)
        spent += machine.taken - 3
    return kept / many, spent / many


def _first(rule: str, machine: Machine, effect: float) -> bool:
    incumbent = tuple(machine.measure(0.0, seed) for seed in range(3))
    if rule == "3 seeds, bootstrap":
        runs = _three(machine, effect, fmean(incumbent))
        return len(runs) == 3 and share_better(runs, incumbent) >= 0.95
    if rule in ("one run", "margin 1 sigma"):
        return incumbent[-1] - machine.measure(effect, 0) > (rule != "one run")
    mode: Mode = "fast" if rule == "fast" else "strict" if rule == "strict" else "adaptive"
    desk = Desk(machine, mode, Rules(), runs={0: [Run(value, seed) for seed, value in enumerate(incumbent)]})
    return desk.try_one(effect).status == "keep"


# -- the tables -------------------------------------------------------------------------------------


def decision_rows(many: int, common: float) -> Iterator[str]:
    yield f"{'P(keep), (runs)':<20}" + "".join(f"{f'{effect:+g} sigma':>14}" for effect in EFFECTS)
    for rule in RULES:
        if rule != "auto":  # at the start of a night, auto is adaptive
            cells = (one_decision(rule, effect, many, common) for effect in EFFECTS)
            yield f"{rule:<20}" + "".join(f"{f'{p:.3f} ({n:.1f})':>14}" for p, n in cells)


def night_rows(regime: Regime, many: int, runs: int, common: float) -> Iterator[str]:
    heads = {"true": 14, "bias": 14, "per keep": 10, "held": 7, "keeps": 8, "false": 8, "worse": 8, "tried": 8}
    yield f"\n{regime.name:<20}" + "".join(f"{head:>{width}}" for head, width in heads.items())
    for name, rule in RULES.items():
        found = nights(regime, rule, many, runs, common)
        kept = [each for night in found for each in night.kept]
        bias = [night.reported - night.quality for night in found]
        cells = [
            f"{_mean([night.quality for night in found]):>14}",
            f"{_mean(bias):>14}",
            f"{fmean([told - gain for gain, told, _ in kept]) if kept else 0:>10.2f}",
            f"{_share([held for _, _, held in kept if held is not None]):>7}",
            f"{len(kept) / many:>8.1f}",
            f"{_share([gain <= 0 for gain, _, _ in kept]):>8}",
            f"{fmean([night.quality < 0 for night in found]):>8.1%}",
            f"{fmean([night.tried for night in found]):>8.1f}",
        ]
        yield f"{name:<20}" + "".join(cells)


def _share(found: Sequence[bool]) -> str:
    return f"{fmean(found):.0%}" if found else ""


def _mean(values: Sequence[float]) -> str:
    """Return the mean and its standard error."""
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=200)
    parser.add_argument("--runs", type=int, default=70)
    parser.add_argument("--decisions", type=int, default=4000)
    parser.add_argument("--common", type=float, default=0.0, help="share of a run's variance that its seed explains")
    args = parser.parse_args()
    if min(args.nights, args.decisions) < 1 or args.runs < 5 or not 0 <= args.common < 1:
        parser.error("give at least one night, one decision and five runs, and a common share from 0 to under 1")
    began = time.perf_counter()
    print("\n".join(decision_rows(args.decisions, args.common)), flush=True)
    for regime in REGIMES:
        print("\n".join(night_rows(regime, args.nights, args.runs, args.common)), flush=True)
    print(f"\n{args.nights} nights of {args.runs} runs, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
