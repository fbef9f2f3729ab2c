"""Put steps of several knobs together into joint moves, where the surrogate expects the sum to gain.

Late in a session each single step gains less than the noise, and only several together stand out from it.  So steps are
added, exchanged and dropped one at a time, as long as the expected gain rises (coordinate ascent).  Three rules keep
this from guessing: only knobs that were moved alone take part, the lengths of all steps together stay within a ball in
the trust region, and points close to measured ones are left to the ranking, which sees that they can gain little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoresearch_mlx.agents.knobs.coordinates import Array
from autoresearch_mlx.agents.knobs.moves import Move, Step
from autoresearch_mlx.agents.knobs.outlook import Outlook

RADIUS = 2.5
"""Length of a joint move, where a step by a knob's whole width has length 1."""
STARTS = 2
"""Number of single steps from which the ascent starts."""
MOST = 8
"""Maximum number of knobs in one move."""


def joint_moves(outlook: Outlook, steps: Sequence[Step]) -> list[Move]:
    """Return every stage of the ascents that moves at least two knobs; ``steps`` are the single steps to choose
    from."""
    known = outlook.moved_alone
    pool = _Pool.of(outlook, [step for step in steps if step.index in known])
    found: dict[Move, None] = {}
    for start in pool.best_by_knob(STARTS):
        for move in _ascent(pool, start):
            found[move] = None
    return list(found)


def _ascent(pool: _Pool, start: int) -> list[Move]:
    stages, chosen = [], {int(pool.index[start]): start}
    height = pool.score(chosen)[start]
    for _ in range(3 * MOST):
        added = np.where(pool.allowed(chosen), pool.score(chosen), -np.inf)
        kept = {knob: pool.score_without(chosen, knob) for knob in chosen} if len(chosen) > 1 else {}
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
class _Pool:
    """The single steps, with what each changes in the models; a point is a choice of steps, ``{knob: place in the
    pool}``.

    ``index``, ``place``, ``length`` (squared) and ``growth`` have shape (steps,).  ``squares``, shape (steps,
    measured), are squared distances along the step's own knob; ``here``, shape (measured, knobs), are those of the
    incumbent.
    """

    outlook: Outlook
    steps: Sequence[Step]
    index: Array
    place: Array
    length: Array
    growth: Array
    squares: Array
    here: Array

    @staticmethod
    def of(outlook: Outlook, steps: Sequence[Step]) -> _Pool:
        space, where = outlook.space, outlook.where
        index = np.array([step.index for step in steps], dtype=int)
        place = np.array([where.place(step.index, step.value) for step in steps])
        origin = where.rows([space.start])[0]
        span = np.maximum(outlook.widths, [d.tick for d in space]) * where.scale
        length = np.where(where.unordered[index], 1.0, np.abs(place - origin[index]) / span[index])
        growth = np.array([outlook.appetite.step(step.index, step.value) for step in steps])
        rows = outlook.surrogate.rows
        along = (place[:, None] - rows[:, index].T) ** 2
        along = np.where(where.unordered[index][:, None], np.where(along > 0, where.option, 0.0), along)
        return _Pool(outlook, steps, index, place, length**2, growth, along, where.squares(origin[None], rows)[0])

    def best_by_knob(self, count: int) -> list[int]:
        """Return the best steps of ``count`` different knobs."""
        if not len(self.steps):
            return []
        first: dict[int, int] = {}
        for at in np.argsort(-self.score({}), kind="stable"):
            first.setdefault(int(self.index[at]), int(at))
        return list(first.values())[:count]

    def allowed(self, chosen: dict[int, int]) -> NDArray[np.bool_]:
        """Return whether each step may be added to the chosen ones, or may replace the chosen step of its knob."""
        used = np.zeros(len(self.outlook.space))
        for knob, at in chosen.items():
            used[knob] = self.length[at]
        total = used.sum() - used[self.index] + self.length
        return np.asarray((total <= RADIUS**2) & ((used[self.index] > 0) | (len(chosen) < MOST)))

    def score(self, chosen: dict[int, int]) -> Array:
        """Return the expected gain, less the risk, of the chosen steps with each step of the pool added; shape
        (steps,)."""
        now, row, grown = self._at(chosen)
        mean = self.outlook.surrogate.mean_along(now, self.squares, self.index)
        rows = np.tile(row, (len(self.steps), 1))
        rows[np.arange(len(self.steps)), self.index] = self.place
        runs = 1 - self.outlook.failures.beyond(rows, grown.sum() - grown[self.index] + self.growth)
        return np.asarray(mean + np.log(np.maximum(runs, 1e-9)))

    def score_without(self, chosen: dict[int, int], knob: int) -> float:
        """Return the same for the chosen steps without the step of one knob."""
        now, row, grown = self._at({k: at for k, at in chosen.items() if k != knob})
        mean = self.outlook.surrogate.mean_at(now)
        runs = 1 - self.outlook.failures.beyond(row[None], np.array([grown.sum()]))[0]
        return float(mean + np.log(max(runs, 1e-9)))

    def _at(self, chosen: dict[int, int]) -> tuple[Array, Array, Array]:
        """Return squared distances to measured points, coordinates, and doublings of memory, each by knob."""
        now = self.here.copy()
        row = self.outlook.where.rows([self.outlook.space.start])[0]
        grown = np.zeros(len(self.outlook.space))
        for knob, at in chosen.items():
            now[:, knob], row[knob], grown[knob] = self.squares[at], self.place[at], self.growth[at]
        return now, row, grown
