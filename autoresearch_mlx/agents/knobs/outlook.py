"""What is known before a proposal, in one value: the region, the surrogate, the chance of failing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoresearch_mlx.agents.knobs.coordinates import Array, Coordinates, coordinates
from autoresearch_mlx.agents.knobs.failures import FailureModel, learn_failures
from autoresearch_mlx.agents.knobs.interest import interest
from autoresearch_mlx.agents.knobs.memory import Memory, Trial
from autoresearch_mlx.agents.knobs.moves import Move, point_of
from autoresearch_mlx.agents.knobs.region import gains, tiredness, weights, widths
from autoresearch_mlx.agents.knobs.space import Space
from autoresearch_mlx.agents.knobs.surrogate import Surrogate, fit, log_expected_improvement

MOST_TRIALS = 200
"""The models see the trials nearest to the incumbent; beyond this many they only cost time."""
CAUTION = 8.0
"""The power of the chance to run: a crash costs a whole run and teaches little."""

TIRED = 0.5
"""Off the logarithm, for each recent trial that moved the same knob for nothing."""
LIKELY, REFUSED = 0.5, 1e6
"""What more likely fails than runs comes after everything else, whatever it promises."""


@dataclass(frozen=True, slots=True)
class Outlook:
    space: Space
    where: Coordinates
    widths: Array
    gains: Array
    weights: Array
    tired: Array
    surrogate: Surrogate
    failures: FailureModel

    def rank(self, moves: Sequence[Move]) -> Array:
        """The logarithm of expected improvement times P(runs)^CAUTION, less for tired knobs; higher is better."""
        rows = self._rows(moves)
        runs = 1 - self.failures.chance(rows)
        ranks = log_expected_improvement(*self.surrogate.predict(rows)) + CAUTION * np.log(np.maximum(runs, 1e-9))
        ranks -= TIRED * np.array([max(self.tired[step.index] for step in move) for move in moves])
        return np.asarray(np.where(runs < LIKELY, ranks - REFUSED, ranks))

    def expect(self, move: Move) -> tuple[float, float, float]:
        """Gain over the incumbent and its deviation, in the metric's unit; chance of failing."""
        rows = self._rows([move])
        mean, deviation = self.surrogate.predict(rows)
        unit = self.surrogate.unit
        return float(mean[0]) * unit, float(deviation[0]) * unit, float(self.failures.chance(rows)[0])

    def _rows(self, moves: Sequence[Move]) -> Array:
        return self.where.rows([point_of(self.space, move) for move in moves])


def look(space: Space, memory: Memory) -> Outlook:
    """Fit both models to what is remembered."""
    where = coordinates(space)
    here = where.rows([space.start])
    trials = _nearest(where, here, memory.trials)
    measured = [t for t in trials if t.score is not None]
    rows = where.rows([space.start, *(t.point for t in measured)])
    scores = np.array([0.0, *(t.score - memory.score for t in measured if t.score is not None)])
    share = weights(memory.trials, interest(space))
    return Outlook(
        space,
        where,
        widths(memory.trials, len(space)),
        gains(memory.trials, len(space)),
        share,
        tiredness(memory.trials, len(space)),
        fit(where, rows, scores, share),
        learn_failures(
            where, where.rows([t.point for t in trials]), np.array([t.failed for t in trials], bool), here[0]
        ),
    )


def _nearest(where: Coordinates, here: Array, trials: Sequence[Trial]) -> list[Trial]:
    if len(trials) <= MOST_TRIALS:
        return list(trials)
    distance = where.squares(here, where.rows([t.point for t in trials])).sum(axis=-1)[0]
    return [trials[i] for i in sorted(np.argsort(distance, kind="stable")[:MOST_TRIALS])]
