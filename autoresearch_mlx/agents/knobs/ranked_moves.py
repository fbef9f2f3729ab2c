"""Return the optimiser's own ranking as a list of moves over different axes, for a model or the user to choose from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from autoresearch_mlx.agents.knobs.fresh_moves import fresh_moves
from autoresearch_mlx.agents.knobs.memory import first_values, remember
from autoresearch_mlx.agents.knobs.moves import Move, point_of
from autoresearch_mlx.agents.knobs.naming import MoveName, name_of
from autoresearch_mlx.agents.knobs.outlook import Outlook, look
from autoresearch_mlx.agents.knobs.space import Space, read_space
from autoresearch_mlx.experiment import Context, KnobChanges

LOOKED_AT = 300
"""Number of moves from which the list is chosen."""


@dataclass(frozen=True, slots=True)
class RankedMove:
    """A change of the incumbent that has not been tried yet, with the gain and the risk that the optimiser expects."""

    name: MoveName
    """The move's axis, its changes from the incumbent, and its changes from the measured point where it starts."""
    files: Mapping[str, str]
    """The whole new text of each file that the move changes, by the file's path."""
    gain: float | None
    """Expected gain over the incumbent, in the metric's unit; positive is better.  None until a gain was measured."""
    deviation: float | None
    """Standard deviation of the expected gain, in the metric's unit."""
    failing: float
    """Chance that the run fails, from 0 to 1."""

    @property
    def axis(self) -> str:
        return self.name.axis

    @property
    def changes(self) -> KnobChanges:
        """All differences from the incumbent."""
        return self.name.changes


def ranked_moves(context: Context, count: int = 10, seed: int = 0) -> tuple[RankedMove, ...]:
    """Return up to ``count`` moves, best first.

    The list begins with the best move of each axis; all other moves follow.  The list is empty when no file has a knob
    that may move, or every move was tried.  Equal contexts, counts and seeds give equal lists.
    """
    space = read_space(context.files, first_values(context.history))
    if not len(space):
        return ()
    memory = remember(space, context.history, context.running)
    outlook = look(space, memory, context.sigma)
    rng = np.random.default_rng([abs(seed), abs(context.seed), context.number])
    moves = list(islice(fresh_moves(outlook, memory, rng), LOOKED_AT))
    return tuple(_described(outlook, move, context, space) for move in islice(_spread(outlook, moves, space), count))


def _spread(outlook: Outlook, moves: list[Move], space: Space) -> Iterator[Move]:
    """Yield the best move of each axis, then all other moves in the order of their ranks."""
    first: dict[str, Move] = {}
    for move in moves:
        first.setdefault(name_of(outlook, move, space).axis, move)
    yield from first.values()
    chosen = set(first.values())
    yield from (move for move in moves if move not in chosen)


def _described(outlook: Outlook, move: Move, context: Context, space: Space) -> RankedMove:
    point = point_of(outlook.space, move)
    gain, deviation, failing = outlook.expect(move)
    informed = outlook.surrogate.informed
    return RankedMove(
        name=name_of(outlook, move, space),
        files=space.write(point, context.files),
        gain=gain if informed else None,
        deviation=deviation if informed else None,
        failing=failing,
    )
