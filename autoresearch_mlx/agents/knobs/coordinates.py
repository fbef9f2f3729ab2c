"""Turn points into rows of numbers for the models: one column for each knob, all on one scale.

A knob that can only move in large ticks (a power of two, a small integer) has its column scaled down, so that one tick
is no longer than the first step of the other knobs.  Otherwise the models would see a single tick as a large leap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoresearch_mlx.agents.knobs.region import FIRST
from autoresearch_mlx.agents.knobs.space import Point, Space

Array = NDArray[np.float64]

OPTION = FIRST
"""The distance between any two options of a choice: the length of a first step."""


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Turns points into rows of numbers, and measures squared distances knob by knob.

    ``scale`` and ``unordered`` have one entry per knob.
    """

    space: Space
    scale: Array
    unordered: NDArray[np.bool_]

    @property
    def option(self) -> float:
        """The squared distance between any two options of a choice."""
        return OPTION**2

    def rows(self, points: Sequence[Point]) -> Array:
        """Return the points as an array of shape (points, knobs)."""
        return np.array([self.space.units(p) for p in points]).reshape(len(points), len(self.space)) * self.scale

    def place(self, index: int, value: Any) -> float:
        """Return the coordinate of one knob at a value."""
        return float(self.space.dimensions[index].unit(value) * self.scale[index])

    def squares(self, a: Array, b: Array) -> Array:
        """Return squared distances, of shape (rows of a, rows of b, knobs)."""
        d = (a[:, None, :] - b[None, :, :]) ** 2
        d[:, :, self.unordered] = np.where(d[:, :, self.unordered] > 0, OPTION**2, 0.0)
        return np.asarray(d)


def coordinates(space: Space) -> Coordinates:
    """Return the scaling of this space."""
    unordered = np.array([d.range.kind == "choice" for d in space], dtype=bool)
    ticks = np.array([1.0 if d.range.kind == "choice" or not d.tick else min(1.0, FIRST / d.tick) for d in space])
    return Coordinates(space, ticks, unordered)
