"""List the moves that have not been tried yet, best first; larger moves follow after all small moves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from autoresearch_mlx.agents.knobs.joint_moves import joint_moves
from autoresearch_mlx.agents.knobs.memory import Memory
from autoresearch_mlx.agents.knobs.moves import Move, last_resort, paired_moves, point_of, single_moves
from autoresearch_mlx.agents.knobs.outlook import Outlook

STRETCHES = (1.0, 2.0, 4.0)
"""Factors by which the widths of the trust region are multiplied.  The search goes on to the next factor
when every move in the present trust region has been tried."""
SHORTER = 0.5
"""Factor by which a single step may be shortened in a joint move."""


def fresh_moves(outlook: Outlook, memory: Memory, rng: np.random.Generator) -> Iterator[Move]:
    """Yield each move that leads to an untried point, best first."""
    seen = set(memory.tried)
    for moves in _pools(outlook, rng):
        for move in moves:
            point = point_of(outlook.space, move)
            if point not in seen:
                seen.add(point)
                yield move


def _pools(outlook: Outlook, rng: np.random.Generator) -> Iterator[Iterator[Move] | list[Move]]:
    space, known = outlook.space, outlook.moved_alone
    for stretch in STRETCHES:
        widths = outlook.widths * stretch
        singles = single_moves(space, widths, rng)
        shorter = single_moves(space, widths * SHORTER, rng)
        several = paired_moves(space, known) + joint_moves(outlook, [step for (step,) in singles + shorter])
        yield _ranked(outlook, singles + several)
    yield last_resort(space)


def _ranked(outlook: Outlook, moves: list[Move]) -> list[Move]:
    return [moves[i] for i in np.argsort(-outlook.rank(moves), kind="stable")] if moves else []
