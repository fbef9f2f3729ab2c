"""Combine steps of several knobs into joint moves, where the surrogate expects a gain from the combination.

Late in a session each single step gains less than the noise, and only several steps together gain more.  So the search
adds, exchanges and drops one step at a time, as long as the score of the move rises (coordinate ascent).  The score
combines the expected improvement over the centre with the risk of failing.  Two rules prevent mere guesses.  A joint
move changes only knobs that some trial has moved alone.  And a joint move stays within a ball in the trust region.
Points close to measured points are not excluded here, because the ranking gives such points a low expected improvement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoresearch_mlx.agents.knobs.coordinates import Array
from autoresearch_mlx.agents.knobs.moves import Move, Step
from autoresearch_mlx.agents.knobs.outlook import CAUTION, Outlook
from autoresearch_mlx.agents.knobs.surrogate import log_expected_improvement

RADIUS = 2.0
"""Maximum length of a joint move; a step by a knob's whole width has length 1."""
STARTS = 3
"""Number of ascents; each starts from the best single step of a different knob."""
MOST = 8
"""Maximum number of knobs in one move."""


def joint_moves(outlook: Outlook, steps: Sequence[Step]) -> list[Move]:
    """Return every move of at least two knobs that an ascent passes through.

    ``steps`` are the single steps to choose from.
    """
    known = outlook.moved_alone
    pool = Pool.of(outlook, [step for step in steps if step.index in known])
    found: dict[Move, None] = {}
    for start in pool.best_by_knob(STARTS):
        for move in _ascent(pool, start):
            found[move] = None
    return list(found)


def _ascent(pool: Pool, start: int) -> list[Move]:
    stages, chosen = [], {int(pool.index[start]): start}
    height = pool.score(chosen)[start]
    for _ in range(3 * MOST):
        added = np.where(pool.allowed(chosen), pool.score(chosen), -np.inf)
        kept = pool.scores_without(chosen) if len(chosen) > 1 else {}
        best, dropped = int(np.argmax(added)), max(kept, key=lambda knob: kept[knob], default=-1)
        if max(added[best], kept.get(dropped, -np.inf)) <= height + 1e-6:
            break
        if kept.get(dropped, -np.inf) > added[best]:
            height = kept[dropped]
            del chosen[dropped]
        else:
            height = float(added[best])
            chosen[int(pool.index[best])] = best
        stages.append(tuple(pool.steps[chosen[knob]] for knob in sorted(chosen)))
    return [move for move in stages if len(move) > 1]


@dataclass(frozen=True, slots=True)
class Pool:
    """The single steps, each with the change that it makes in the inputs of the models.

    A joint move is a choice of some of these single steps, ``{knob: index of its step}``.

    Four arrays have one entry for each step.  ``index`` is the index of the step's knob.  ``unit`` is the place of the
    new value in the knob's range, from 0 to 1.  ``length`` is the square of the step's length, in widths of the trust
    region.  ``growth`` is by how many doublings the step raises the memory.

    ``columns``, shape (steps, 2), has the columns that a step changes: the column of its knob, and the column of the
    knob's follower (-1 for none).  ``level`` is :attr:`Outlook.level`, stored here so that it is computed only once.
    """

    outlook: Outlook
    steps: Sequence[Step]
    index: Array
    unit: Array
    length: Array
    growth: Array
    columns: NDArray[np.intp]
    level: float

    @staticmethod
    def of(outlook: Outlook, steps: Sequence[Step]) -> Pool:
        space, where = outlook.space, outlook.where
        index = np.array([step.index for step in steps], dtype=int)
        unit = np.array([space.dimensions[step.index].unit(step.value) for step in steps])
        span = np.maximum(outlook.widths, [d.tick for d in space])
        way = np.abs(unit - np.array(space.units(space.start))[index])
        length = np.where(where.unordered[index], 1.0, way / span[index])
        growth = np.array([outlook.appetite.step(step.index, step.value) for step in steps])
        columns = np.stack([index, where.follower[index]], axis=1)
        return Pool(outlook, steps, index, unit, length**2, growth, columns, outlook.level)

    def best_by_knob(self, count: int) -> list[int]:
        """Return the indices of the best steps of ``count`` different knobs."""
        if not len(self.steps):
            return []
        first: dict[int, int] = {}
        for at in np.argsort(-self.score({}), kind="stable"):
            first.setdefault(int(self.index[at]), int(at))
        return list(first.values())[:count]

    def allowed(self, chosen: dict[int, int]) -> NDArray[np.bool_]:
        """Return whether each step may join the chosen steps or replace the chosen step of its knob; shape (steps,)."""
        used = np.zeros(len(self.outlook.space))
        for knob, at in chosen.items():
            used[knob] = self.length[at]
        total = used.sum() - used[self.index] + self.length
        return np.asarray((total <= RADIUS**2) & ((used[self.index] > 0) | (len(chosen) < MOST)))

    def score(self, chosen: dict[int, int]) -> Array:
        """Return, for each step, the score of the move that consists of this step and the chosen steps; shape (steps,).

        The score is log(expected improvement x P(runs)^CAUTION).  Unlike :meth:`Outlook.rank`, it leaves out the gain
        that the loop may keep, the tiredness, and the failures of nearby runs.
        """
        units, grown = self._at(chosen)
        each = np.tile(units, (len(self.steps), 1))
        each[np.arange(len(self.steps)), self.index] = self.unit
        rows = self.outlook.where.columns(each)
        expected = self.outlook.surrogate.predict_along(self._squares(units), self._changed(rows), self.columns)
        return self._scores(rows, expected, grown.sum() - grown[self.index] + self.growth)

    def scores_without(self, chosen: dict[int, int]) -> dict[int, float]:
        """Return, for each chosen knob, the score of the move that consists of the other chosen steps."""
        units, grown = self._at(chosen)
        before, knobs = np.array(self.outlook.space.units(self.outlook.space.start)), sorted(chosen)
        each = np.tile(units, (len(knobs), 1))
        each[np.arange(len(knobs)), knobs] = before[knobs]
        rows = self.outlook.where.columns(each)
        scores = self._scores(rows, self.outlook.surrogate.predict(rows), grown.sum() - grown[knobs])
        return dict(zip(knobs, scores.tolist(), strict=True))

    def _scores(self, rows: Array, expected: tuple[Array, Array], doublings: Array) -> Array:
        mean, deviation = expected
        runs = 1 - self.outlook.failures.beyond(rows, doublings)
        improvement = log_expected_improvement(mean - self.level, deviation)
        return np.asarray(improvement + CAUTION * np.log(np.maximum(runs, 1e-9)))

    def _at(self, chosen: dict[int, int]) -> tuple[Array, Array]:
        """Return two arrays of shape (knobs,) for the chosen steps: places in the ranges, and doublings of memory."""
        units = np.array(self.outlook.space.units(self.outlook.space.start))
        grown = np.zeros(len(self.outlook.space))
        for knob, at in chosen.items():
            units[knob], grown[knob] = self.unit[at], self.growth[at]
        return units, grown

    def _squares(self, units: Array) -> Array:
        """Return the squared distances of one point to the measured points, shape (measured, knobs)."""
        where = self.outlook.where
        return np.asarray(where.squares(where.columns(units[None]), self.outlook.surrogate.rows)[0])

    def _changed(self, rows: Array) -> Array:
        """Return the squared distances from each step's row to the measured points, shape (steps, 2, measured).

        The distances are measured along the two columns that the step changes.
        """
        where, measured = self.outlook.where, self.outlook.surrogate.rows
        along = rows[np.arange(len(rows))[:, None], self.columns][:, :, None] - measured[:, self.columns].transpose(
            1, 2, 0
        )
        unordered = where.unordered[self.columns][:, :, None]
        return np.asarray(np.where(unordered, np.where(along != 0, where.option, 0.0), along**2))
