"""Offer a small model choices: a menu of the optimiser's best moves, and a few values of each knob.

A small model that cannot edit a file can still choose a move from a list.  The menu lists moves on different axes that
the optimiser itself would make, so every move on the menu is worth a run.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from autoresearch_mlx.agents.knobs.memory import first_values
from autoresearch_mlx.agents.knobs.ranked_moves import RankedMove, ranked_moves
from autoresearch_mlx.agents.knobs.space import Dimension, read_space
from autoresearch_mlx.experiment import Context

MENU = 10
"""Number of moves on a menu."""
_PLACES = (-0.2, -0.1, -0.04, 0.04, 0.1, 0.2)
"""Distances from a real number's present value to the values that are offered, as shares of the knob's range."""
_TICKS = 3
"""Number of values that are offered below and above a knob's present value, if the knob can only change in ticks."""


@dataclass(frozen=True, slots=True)
class KnobValues:
    """A knob with the values that are offered for the knob; ``values`` does not contain the present value."""

    name: str
    now: Any
    values: tuple[Any, ...]


def menu(context: Context, count: int = MENU) -> tuple[RankedMove, ...]:
    """Return the optimiser's best moves on different axes, in random order.

    The order is shuffled because models prefer the last entry of a list, or the largest number.  The menu is empty when
    no file has a knob that may move, or when every move was tried.
    """
    moves = list(ranked_moves(context, count))
    random.Random(f"menu {context.seed} {context.number} {len(context.feedback)}").shuffle(moves)
    return tuple(moves)


def knob_values(context: Context) -> tuple[KnobValues, ...]:
    """Return every knob that may move, with the values that are offered for the knob."""
    space = read_space(context.files, first_values(context.history))
    return tuple(KnobValues(d.name, d.value, found) for d in space if (found := _values(d)))


def _values(d: Dimension) -> tuple[Any, ...]:
    if d.range.kind == "choice":
        found = list(d.range.choices)
    else:
        steps = [step * d.tick for step in range(-_TICKS, _TICKS + 1)] if d.tick else [*_PLACES]
        found = [d.at(d.unit(d.value) + step) for step in steps if -1e-9 <= d.unit(d.value) + step <= 1 + 1e-9]
    return tuple(value for value in dict.fromkeys(found) if value != d.value)
