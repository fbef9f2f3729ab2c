"""The chance that a configuration crashes, runs out of memory or time: a ridge logistic regression.

Memory is a product of sizes, so it is linear in the logarithms that the coordinates of sizes are:
one crash on the way to more layers speaks against all that lies further that way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoresearch_mlx.agents.knobs.coordinates import Array

PRIOR = -3.0
"""Log-odds of failing before anything is known: about 1 in 20."""
RIDGE = 0.05
RIDGE_PRIOR = 0.3
STEPS = 12


@dataclass(frozen=True, slots=True)
class FailureModel:
    """Log-odds of failing as a linear function of the way from the incumbent."""

    origin: Array
    intercept: float
    slope: Array

    def chance(self, rows: Array) -> Array:
        return _sigmoid(self.intercept + (rows - self.origin) @ self.slope)


def learn_failures(rows: Array, failed: NDArray[np.bool_], origin: Array) -> FailureModel:
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
    return FailureModel(origin, float(w[0]), w[1:])


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))))
