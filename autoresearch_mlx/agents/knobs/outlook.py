"""Combine the models and the trust region: estimate what each candidate move may gain, and how likely it is to fail."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoresearch_mlx.agents.knobs.coordinates import Array, Coordinates, coordinates
from autoresearch_mlx.agents.knobs.failures import Appetite, FailureModel, learn_failures, learn_memory
from autoresearch_mlx.agents.knobs.interest import goes_the_usual_way, interest
from autoresearch_mlx.agents.knobs.memory import Memory, Trial
from autoresearch_mlx.agents.knobs.moves import Move, Step
from autoresearch_mlx.agents.knobs.region import from_the_closest, gains, tiredness, weights, widths
from autoresearch_mlx.agents.knobs.space import Point, Space
from autoresearch_mlx.agents.knobs.surrogate import Surrogate, fit, log_expected_improvement
from autoresearch_mlx.lab.source import axis_of

MOST_TRIALS = 200
"""Maximum number of trials that the models use.  If there are more, the models use the trials nearest to the incumbent,
to save time."""
CAUTION = 6.0
"""Exponent of the chance that a move runs without a failure.  It is large because a crash costs a whole run and teaches
little."""
MARGIN = 1.0
"""Smallest improvement over the centre, in standard deviations of one measurement.  The loop would not keep a smaller
gain.  Without this margin, the search would measure points close to the centre until one point gets a better value
by luck."""
KEPT = 0.3
"""Weight of the expected kept gain (:meth:`Surrogate.log_kept_gain`) in a move's rank.  The expected improvement over
the centre has weight 1."""
FURTHEST = 8
"""Maximum number of knobs in which the centre may differ from the incumbent."""
FIRST_STEP = 1.0
"""Amount added to the rank of a single step if no trial has moved its knob alone.  Joint moves use only knobs that were
moved alone.  Without this amount, joint moves would use up the trials, and some knobs would never be moved alone."""
HEAD_START = 1.0
"""Amount added to the rank of a single step in addition to ``FIRST_STEP``.  It is added only if no
trial has moved the knob at all, and the step goes in the direction that the public records kept more often."""

TIRED = 0.25
"""Factor of the tiredness (:func:`region.tiredness`) of the move's most tired knob; the product is subtracted from the
move's rank."""
LIKELY, REFUSED = 0.5, 1e6
"""If the chance of running without a failure is below ``LIKELY``, ``REFUSED`` is subtracted from the move's rank."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The models of gain and of failure, and the trust region, for ranking moves.

    The arrays have shape (knobs,), except ``centre`` and ``incumbent``.
    """

    space: Space
    """The knobs, each with its value at the centre, from which all moves start."""
    where: Coordinates
    widths: Array
    gains: Array
    weights: Array
    tired: Array
    surrogate: Surrogate
    failures: FailureModel
    appetite: Appetite
    trials: tuple[Trial, ...]
    """Each trial as a step from the closest earlier point."""
    centre: Array
    """The centre as a row of numbers, shape (1, knobs)."""
    incumbent: Array
    """The incumbent as a row of numbers, shape (1, knobs)."""
    noise: float
    """Standard deviation of one measurement, in multiples of the surrogate's unit."""

    @property
    def level(self) -> float:
        """The smallest gain over the incumbent that is an improvement over the centre, in the surrogate's unit."""
        return float(self.surrogate.predict(self.centre)[0][0]) + MARGIN * self.noise

    @property
    def moved_alone(self) -> frozenset[int]:
        """The indices of the knobs that some trial changed alone, from the incumbent or from another measured point."""
        return frozenset(t.moved[0] for t in self.trials if len(t.moved) == 1)

    def rank(self, moves: Sequence[Move]) -> Array:
        """Return a rank for each move; higher is better.

        The rank is log(worth x P(runs)^CAUTION).  The rank is raised for steps of knobs that were not yet moved alone,
        and reduced for knobs that recent trials moved without a keep.  The worth of a move has two terms: its expected
        improvement beyond ``level``, and ``KEPT`` times its expected kept gain (:meth:`Surrogate.log_kept_gain`).
        """
        rows = self._rows(moves)
        runs = 1 - self.failures.chance(rows, self._doublings(moves))
        mean, deviation = self.surrogate.predict(rows)
        kept = self.surrogate.log_kept_gain(rows, self.incumbent, self.noise, MARGIN * self.noise)
        ranks = np.logaddexp(log_expected_improvement(mean - self.level, deviation), math.log(KEPT) + kept)
        ranks += CAUTION * np.log(np.maximum(runs, 1e-9)) + self._first_steps(moves)
        ranks -= TIRED * np.array([max(self.tired[step.index] for step in move) for move in moves])
        return np.asarray(np.where(runs < LIKELY, ranks - REFUSED, ranks))

    def expect(self, move: Move) -> tuple[float, float, float]:
        """Return the expected gain over the incumbent, its standard deviation, and the chance of failing.

        The gain and its deviation are in the metric's unit.
        """
        rows = self._rows([move])
        mean, deviation = self.surrogate.predict(rows)
        unit = self.surrogate.unit
        failing = self.failures.chance(rows, self._doublings([move]))
        return float(mean[0]) * unit, float(deviation[0]) * unit, float(failing[0])

    def _doublings(self, moves: Sequence[Move]) -> Array:
        return np.array([sum(self.appetite.step(step.index, step.value) for step in move) for move in moves])

    def _first_steps(self, moves: Sequence[Move]) -> Array:
        """Return what ``FIRST_STEP`` and ``HEAD_START`` add to each move's rank; shape (moves,)."""
        alone, moved = self.moved_alone, {index for trial in self.trials for index in trial.moved}
        found = np.zeros(len(moves))
        for at, move in enumerate(moves):
            if len(move) == 1 and move[0].index not in alone:
                found[at] = FIRST_STEP + HEAD_START * (move[0].index not in moved and self._is_usual(move[0]))
        return found

    def _is_usual(self, step: Step) -> bool:
        dimension = self.space.dimensions[step.index]
        return goes_the_usual_way(axis_of(dimension.name), dimension.value, step.value)

    def _rows(self, moves: Sequence[Move]) -> Array:
        units = np.repeat(np.array([self.space.units(self.space.start)]), len(moves), axis=0)
        for row, move in zip(units, moves, strict=True):
            for step in move:
                row[step.index] = self.space.dimensions[step.index].unit(step.value)
        return self.where.columns(units)


def look(space: Space, memory: Memory, sigma: float | None = None) -> Outlook:
    """Fit all models to the trials; ``sigma`` is a measurement's noise in the metric's unit, if known.

    Moves start from the centre, which is the measured point with the highest expected gain.  The centre is often not
    the incumbent.  For example, the incumbent's measured value may be too good by luck.  Then the loop discards
    candidates with real gains of several sigma, and the centre may be such a discarded candidate.
    """
    where = coordinates(space)
    trials = _nearest(where, where.rows([space.start]), memory.trials)
    measured = [t for t in trials if t.score is not None]
    # For points that other lanes are measuring, the incumbent's score is assumed (the constant liar of Ginsbourger et
    # al. 2010), so that the next proposal is a different one.  These points do not change the widths and the weights.
    points = [*(t.point for t in measured), *memory.running] or [space.start]
    rows = where.rows(points)
    gained = [t.score - memory.score for t in measured if t.score is not None]
    scores = np.array([*gained, *(0.0 for _ in memory.running)] or [0.0])
    steps = from_the_closest(memory.trials, sigma or 0.0)
    share = weights(steps, interest(space))
    surrogate = fit(where, rows, scores, share, sigma)
    centred = _centred(space, surrogate, [t.point for t in measured])
    centre = where.rows([centred.start])
    appetite = learn_memory(centred, trials)
    return Outlook(
        centred,
        where,
        widths(steps, len(space)),
        gains(memory.trials, len(space)),
        share,
        tiredness(steps, len(space)),
        surrogate,
        learn_failures(
            where,
            where.rows([t.point for t in trials]),
            appetite.doublings([t.point for t in trials]),
            np.array([t.failed for t in trials], bool),
            centre[0],
        ),
        appetite,
        steps,
        centre,
        where.rows([space.start]),
        sigma / surrogate.unit if sigma else surrogate.noise,
    )


def _centred(space: Space, surrogate: Surrogate, measured: Sequence[Point]) -> Space:
    """Return the space with its start at the measured point with the highest expected gain.

    Only points that differ from the incumbent in at most ``FURTHEST`` knobs are considered.
    """
    near = [p for p in measured if len(space.changes(p)) <= FURTHEST]
    points = [space.start, *near]
    mean, _ = surrogate.predict(surrogate.where.rows(points))
    best = points[int(np.argmax(mean))]
    return Space(tuple(replace(d, value=value) for d, value in zip(space, best, strict=True)))


def _nearest(where: Coordinates, here: Array, trials: Sequence[Trial]) -> list[Trial]:
    if len(trials) <= MOST_TRIALS:
        return list(trials)
    distance = where.squares(here, where.rows([t.point for t in trials])).sum(axis=-1)[0]
    return [trials[i] for i in sorted(np.argsort(distance, kind="stable")[:MOST_TRIALS])]
