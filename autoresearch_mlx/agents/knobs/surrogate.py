"""Predict the gain of a step by a Gaussian process that is fitted to the measured gains.

The scales of the process's kernel are estimated from the measurements (:mod:`kernel`).  This module also computes two
logarithms by which candidates are ranked: the logarithm of the expected improvement (Jones et al. 1998; Ament et al.
2023, arXiv:2310.20708), and the logarithm of the gain that the loop is expected to keep.  The Gaussian process
is written here because the libraries for Gaussian processes need torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoresearch_mlx.agents.knobs.coordinates import Array, Coordinates
from autoresearch_mlx.agents.knobs.kernel import Scales, along, covariance, learn_scales

PRIOR_MEAN = -1.5
"""Expected gain far from all measured points, in multiples of the unit.  It is negative because most changes make a
good file worse."""
MOST_FOR_SCALES = 100
"""Number of newest measurements from which the scales are estimated.  Predictions use all measurements."""
KNOWN = 0.5
"""Standard deviation of the prior on the logarithm of the noise, where sigma is known."""
LEAST = 1e-6
"""Smallest argument of the logarithm of a gain; a smaller gain is replaced by this number."""


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What the model expects of several points, each compared with one reference point.

    ``mean`` is the expected gain over the incumbent's measurement, and ``gain`` the expected gain over the reference
    point.  ``variance`` is the variance at each point, and ``shared`` its covariance with the reference point.  All
    arrays have shape (points,), in multiples of the unit.
    """

    mean: Array
    gain: Array
    variance: Array
    shared: Array


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
        return self._predicted(covariance(self.scales, self.where.squares(rows, self.rows)))

    def predict_along(self, squares: Array, changed: Array, index: NDArray[np.intp]) -> tuple[Array, Array]:
        """Return what :meth:`predict` returns, for points that each differ from one base point in a few columns.

        ``squares``, ``changed`` and ``index`` describe the points, as :func:`kernel.along` says.
        """
        return self._predicted(along(self.scales, squares, changed, index))

    def _predicted(self, kernel: Array) -> tuple[Array, Array]:
        reach = self.whiten @ kernel.T
        deviation = np.sqrt(np.maximum(1 - (reach**2).sum(axis=0), 1e-9) * self.variance)
        return PRIOR_MEAN + kernel @ self.pull, deviation

    def log_kept_gain(self, rows: Array, incumbent: Array, noise: float, margin: float) -> Array:
        """Return the logarithm of the gain over the incumbent that the loop is expected to keep, shape (points,).

        The loop keeps a move if its measurement is better than the incumbent's by more than ``margin``; the gain of
        any other move counts as 0.  If the incumbent's measured value is too good by luck, the loop often
        discards moves with a real gain.  ``noise`` and ``margin`` are in multiples of ``unit``.
        """
        ahead = self._compare(rows, incumbent)
        total = np.sqrt(ahead.variance + noise**2)
        z = (ahead.mean - margin) / total
        log_chance, mills = _tail(z)
        # Regression of the gain on the measurement: E[gain | kept] = gain + shift x E[z | z is high enough].
        kept = ahead.gain + (ahead.variance - ahead.shared) / total * mills
        return np.asarray(log_chance + np.log(np.maximum(kept, LEAST)) + np.minimum(kept, 0.0))

    def _compare(self, rows: Array, other: Array) -> _Ahead:
        k, k0 = (covariance(self.scales, self.where.squares(some, self.rows)) for some in (rows, other))
        reach, reach0 = self.whiten @ k.T, self.whiten @ k0.T
        mean = PRIOR_MEAN + k @ self.pull
        variance = np.maximum(1 - (reach**2).sum(axis=0), 1e-9) * self.variance
        prior = covariance(self.scales, self.where.squares(rows, other))[:, 0]
        shared = (prior - (reach.T @ reach0)[:, 0]) * self.variance
        return _Ahead(mean, mean - float(PRIOR_MEAN + (k0 @ self.pull)[0]), variance, shared)


def fit(where: Coordinates, rows: Array, gains: Array, weights: Array, sigma: float | None = None) -> Surrogate:
    """Fit a Gaussian process to measured gains over the incumbent.

    ``rows`` has the shape (points, knobs), with at least one point.  ``gains`` has the shape (points,) and is in the
    metric's unit; positive is better.  ``weights`` has the shape (knobs,).  ``sigma`` is the noise of one measurement
    in the metric's unit; if it is None, the noise is estimated.
    """
    unit = typical(gains)
    residual = _soften(gains / unit) - PRIOR_MEAN
    squares = where.squares(rows, rows)
    few = slice(-MOST_FOR_SCALES, None)
    noise = None if not sigma else ((sigma / unit) ** 2 / float(np.mean(residual**2)), KNOWN)
    scales = learn_scales(squares[few, few], residual[few], weights, noise)
    factor = np.linalg.cholesky(covariance(scales, squares) + scales.noise * np.eye(len(rows)))
    whiten = np.linalg.inv(factor)
    white = whiten @ residual
    # One pseudo-observation of variance 1 keeps the estimate stable while there are few points.
    variance = float((white @ white + 1) / (len(rows) + 1))
    return Surrogate(where, rows, scales, unit, bool(np.any(gains != 0)), variance, whiten, whiten.T @ white)


def log_expected_improvement(mean: Array, deviation: Array) -> Array:
    """Return log E[max(0, gain)], computed so that it stays exact for very small values (arXiv:2310.20708)."""
    z = mean / deviation
    near = np.array([v * _cumulative(v) + _density(v) for v in np.maximum(z, -6.0)])
    # Mills' ratio: z * Phi(z) + phi(z) -> phi(z) / z^2 for z far below zero.
    tail = -0.5 * z**2 - 0.5 * math.log(2 * math.pi) - 2 * np.log(np.maximum(-z, 6.0))
    return np.asarray(np.log(deviation) + np.where(z > -6.0, np.log(near), tail))


def _tail(z: Array) -> tuple[Array, Array]:
    """Return log P(Z < z) and E[-Z | Z < z] of a normal variable, both accurate to a few percent far below zero."""
    near = np.maximum(z, -6.0)
    below = np.array([_cumulative(v) for v in near])
    mills = np.array([_density(v) for v in near]) / below
    far = -np.minimum(z, -6.0)
    log_far = -0.5 * far**2 - 0.5 * math.log(2 * math.pi) - np.log(far)
    return np.where(z > -6.0, np.log(below), log_far), np.where(z > -6.0, mills, far + 1 / far)


def typical(gains: Array) -> float:
    """Return the unit of the model: the median size of the gains other than 0, or 1 if all gains are 0."""
    sizes = np.abs(gains[gains != 0])
    return float(np.median(sizes)) if len(sizes) else 1.0


def _soften(gains: Array) -> Array:
    """Replace large losses by their logarithm, so that very bad points do not distort the model."""
    return np.asarray(np.where(gains < 0, -2 * np.log1p(-np.minimum(gains, 0) / 2), gains))


def _density(z: float) -> float:
    return math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _cumulative(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))
