"""Turn points into rows of numbers for the models: one column for each knob, all columns on one scale.

A knob that can only move in large ticks (a power of two, a small integer) has its column scaled down, so that one tick
is at most as long as the first step of the other knobs.  Without this scaling, the models would see a single tick as a
large leap.

A training often depends on a product or a ratio of two knobs.  For example, depth times the width of a layer is the
width of the model, and the total batch over the device batch is the number of passes.  If two knobs act together, the
second knob's column contains their product or their ratio.  When both knobs change and their product or ratio stays the
same, only one column changes.  So if a run crashes because of its number of passes, the models learn this for the total
batch and for the device batch.
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
"""The distance between any two options of a choice, which is as long as the first step of a number."""
TOGETHER = (("batch", "batch.device", 1), ("depth", "width", -1))
"""Pairs of axes that change together.  The knobs of a pair with 1 change by the same factor, so that the number of
passes stays the same.  The knobs of a pair with -1 change by inverse factors, so that the model's width stays the same.
A change of one axis alone may crash the run or make the metric worse, even where a change of both axes would improve
the metric."""


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Turns points into rows of numbers, and measures squared distances knob by knob.

    All arrays have one entry per knob.
    """

    space: Space
    scale: Array
    unordered: NDArray[np.bool_]
    follower: NDArray[np.intp]
    """For each knob, the index of its follower: the other knob whose column also shifts when this knob changes.  It is
    -1 for a knob without a follower."""
    ratio: Array
    """For each knob, the factor by which its place is multiplied to give the shift of its follower's column."""

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
    """Return the columns and scales for the knobs of ``space``."""
    unordered = np.array([d.range.kind == "choice" for d in space], dtype=bool)
    ticks = np.array([1.0 if d.range.kind == "choice" or not d.tick else min(1.0, FIRST / d.tick) for d in space])
    follower, ratio = _followers(space)
    return Coordinates(space, ticks, unordered, follower, ratio)


def _followers(space: Space) -> tuple[NDArray[np.intp], Array]:
    """Return the arrays ``follower`` and ``ratio`` of :class:`Coordinates`.

    A pair of ``TOGETHER`` is used only if the places of both knobs follow the logarithm of their values.
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
