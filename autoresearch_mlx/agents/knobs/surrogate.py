"""Predict the gain of a step by a Gaussian process that is fitted to all measured gains.

The scales of its kernel are learned (:mod:`kernel`).  Candidates are ranked by the logarithm of their expected
improvement (Jones et al. 1998; Ament et al. 2023, arXiv:2310.20708).  This is our own code because the libraries for it
need torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoresearch_mlx.agents.knobs.coordinates import Array, Coordinates
from autoresearch_mlx.agents.knobs.kernel import Scales, along, covariance, learn_scales

PRIOR_MEAN = -1.5
"""Expected gain far from all measured points, in units of a typical step: most changes of a good file lose."""
MOST_FOR_SCALES = 100
"""Maximum number of measurements, the newest ones, from which the scales are learned; predictions use all of them."""


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A fitted Gaussian process.  Gains are relative to the incumbent's score, in multiples of ``unit``."""

    where: Coordinates
    rows: Array
    scales: Scales
    unit: float
    informed: bool
    """Whether any gain was measured; if not, ``unit`` is arbitrary and no gain may be reported."""
    variance: float
    whiten: Array
    """Inverse of the Cholesky factor of the covariance of the measured points."""
    pull: Array

    @property
    def noise(self) -> float:
        """Standard deviation of one measurement, in multiples of ``unit``."""
        return math.sqrt(self.scales.noise * self.variance)

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the gain over the incumbent, in multiples of ``unit``.

        ``rows`` has shape (points, knobs); both results have shape (points,).
        """
        k = covariance(self.scales, self.where.squares(rows, self.rows))
        reach = self.whiten @ k.T
        deviation = np.sqrt(np.maximum(1 - (reach**2).sum(axis=0), 1e-9) * self.variance)
        return PRIOR_MEAN + k @ self.pull, deviation

    def mean_at(self, squares: Array) -> float:
        """Return the mean at one point, from its squared distances to the measured ones, shape (measured, knobs)."""
        return float(PRIOR_MEAN + covariance(self.scales, squares[None])[0] @ self.pull)

    def mean_along(self, squares: Array, changed: Array, index: NDArray[np.intp]) -> Array:
        """Return the mean of points that differ from one point in a few columns each; shape (points,).

        ``squares``: that point's distances, shape (measured, knobs).  ``changed``: the distances along the changed
        columns, shape (points, columns, measured).  ``index``: which columns these are, shape (points, columns); -1
        for none.
        """
        return np.asarray(PRIOR_MEAN + along(self.scales, squares, changed, index) @ self.pull)


def fit(where: Coordinates, rows: Array, gains: Array, weights: Array) -> Surrogate:
    """Fit a Gaussian process to measured gains over the incumbent.

    ``rows``: shape (points, knobs), at least one point.  ``gains``: shape (points,), in the metric's unit; positive is
    better.  ``weights``: shape (knobs,).
    """
    unit = typical(gains)
    residual = _soften(gains / unit) - PRIOR_MEAN
    squares = where.squares(rows, rows)
    few = slice(-MOST_FOR_SCALES, None)
    scales = learn_scales(squares[few, few], residual[few], weights)
    factor = np.linalg.cholesky(covariance(scales, squares) + scales.noise * np.eye(len(rows)))
    whiten = np.linalg.inv(factor)
    white = whiten @ residual
    # One pseudo-observation of variance 1 keeps the estimate stable while there are few points.
    variance = float((white @ white + 1) / (len(rows) + 1))
    return Surrogate(where, rows, scales, unit, bool(np.any(gains != 0)), variance, whiten, whiten.T @ white)


def log_expected_improvement(mean: Array, deviation: Array) -> Array:
    """Return the logarithm of E[max(0, gain)], which stays exact for very small values (arXiv:2310.20708)."""
    z = mean / deviation
    near = np.array([v * _cumulative(v) + _density(v) for v in np.maximum(z, -6.0)])
    # Mills' ratio: z * Phi(z) + phi(z) -> phi(z) / z^2 for z far below zero.
    tail = -0.5 * z**2 - 0.5 * math.log(2 * math.pi) - 2 * np.log(np.maximum(-z, 6.0))
    return np.asarray(np.log(deviation) + np.where(z > -6.0, np.log(near), tail))


def typical(gains: Array) -> float:
    """Return the model's unit: the median size of the gains other than 0, or 1 when there are none."""
    sizes = np.abs(gains[gains != 0])
    return float(np.median(sizes)) if len(sizes) else 1.0


def _soften(gains: Array) -> Array:
    """Replace large losses by their logarithm, so that very bad points do not distort the model."""
    return np.asarray(np.where(gains < 0, -2 * np.log1p(-np.minimum(gains, 0) / 2), gains))


def _density(z: float) -> float:
    return math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _cumulative(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))
