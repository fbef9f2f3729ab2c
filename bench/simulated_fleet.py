"""Simulate a night of a fleet for ``bench/fleet.py``: machines of different levels and noise, and changes to try."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from bench.simulated_runs import SpentError


@dataclass(frozen=True, slots=True)
class World:
    """Machines and the quality of changes; all figures are in the metric's unit, and lower values are better."""

    name: str
    levels: tuple[float, ...] = (0.0, 0.06, 0.25)
    """How much higher each machine's values are than the first machine's, for the same file."""
    sigmas: tuple[float, ...] = (0.003, 0.0045, 0.006)
    """Standard deviation of one run on each machine."""
    chips: tuple[str, ...] = ("M1", "M2", "M4")
    own: float = 0.002
    """Standard deviation of the part of a change's effect that belongs to one machine."""
    wins: float = 0.15
    """Share of changes that are real gains."""
    nothing: float = 0.35
    """Share of changes that do nothing on average; the others lose."""
    win: float = 0.008
    loss: float = 0.01
    """Mean size of losses; ``win`` is the mean size of gains.  The sizes are distributed exponentially."""
    platform: float = 0.0
    """Share of the gains that hold on the last chip alone, and are losses of half the size elsewhere."""
    by_noise: bool = False
    """Whether an effect on a machine is proportional to that machine's noise, instead of the same on all machines."""

    @property
    def machines(self) -> int:
        return len(self.levels)


WORLDS = (
    World("three machines"),
    World("two machines", levels=(0.0, 0.25), sigmas=(0.003, 0.006), chips=("M1", "M4")),
    World(
        "five machines",
        levels=(0.0, 0.02, 0.06, 0.13, 0.25),
        sigmas=(0.003, 0.003, 0.0045, 0.0045, 0.006),
        chips=("M1", "M1", "M2", "M4", "M4"),
    ),
    World("effects scale with the noise", by_noise=True),
    World("half the gains on M4 alone", platform=0.5),
    World("smaller gains", win=0.005),
)


@dataclass(frozen=True, slots=True)
class TrueChange:
    """A change to try."""

    win: bool
    """Whether the change was drawn as a gain, and is one on average over the machines."""
    effects: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    """True gain on each machine."""


def draw_changes(world: World, rng: np.random.Generator) -> Iterator[TrueChange]:
    """Yield changes, without end."""
    sigmas = np.array(world.sigmas)
    scale = sigmas / sigmas.mean() if world.by_noise else np.ones(world.machines)
    there = np.array([chip == world.chips[-1] for chip in world.chips])
    while True:
        kind, gain = rng.random(), 0.0
        if kind < world.wins:
            gain = float(rng.exponential(world.win))
        elif kind >= world.wins + world.nothing:
            gain = -float(rng.exponential(world.loss))
        effects = gain * scale
        if kind < world.wins and rng.random() < world.platform:
            effects = np.where(there, effects, -effects / 2)
        effects = effects + world.own * rng.normal(size=world.machines)
        yield TrueChange(kind < world.wins and effects.mean() > 0, effects)


@dataclass(slots=True)
class Fleet:
    """Makes runs on machines until the night's runs are spent."""

    world: World
    rng: np.random.Generator
    runs: int
    taken: int = 0
    incumbent: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = field(init=False)
    """True gain of the incumbent over the baseline, on each machine."""
    kept: list[TrueChange] = field(default_factory=list)
    tried: int = 0
    again: int = 0
    """Number of runs of the baseline and of incumbents."""

    def __post_init__(self) -> None:
        self.incumbent = np.zeros(self.world.machines)

    def measure(self, machine: int, change: TrueChange | None = None) -> float:
        """Make a run of the incumbent, or of a change applied to it.  Raises SpentError when the night is over."""
        if self.taken >= self.runs:
            raise SpentError
        self.taken += 1
        self.again += change is None
        gain = self.incumbent[machine] + (0.0 if change is None else change.effects[machine])
        return 1.0 + self.world.levels[machine] - float(gain) + self.world.sigmas[machine] * float(self.rng.normal())

    def keep(self, change: TrueChange) -> None:
        self.incumbent = self.incumbent + change.effects
        self.kept.append(change)

    @property
    def gain(self) -> float:
        """Mean true gain over the machines."""
        return float(self.incumbent.mean())
