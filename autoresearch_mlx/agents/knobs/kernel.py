"""Estimate the scales of the Gaussian process's kernel from the measurements: each knob's relevance, and the lengths.

The kernel is a sum of two parts.  The first part has a squared exponential for each knob, weighted by the knob's
relevance (an additive kernel, Duvenaud et al. 2011, arXiv:1112.4394).  The second part is one squared exponential over
all knobs, for the interactions between knobs.  In the second part a relevant knob has a shorter length (automatic
relevance determination, MacKay 1994).  The chosen scales have the highest posterior density: the marginal likelihood
times log-normal priors around the usual values.  Because of the priors, a few measurements change the scales little.
Adam (Kingma and Ba 2015, arXiv:1412.6980) finds the scales with the exact gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoresearch_mlx.agents.knobs.coordinates import Array

STEPS = 40
RATE = 0.15
USUAL = (0.2, 0.7, 0.4, 0.03)
"""Usual values of four scales: the length for single knobs, the length of the joint part (all knobs together), the
share of the joint part, and the share of noise."""
UNSURE = (0.5, 0.5, 1.0, 1.5)
"""Standard deviations of the priors on the four values of ``USUAL``.  The prior of the joint part's share applies to
its log-odds; every other prior applies to the logarithm of its value."""
UNSURE_RELEVANCE = 2.0
NOISE = (1e-4, math.e)
"""Smallest and largest noise, as shares of the signal variance."""


@dataclass(frozen=True, slots=True)
class Scales:
    """The hyperparameters of the kernel; lengths are shares of a knob's range, and the noise is a share of the signal
    variance."""

    relevance: Array
    """Relevance of each knob, shape (knobs,), with sum 1."""
    single: float
    joint: float
    share: float
    noise: float


@dataclass(frozen=True, slots=True)
class _Parts:
    """The two parts of the kernel for given pairs of points, flattened to (pairs,)."""

    each: Array
    """One squared exponential for each knob, shape (pairs, knobs)."""
    single: Array
    distance: Array
    joint: Array


def covariance(scales: Scales, squares: Array) -> Array:
    """Return the kernel without noise, of shape (a, b), for squared distances of shape (a, b, knobs)."""
    parts = _parts(scales, squares.reshape(-1, squares.shape[-1]))
    return ((1 - scales.share) * parts.single + scales.share * parts.joint).reshape(squares.shape[:2])


def along(scales: Scales, squares: Array, changed: Array, index: NDArray[np.intp]) -> Array:
    """Return the kernel between given points and the measured points, shape (points, measured).

    Each given point differs from one base point in a few columns.  ``squares`` are the base point's squared distances
    to the measured points, shape (measured, knobs).  ``changed`` are the squared distances along the changed columns,
    shape (points, columns, measured).  ``index`` has the numbers of the changed columns, shape (points, columns), with
    -1 for an unused entry.
    """
    here = _parts(scales, squares)
    single, distance = here.single, here.distance
    for column, moved in zip(index.T, changed.transpose(1, 0, 2), strict=True):
        relevance = np.where(column >= 0, scales.relevance[column], 0.0)[:, None]
        single = single + relevance * (np.exp(moved * (-0.5 / scales.single**2)) - here.each[:, column].T)
        distance = distance + len(scales.relevance) * relevance * (moved - squares[:, column].T)
    return np.asarray((1 - scales.share) * single + scales.share * np.exp(-0.5 * distance / scales.joint**2))


def learn_scales(squares: Array, residual: Array, weights: Array, known: tuple[float, float] | None = None) -> Scales:
    """Fit the scales to measured gains.

    ``squares`` are squared distances, shape (points, points, knobs).  ``residual`` is the gains minus the prior mean,
    shape (points,).  ``weights`` is the expected relevance of each knob, shape (knobs,).  ``known`` is the expected
    share of noise and the standard deviation of its logarithm; with None, the usual share is expected.
    """
    single, joint, share, noise = USUAL
    usual = np.array(
        [*np.log(weights), math.log(single), math.log(joint), math.log(share / (1 - share)), math.log(noise)]
    )
    unsure = np.array([*(UNSURE_RELEVANCE for _ in weights), *UNSURE])
    if known:
        usual[-1], unsure[-1] = math.log(min(max(known[0], NOISE[0]), NOISE[1])), known[1]
    flat = squares.reshape(-1, len(weights))
    theta, first, second = usual.copy(), np.zeros(len(usual)), np.zeros(len(usual))
    best, highest = theta, -math.inf
    for step in range(1, STEPS + 1):
        height, slope = _likelihood(theta, flat, residual)
        away = (theta - usual) / unsure
        height, slope = height - 0.5 * float(away @ away), slope - away / unsure
        if height > highest:
            best, highest = theta.copy(), height
        first, second = 0.8 * first + 0.2 * slope, 0.95 * second + 0.05 * slope**2
        theta = theta + RATE * (first / (1 - 0.8**step)) / (np.sqrt(second / (1 - 0.95**step)) + 1e-8)
        theta[-1] = np.clip(theta[-1], math.log(NOISE[0]), math.log(NOISE[1]))
    return _scales(best)


def _scales(theta: Array) -> Scales:
    relevance = np.exp(theta[:-4] - theta[:-4].max())
    return Scales(
        relevance / relevance.sum(),
        math.exp(theta[-4]),
        math.exp(theta[-3]),
        1 / (1 + math.exp(-theta[-2])),
        math.exp(theta[-1]),
    )


def _parts(scales: Scales, flat: Array) -> _Parts:
    each = np.exp(flat * (-0.5 / scales.single**2))
    distance = flat @ (len(scales.relevance) * scales.relevance)
    return _Parts(each, each @ scales.relevance, distance, np.exp(-0.5 * distance / scales.joint**2))


def _likelihood(theta: Array, flat: Array, residual: Array) -> tuple[float, Array]:
    """Return the log marginal likelihood at the best signal variance, and its gradient."""
    n, s = len(residual), _scales(theta)
    parts = _parts(s, flat)
    matrix = ((1 - s.share) * parts.single + s.share * parts.joint).reshape(n, n) + s.noise * np.eye(n)
    factor = np.linalg.cholesky(matrix)
    whiten = np.linalg.inv(factor)
    inverse = whiten.T @ whiten
    pull = inverse @ residual
    # One pseudo-observation of variance 1 keeps the variance stable while there are few points.
    variance = float((residual @ pull + 1) / (n + 1))
    height = -0.5 * (n + 1) * math.log(variance) - float(np.log(np.diag(factor)).sum())
    # d height = tr(outer d matrix) / 2 for every parameter (Rasmussen and Williams 2006, eq. 5.9).
    outer = (np.outer(pull, pull) / variance - inverse).ravel()
    joint = outer * parts.joint
    by_knob = joint @ flat
    relevance = s.relevance
    slope = np.concatenate(
        [
            (1 - s.share) * relevance * (outer @ parts.each - outer @ parts.single)
            - 0.5 * s.share / s.joint**2 * len(relevance) * relevance * (by_knob - by_knob @ relevance),
            [
                (1 - s.share) * float((outer @ (parts.each * flat)) @ relevance) / s.single**2,
                s.share * float(joint @ parts.distance) / s.joint**2,
                s.share * (1 - s.share) * float(joint.sum() - outer @ parts.single),
                s.noise * float(outer[:: n + 1].sum()),
            ],
        ]
    )
    return height, 0.5 * slope
