"""List candidate moves: steps of one knob within the trust region, and steps of two knobs that belong together.

The last resort lists moves over the knobs' whole ranges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, TypeAlias

import numpy as np

from autoresearch_mlx.agents.knobs.coordinates import TOGETHER, Array
from autoresearch_mlx.agents.knobs.space import Dimension, Point, Space
from autoresearch_mlx.lab.source import axis_of

MOST = 3
"""Maximum number of knobs in a move of the last resort."""
SHARES = (0.3, 0.6, 1.0)
"""Lengths of a knob's steps, as shares of the knob's width in the trust region."""
JITTER = (0.7, 1.3)
GRID = 9
"""Number of values of a continuous knob that the last resort tries."""


@dataclass(frozen=True, slots=True)
class Step:
    """A new value for one knob; ``index`` is the knob's index in the space."""

    index: int
    value: Any


Move: TypeAlias = tuple[Step, ...]


def point_of(space: Space, move: Move) -> Point:
    """Return the point to which a move leads from ``space.start``."""
    values = list(space.start)
    for step in move:
        values[step.index] = step.value
    return tuple(values)


def single_moves(space: Space, widths: Array, rng: np.random.Generator) -> list[Move]:
    """Return steps of every knob: both directions and three lengths for a number, every other option for a choice.

    ``widths`` is the trust region, shape (knobs,).
    """
    found: list[Move] = []
    for index, dimension in enumerate(space):
        shares = [(sign * share * rng.uniform(*JITTER)) for sign in (-1, 1) for share in SHARES]
        values = dict.fromkeys(_neighbours(dimension, float(widths[index]), shares))
        found += [(Step(index, value),) for value in values if value != dimension.value]
    return found


def _neighbours(dimension: Dimension, width: float, shares: Sequence[float]) -> list[Any]:
    if dimension.range.kind == "choice":
        return list(dimension.range.choices)
    here = dimension.unit(dimension.value)
    # A knob with large ticks moves at least one tick, even if its width is smaller than a tick.
    lengths = [np.copysign(max(abs(share) * width, dimension.tick), share) for share in shares]
    return [dimension.at(here + float(length)) for length in lengths]


def paired_moves(space: Space, known: frozenset[int]) -> list[Move]:
    """Return steps of two knobs that belong together, in both directions.

    ``known`` has the indices of the knobs to use.
    """
    by_axis = {axis_of(space.dimensions[index].name): index for index in sorted(known)}
    found = []
    for first, second, way in TOGETHER:
        if first in by_axis and second in by_axis:
            leads, follows = by_axis[first], by_axis[second]
            found += [
                tuple(sorted((Step(leads, value), Step(follows, other)), key=lambda step: step.index))
                for value in _next_values(space.dimensions[leads])
                if (other := _scaled(space.dimensions[follows], value, space.dimensions[leads], way)) is not None
            ]
    return found


def _next_values(dimension: Dimension) -> list[Any]:
    """Return the next values of a whole number, within its range; no values for other knobs.

    The next values are half and double for a power of two, and the value plus or minus 1 and 2 otherwise.
    """
    value, r = dimension.value, dimension.range
    if not isinstance(value, int) or r.kind == "choice":
        return []
    values = (value // 2, value * 2) if r.kind == "pow2" else (value - 2, value - 1, value + 1, value + 2)
    return [each for each in values if r.low <= each <= r.high and each > 0]


def _scaled(dimension: Dimension, value: Any, leader: Dimension, way: int) -> Any:
    """Return this knob's value times ``factor ** way``; the factor is ``value`` over the leader's present value.

    Returns None if the result is outside this knob's range or is the present value.
    """
    if dimension.range.kind == "choice" or leader.value <= 0:
        return None
    wanted = dimension.value * (value / leader.value) ** way
    found = dimension.at(dimension.unit(wanted)) if dimension.range.low <= wanted <= dimension.range.high else None
    return None if found == dimension.value else found


def last_resort(space: Space) -> Iterator[Move]:
    """Yield all moves of one to three knobs over their whole ranges, moves of one knob first.

    A continuous knob takes only the values of a grid.
    """
    options = [[Step(i, v) for v in _all_values(d) if v != d.value] for i, d in enumerate(space)]
    for size in range(1, MOST + 1):
        for chosen in combinations(options, size):
            yield from product(*chosen)


def _all_values(dimension: Dimension) -> list[Any]:
    r = dimension.range
    if r.kind == "choice":
        return list(r.choices)
    places = max(GRID, round(1 / dimension.tick) + 1) if dimension.tick else GRID
    return list(dict.fromkeys(dimension.at(float(u)) for u in np.linspace(0, 1, min(places, 1000))))
