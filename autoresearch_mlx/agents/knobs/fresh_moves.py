"""List the moves that have not been tried yet, best first; larger moves follow when the small ones are exhausted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from autoresearch_mlx.agents.knobs import tpe
from autoresearch_mlx.agents.knobs.memory import Memory
from autoresearch_mlx.agents.knobs.moves import Move, last_resort, point_of, single_moves
from autoresearch_mlx.agents.knobs.surrogate import Outlook

JOINT = 8
"""Number of joint moves to ask Optuna for; each takes about 3 ms."""
STRETCHES = (1.0, 2.0, 4.0)
"""Factors on the widths of the trust region; the next factor applies once every move under the last one was tried."""


def fresh_moves(outlook: Outlook, memory: Memory, rng: np.random.Generator) -> Iterator[Move]:
    """Yield each move to a point that was not tried, best first."""
    seen = set(memory.tried)
    for moves in _pools(outlook, memory, rng):
        for move in moves:
            point = point_of(outlook.space, move)
            if point not in seen:
                seen.add(point)
                yield move


def _pools(outlook: Outlook, memory: Memory, rng: np.random.Generator) -> Iterator[Iterator[Move] | list[Move]]:
    for stretch in STRETCHES:
        widths = outlook.widths * stretch
        moves = single_moves(outlook.space, widths, rng)
        yield _ranked(
            outlook, moves + tpe.joint_moves(outlook.space, memory.trials, widths, outlook.weights, JOINT, rng)
        )
    yield last_resort(outlook.space)


def _ranked(outlook: Outlook, moves: list[Move]) -> list[Move]:
    return [moves[i] for i in np.argsort(-outlook.rank(moves), kind="stable")] if moves else []
