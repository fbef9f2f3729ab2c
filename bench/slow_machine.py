"""Simulate what the judge does while other programs slow the machine: ``python -m bench.slow_machine [--nights 200]``

The script needs the installed package (``pip install -e .``), or the repository's root on PYTHONPATH.

A night has 12 edits without effect, 3 real wins and 3 real losses in random order.  This package's own rules judge
these edits while the machine's speed changes from run to run.  The value of a run depends on the work that it did, by a
power law, so the judge's straight line over the logarithm of the work is only nearly right.  There are three rows for
each course of the speed.  The first shows edits whose steps cost the same, so that tokens show the work.  The second
shows all other edits, for which only the speed shows the work.  The third shows the same rules without the speed.  The
columns are:

    beyond 3     edits without effect, out of 12, that are reported beyond 3 sigma, and the worst night
    kept         edits without effect, out of 12, that are kept; the rules keep some on a quiet machine too
    wins, losses share of the real ones that are judged right (kept; discarded)
    runs         number of runs that a night takes, those of the baseline and the incumbent included
    regimes      number of times that a drift is seen; the machine is only slow, so each is an error
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from autoresearch_mlx.judge.evidence import Mode, Rules, Slope
from autoresearch_mlx.judge.speeds import SLOW
from bench.judge import Desk
from bench.simulated_runs import BASE, Machine

WIN, LOSS = 4.0, -4.0
"""True gains of the edits with an effect, in sigma of one run."""
STEEP = 17.0
"""Loss in sigma for each e-fold of work that is missing, near the usual work: measured on two busy cores, where a third
of the steps cost 20 sigma."""
DOUBT = 0.1
"""Standard deviation of the logarithm of the part of a slow run's work that its speed does not show."""
POWER = 0.3
"""Exponent of the learning curve: excess loss ~ work ** -POWER."""


@dataclass(frozen=True, slots=True)
class Speeds:
    """How the machine's speed changes over a night, and how much of a change the budget does not make up for."""

    name: str
    draw: Callable[[np.random.Generator, int], Iterator[float]]
    left: float = 1.0
    """The budget does not make up for this share of a change in the logarithm of the speed."""


def quiet(rng: np.random.Generator, runs: int) -> Iterator[float]:
    return (float(rng.uniform(0.97, 1.0)) for _ in range(runs))


def shuffled(rng: np.random.Generator, runs: int) -> Iterator[float]:
    """Yield a new speed for each run, from 0.3 to 1; the baseline has a quiet machine."""
    return (1.0 if at < 3 else float(rng.uniform(0.3, 1.0)) for at in range(runs))


def in_spells(rng: np.random.Generator, runs: int) -> Iterator[float]:
    """Yield the machine's speed for each run, while other programs come and go; a speed lasts for about six runs."""
    speed = 1.0
    for at in range(runs):
        if at >= 3 and rng.random() < 1 / 6:
            speed = 1.0 if speed < 1 else float(rng.uniform(0.3, 0.8))
        yield speed


def at_first_slow(rng: np.random.Generator, runs: int) -> Iterator[float]:
    """Yield about 0.4 for the baseline's three runs and 1 afterwards, which leads to false keeps."""
    return (float(rng.uniform(0.35, 0.45)) if at < 3 else 1.0 for at in range(runs))


def from_heat(rng: np.random.Generator, runs: int) -> Iterator[float]:
    """Yield the speeds of a machine without a fan: from 1 to 0.6 in twenty runs, then about 0.6."""
    return (0.6 + 0.4 * math.exp(-at / 7) + float(rng.normal(0, 0.01)) for at in range(runs))


WAYS = (
    Speeds("quiet", quiet),
    Speeds("new each run", shuffled),
    Speeds("new each run, corrected", shuffled, left=0.1),
    Speeds("spells", in_spells),
    Speeds("slow baseline", at_first_slow),
    Speeds("heat", from_heat),
)


class SlowMachine(Machine):
    """A machine whose values depend on its speed too.

    While the machine is slow, its speed shows the work with an error, and tokens show the work without error.
    """

    def __init__(self, rng: np.random.Generator, speeds: Speeds, told: bool, common: float) -> None:
        super().__init__(rng, 1000, common=common)
        self.speeds, self.told, self.left = speeds.draw(rng, 1000), told, speeds.left

    def measure(self, quality: float, seed: int) -> float:
        value = super().measure(quality, seed)
        speed = next(self.speeds)
        doubt = float(self.rng.normal(0, 0.01 if speed > 0.95 else DOUBT))
        told = speed**self.left
        work = told * math.exp(doubt)
        self.log_work = math.log(told) if self.told else 0.0
        self.log_tokens = math.log(work) if self.told else None
        self.slow = self.told and speed < SLOW
        return value + STEEP / POWER * math.expm1(-POWER * math.log(work))


@dataclass(frozen=True, slots=True)
class Seen:
    """What one night reported."""

    beyond: int
    kept: int
    wins: int
    losses: int
    runs: int
    regimes: int


def night(
    speeds: Speeds, told: bool, number: int, common: float = 0.0, same_cost: bool = True, mode: Mode = "adaptive"
) -> Seen:
    rng = np.random.default_rng([number, 5])
    machine = SlowMachine(rng, speeds, told, common)
    # Before there are repeats, the judge takes the slope from the learning curve: here twice the true slope, or half.
    assumed = Slope(0.0, STEEP * float(rng.choice([0.5, 1.0, 2.0]))) if told else Slope()
    desk = Desk(machine, mode, Rules(), assumed=assumed, same_cost=same_cost)
    desk.begin()
    beyond = kept = wins = losses = 0
    for gain in rng.permutation([0.0] * 12 + [WIN] * 3 + [LOSS] * 3):
        desk.look_for_drift()
        verdict = desk.try_one(float(gain))
        beyond += gain == 0 and abs(desk.score) > 3
        kept += gain == 0 and verdict.status == "keep"
        wins += gain > 0 and verdict.status == "keep"
        losses += gain < 0 and verdict.status == "discard"
    return Seen(beyond, kept, wins, losses, machine.taken, desk.regime)


def row(speeds: Speeds, told: bool, same_cost: bool, many: int, common: float) -> str:
    found = [night(speeds, told, number, common, same_cost) for number in range(many)]
    cells = (
        f"{fmean(n.beyond for n in found):.2f} ({max(n.beyond for n in found)})",
        f"{fmean(n.kept for n in found):.2f}",
        f"{fmean(n.wins for n in found) / 3:.0%}",
        f"{fmean(n.losses for n in found) / 3:.0%}",
        f"{fmean(n.runs for n in found):.0f}",
        f"{fmean(n.regimes for n in found):.2f}",
    )
    name = (speeds.name if same_cost else "  by the speed alone") if told else "  without the speed"
    return f"{name:<26}" + "".join(f"{cell:>12}" for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=200)
    parser.add_argument("--common", type=float, default=0.0, help="share of a run's variance that its seed explains")
    args = parser.parse_args()
    if args.nights < 1 or not 0 <= args.common < 1:
        parser.error("give at least one night, and a common share from 0 to under 1")
    began = time.perf_counter()
    print(f"{'':<26}" + "".join(f"{head:>12}" for head in ("beyond 3", "kept", "wins", "losses", "runs", "regimes")))
    for speeds in WAYS:
        for told, same_cost in ((True, True), (True, False), (False, False)):
            print(row(speeds, told, same_cost, args.nights, args.common), flush=True)
    print(f"\n{args.nights} nights of each kind, usual value {BASE:g}, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
