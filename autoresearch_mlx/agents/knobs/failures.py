"""Estimate a run's chance of failing, given its memory, its step, and the outcomes of nearby runs.

Most failures of a training come from a lack of memory.  The memory of a run is predictable, because it grows with the
sizes in the file.  So a model of memory is fitted to the measured peak memory of all runs, and a run with more
predicted memory has a higher chance of failing.  Memory is measured in doublings: 1 means twice the incumbent's memory.
Some runs fail for other reasons: for example, training diverges at a large learning rate.  So the chance is a logistic
regression on the memory and on the step of every knob.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoresearch_mlx.agents.knobs.coordinates import Array, Coordinates
from autoresearch_mlx.agents.knobs.memory import Trial
from autoresearch_mlx.agents.knobs.space import Dimension, Point, Space
from autoresearch_mlx.lab.source import axis_of

PRIOR = -3.0
"""Log-odds of failing before any run is known: a chance of about 1 in 20."""
RIDGE = 0.0007
"""Penalty on the slopes.  The penalty is weak, because one more doubling of a size may turn a safe run into a certain
crash.  Also, settings that failed in one run fail in the next run too, even if the measurements are noisy."""
RIDGE_PRIOR = 0.1
STEPS = 12
REACH = 0.05
"""Standard deviation of the Gaussian by which the outcomes of other runs count less with their distance from a point.
It is a share of the knobs' ranges."""

DOUBLING = 1.5
"""Expected rise of the log-odds for each doubling of memory, before any run has failed."""
RIDGE_DOUBLING = 0.02
GROWTH = {"depth": 0.7, "width": 0.7, "batch.device": 0.9, "mlp": 0.2}
"""Expected doublings of memory for each doubling of a knob, by the knob's axis.  Knobs on other axes are not expected
to change the memory."""
UNSURE, FIXED = 0.5, 0.1
"""Standard deviations of the expected doublings: for the axes in ``GROWTH``, and for all other axes."""
SCATTER = 0.1
"""Standard deviation of the measured memory minus the predicted memory, in doublings."""
LEAST_MB = 64.0
"""Smallest peak memory, in MB, from which the model learns.  The measured peak of a program that ends within
milliseconds depends on the moment of the sample: it was 0.1 MB in one run and 2.9 MB in another.  Such noise must not
guide the optimiser."""


@dataclass(frozen=True, slots=True)
class Appetite:
    """A model of peak memory: linear in the logarithms of the knobs.  ``growth`` has the shape (knobs,)."""

    space: Space
    growth: Array

    def step(self, index: int, value: object) -> float:
        """Return by how many doublings memory grows when one knob moves from the incumbent's value to ``value``."""
        dimension = self.space.dimensions[index]
        return float(self.growth[index] * (_size(dimension, value) - _size(dimension, dimension.value)))

    def doublings(self, points: Sequence[Point]) -> Array:
        """Return log2(predicted memory of each point / the incumbent's memory), shape (points,)."""
        return np.asarray(_sizes(self.space, points) @ self.growth)


def learn_memory(space: Space, trials: Sequence[Trial]) -> Appetite:
    """Fit the model of memory to the trials that used at least ``LEAST_MB``.

    The prior of a knob's growth comes from ``GROWTH``, by the knob's axis.
    """
    prior = np.array([GROWTH.get(axis_of(d.name), 0.0) for d in space])
    measured = [(t.point, t.memory_mb) for t in trials if t.memory_mb is not None and t.memory_mb >= LEAST_MB]
    if len(measured) < 2:
        return Appetite(space, prior)
    deviation = np.where(prior > 0, UNSURE, FIXED)
    sizes = _sizes(space, [point for point, _ in measured])
    memory = np.log2([memory for _, memory in measured])
    # Subtracting the mean removes the overall level, which no prediction needs.
    sizes, memory = sizes - sizes.mean(axis=0), memory - memory.mean()
    a = sizes * deviation
    residual = memory - sizes @ prior
    gram = a @ a.T + SCATTER**2 * np.eye(len(measured))
    return Appetite(space, prior + deviation * (a.T @ np.linalg.solve(gram, residual)))


def _sizes(space: Space, points: Sequence[Point]) -> Array:
    """Return log2(value / the incumbent's value) of each knob, shape (points, knobs).

    If a knob's range begins below 1, its entry is the difference between the two values' places in the range.
    """
    rows = [[_size(d, value) - _size(d, d.value) for d, value in zip(space, point, strict=True)] for point in points]
    return np.array(rows).reshape(len(points), len(space))


def _size(dimension: Dimension, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 and dimension.range.low >= 1:
        return math.log2(value)
    numeric = isinstance(value, int | float) and dimension.range.kind != "choice"
    return dimension.unit(value) if numeric else 0.0


@dataclass(frozen=True, slots=True)
class FailureModel:
    """A model of the chance of failing, based on memory, the step from the incumbent, and the outcomes of nearby runs.

    The log-odds are linear in memory and in the step.  ``rows`` has the shape (trials, knobs).  ``failed`` has the
    shape (trials,).  ``origin`` and ``slope`` have the shape (knobs,).
    """

    where: Coordinates
    rows: Array
    failed: NDArray[np.bool_]
    origin: Array
    intercept: float
    per_doubling: float
    slope: Array

    def chance(self, rows: Array, doublings: Array) -> Array:
        """Return each point's chance of failing, shape (points,).

        ``doublings`` is each point's expected memory (:meth:`Appetite.doublings`).
        """
        return np.asarray(1 - (1 - self.beyond(rows, doublings)) * (1 - self._close_by(rows)))

    def beyond(self, rows: Array, doublings: Array) -> Array:
        """Return the chance of failing without the outcomes of nearby runs: from memory and the knobs' steps only."""
        return _sigmoid(self.intercept + self.per_doubling * doublings + (rows - self.origin) @ self.slope)

    def _close_by(self, rows: Array) -> Array:
        """Return the share of failures among the outcomes of nearby runs, with one success added; shape (points,)."""
        if not len(self.rows):
            return np.zeros(len(rows))
        near = np.exp(-0.5 * self.where.squares(rows, self.rows).sum(axis=-1) / REACH**2)
        return np.asarray(near @ self.failed / (near.sum(axis=-1) + 1))


def learn_failures(
    where: Coordinates, rows: Array, doublings: Array, failed: NDArray[np.bool_], origin: Array
) -> FailureModel:
    """Fit a ridge-penalised logistic regression to all trials, by damped Newton steps."""
    a = np.hstack([np.ones((len(rows), 1)), doublings[:, None], rows - origin])
    prior, ridge = np.zeros(a.shape[1]), np.full(a.shape[1], RIDGE)
    prior[:2], ridge[:2] = (PRIOR, DOUBLING), (RIDGE_PRIOR, RIDGE_DOUBLING)

    def loss(w: Array) -> float:
        log_odds = np.where(failed, -1, 1) * (a @ w)
        return float(np.logaddexp(0, log_odds).sum() + 0.5 * (ridge * (w - prior) ** 2).sum())

    w = prior.copy()
    for _ in range(STEPS):
        p = _sigmoid(a @ w)
        slope = a.T @ (p - failed) + ridge * (w - prior)
        step = np.linalg.solve((a.T * (p * (1 - p))) @ a + np.diag(ridge), slope)
        w = next((w - s * step for s in (1.0, 0.5, 0.25, 0.1, 0.03) if loss(w - s * step) < loss(w)), w)
    return FailureModel(where, rows, failed, origin, float(w[0]), float(w[1]), w[2:])


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))))
