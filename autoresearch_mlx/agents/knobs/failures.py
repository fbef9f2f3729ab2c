"""The chance that a configuration crashes, runs out of memory or time, learned two ways.

Memory is a product of sizes, so it is linear in the logarithms that the coordinates of sizes are: in
a ridge logistic regression one crash on the way to more layers speaks against all that lies further
that way.  What no plane can divide (a size that does not divide another) is told by the outcomes
close by.  Either alone can condemn a configuration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoresearch_mlx.agents.knobs.coordinates import Array, Coordinates

PRIOR = -3.0
"""Log-odds of failing before anything is known: about 1 in 20."""
RIDGE = 0.002
"""Weak: one more tick of a size may turn a sure run into a sure crash."""
RIDGE_PRIOR = 0.3
STEPS = 12
REACH = 0.05
"""How near, as a share of the ranges, an outcome is close by."""


@dataclass(frozen=True, slots=True)
class FailureModel:
    """Log-odds of failing as a linear function of the way from the incumbent, and the outcomes."""

    where: Coordinates
    rows: Array
    failed: NDArray[np.bool_]
    origin: Array
    intercept: float
    slope: Array

    def chance(self, rows: Array) -> Array:
        beyond = _sigmoid(self.intercept + (rows - self.origin) @ self.slope)
        return np.asarray(1 - (1 - beyond) * (1 - self._close_by(rows)))

    def _close_by(self, rows: Array) -> Array:
        """The share of failures among the outcomes close by, counted with one success more."""
        if not len(self.rows):
            return np.zeros(len(rows))
        near = np.exp(-0.5 * self.where.squares(rows, self.rows).sum(axis=-1) / REACH**2)
        return np.asarray(near @ self.failed / (near.sum(axis=-1) + 1))


def learn_failures(where: Coordinates, rows: Array, failed: NDArray[np.bool_], origin: Array) -> FailureModel:
    """Fit to all trials that ran or failed; none is fine.  Damped Newton on a convex loss."""
    a = np.hstack([np.ones((len(rows), 1)), rows - origin])
    prior, ridge = np.zeros(a.shape[1]), np.full(a.shape[1], RIDGE)
    prior[0], ridge[0] = PRIOR, RIDGE_PRIOR

    def loss(w: Array) -> float:
        log_odds = np.where(failed, -1, 1) * (a @ w)
        return float(np.logaddexp(0, log_odds).sum() + 0.5 * (ridge * (w - prior) ** 2).sum())

    w = prior.copy()
    for _ in range(STEPS):
        p = _sigmoid(a @ w)
        slope = a.T @ (p - failed) + ridge * (w - prior)
        step = np.linalg.solve((a.T * (p * (1 - p))) @ a + np.diag(ridge), slope)
        w = next((w - s * step for s in (1.0, 0.5, 0.25, 0.1, 0.03) if loss(w - s * step) < loss(w)), w)
    return FailureModel(where, rows, failed, origin, float(w[0]), w[1:])


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))))
