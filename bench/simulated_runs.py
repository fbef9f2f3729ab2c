"""Simulate nights for ``bench/judge.py``: a machine with noise and drift, and proposals of known quality."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

BASE = 1000.0
"""The baseline's true value, in sigma; so large that every gain is a small share of it."""


@dataclass(frozen=True, slots=True)
class Regime:
    """The quality of proposals: one share gains, one changes nothing, and the rest lose, with exponential sizes."""

    name: str
    wins: float
    win: float
    """Mean true gain of a winning proposal, in sigma."""
    drift: bool = False
    """Whether the machine drifts: AR(1) of one sigma over about ten runs, and heat of 1.5 sigma in the first ten."""
    nothing: float = 0.35
    loss: float = 3.0


REGIMES = (
    Regime("tuned", 0.10, 1.5),
    Regime("drift", 0.10, 1.5, drift=True),
    Regime("early", 0.25, 6.0, loss=6.0),
    Regime("noise-dominated", 0.15, 0.5),
)


class SpentError(Exception):
    """Raised when the night is over."""


@dataclass(slots=True)
class Machine:
    """Makes runs; lower values are better.

    ``common`` is the share of a run's variance that its seed explains.
    """

    rng: np.random.Generator
    runs: int
    drift: bool = False
    common: float = 0.0
    taken: int = 0
    wander: float = 0.0
    seeds: dict[int, float] = field(default_factory=dict)
    log_work: float = 0.0
    """Natural logarithm of the last run's work, as a share of the usual work, estimated from the speed."""
    log_tokens: float | None = None
    """The same logarithm, computed from the run's tokens, or None if they are not counted."""
    slow: bool = False
    """Whether the machine was slow during the last run."""

    def measure(self, quality: float, seed: int) -> float:
        """Make one run of a file whose true value is ``quality`` sigma better than the baseline's."""
        if self.taken >= self.runs:
            raise SpentError
        self.taken += 1
        shared = self.seeds.setdefault(seed, float(self.rng.normal())) if self.common else 0.0
        noise = np.sqrt(self.common) * shared + np.sqrt(1 - self.common) * self.rng.normal()
        return float(BASE - quality + noise + self._drift())

    def _drift(self) -> float:
        if not self.drift:
            return 0.0
        self.wander = 0.9 * self.wander + np.sqrt(1 - 0.9**2) * float(self.rng.normal())
        return float(self.wander + 1.5 * (1 - np.exp(-self.taken / 5)))


@dataclass(slots=True)
class Night:
    """The result of a night under one rule; gains are in sigma."""

    quality: float = 0.0
    reported: float = 0.0
    kept: list[tuple[float, float, bool | None]] = field(default_factory=list)
    """For each keep: its true gain, its reported gain, and whether the reported interval contains the true gain.

    The third is None if no interval is reported.
    """
    tried: int = 0

    def keep(self, gain: float, told: float, held: bool | None = None) -> None:
        self.quality += gain
        self.kept.append((gain, told, held))


def draw_proposals(regime: Regime, rng: np.random.Generator) -> Iterator[float]:
    """Yield true gains of proposals, without end."""
    while True:
        kind = rng.random()
        if kind < regime.wins:
            yield float(rng.exponential(regime.win))
        elif kind < regime.wins + regime.nothing:
            yield 0.0
        else:
            yield -float(rng.exponential(regime.loss))
