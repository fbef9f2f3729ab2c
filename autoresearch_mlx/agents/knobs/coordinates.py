"""Turn points into rows of numbers for the models: one column for each knob, all on one scale.

A knob that can only move in large ticks (a power of two, a small integer) has its column scaled down, so that one tick
is no longer than the first step of the other knobs.  Otherwise the models would see a single tick as a large leap.

A training often depends on a product or a ratio of two knobs and not on each alone: depth times the width of a layer is
the width of the model, and the total batch over the device batch is the number of passes.  So for such a pair, the
second knob's column contains the product or the ratio.  When both knobs change and the product or ratio stays the same,
only one column changes.  What the models learn from a crash about the number of passes then applies to both knobs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoresearch_mlx.agents.knobs.region import FIRST
from autoresearch_mlx.agents.knobs.space import Point, Space
from autoresearch_mlx.lab.source import axis_of

Array = NDArray[np.float64]

OPTION = FIRST
"""The distance between any two options of a choice, which equals the first step of a number."""
TOGETHER = (("batch", "batch.device", 1), ("depth", "width", -1))
"""Pairs of axes that change together.  With 1, both change by the same factor, so that the number of passes stays the
same; with -1, they change by inverse factors, so that the model's width stays the same.  A change of only one may
crash, or make the metric worse, where a change of both improves it."""


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Turns points into rows of numbers, and measures squared distances knob by knob.

    All arrays have one entry per knob.
    """

    space: Space
    scale: Array
    unordered: NDArray[np.bool_]
    follower: NDArray[np.intp]
    """For each knob, the index of the other knob whose column it shifts as well; -1 if there is none."""
    ratio: Array
    """For each knob, how far its own place shifts the other knob's column."""

    @property
    def option(self) -> float:
        """The squared distance between any two options of a choice."""
        return OPTION**2

    def rows(self, points: Sequence[Point]) -> Array:
        """Return the points as an array of shape (points, knobs)."""
        return self.columns(np.array([self.space.units(p) for p in points]).reshape(len(points), len(self.space)))

    def columns(self, units: Array) -> Array:
        """Turn places in the ranges, from 0 to 1, into rows of numbers; both have shape (points, knobs)."""
        found = units.copy()
        for leader in np.flatnonzero(self.follower >= 0):
            found[:, self.follower[leader]] += self.ratio[leader] * units[:, leader]
        return np.asarray(found * self.scale)

    def squares(self, a: Array, b: Array) -> Array:
        """Return squared distances, of shape (rows of a, rows of b, knobs)."""
        d = (a[:, None, :] - b[None, :, :]) ** 2
        d[:, :, self.unordered] = np.where(d[:, :, self.unordered] > 0, OPTION**2, 0.0)
        return np.asarray(d)


def coordinates(space: Space) -> Coordinates:
    """Return the columns and scales for the knobs of this space."""
    unordered = np.array([d.range.kind == "choice" for d in space], dtype=bool)
    ticks = np.array([1.0 if d.range.kind == "choice" or not d.tick else min(1.0, FIRST / d.tick) for d in space])
    follower, ratio = _followers(space)
    return Coordinates(space, ticks, unordered, follower, ratio)


def _followers(space: Space) -> tuple[NDArray[np.intp], Array]:
    """Return, for each knob, the knob whose column it shifts, and by how much.

    A pair is used only if both knobs are placed by their logarithm.
    """
    follower, ratio = np.full(len(space), -1, dtype=np.intp), np.zeros(len(space))
    by_axis = {axis_of(d.name): index for index, d in enumerate(space)}
    for leads, follows, way in TOGETHER:
        if leads not in by_axis or follows not in by_axis:
            continue
        leader, other = (space.dimensions[by_axis[axis]] for axis in (leads, follows))
        if leader.by_ratio and other.by_ratio:
            spans = [math.log(d.range.high / d.range.low) for d in (leader, other)]
            follower[by_axis[leads]] = by_axis[follows]
            ratio[by_axis[leads]] = -way * spans[0] / spans[1]
    return follower, ratio
