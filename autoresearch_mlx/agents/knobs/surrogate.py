"""Predict the gain of a step by a Gaussian process, and its chance of failing by a logistic regression.

The Gaussian process is fitted to the measured gains.  Its kernel is a sum of two parts.  The first has one squared
exponential for each knob (an additive kernel, Duvenaud et al. 2011, arXiv:1112.4394), weighted by the knob's gains so
far.  The second is one squared exponential over all knobs together, for their interactions.  Length scales, the shares
of the two parts and the noise maximise the marginal likelihood on a small grid.  Candidates are ranked by the logarithm
of their expected improvement (Jones et al. 1998; Ament et al. 2023, arXiv:2310.20708), together with the chance that
they run.  This is our own code because the libraries for it, including Optuna's own sampler, need torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from autoresearch_mlx.agents.knobs.coordinates import Array, Coordinates, coordinates
from autoresearch_mlx.agents.knobs.interest import interest
from autoresearch_mlx.agents.knobs.memory import Memory, Trial
from autoresearch_mlx.agents.knobs.moves import Move, point_of
from autoresearch_mlx.agents.knobs.region import gains, tiredness, weights, widths
from autoresearch_mlx.agents.knobs.space import Space

SINGLE_SCALES = (0.1, 0.2, 0.4)
JOINT_SCALES = (0.5, 1.0)
JOINT_SHARES = (0.3, 0.7)
NOISES = (0.01, 0.1, 0.5)
"""Noise variance of one measurement as a share of the signal variance; the fit chooses the best of these values."""
PRIOR_MEAN = -1.0
"""Expected gain far from all measured points, in units of a typical step: most changes of a good file lose."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The hyperparameters of the kernel; lengths are shares of a knob's range."""

    single: float
    joint: float
    share: float
    noise: float


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A fitted Gaussian process.  Gains are relative to the incumbent's score, in multiples of ``unit``."""

    where: Coordinates
    rows: Array
    weights: Array
    shape: Shape
    unit: float
    informed: bool
    """Whether any gain was measured; if not, ``unit`` is arbitrary and no gain may be reported."""
    variance: float
    factor: Array
    pull: Array

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the gain over the incumbent, in multiples of ``unit``.

        ``rows`` has shape (points, knobs); both results have shape (points,).
        """
        squares = self.where.squares(rows, self.rows)
        single, joint = _single(squares, self.weights, self.shape.single), _joint(squares, self.shape.joint)
        k = _kernel(single, joint, self.shape.share)
        reach = np.linalg.solve(self.factor, k.T)
        deviation = np.sqrt(np.maximum(1 - (reach**2).sum(axis=0), 1e-9) * self.variance)
        return PRIOR_MEAN + k @ self.pull, deviation


def fit(where: Coordinates, rows: Array, gains: Array, weights: Array) -> Surrogate:
    """Fit a Gaussian process to measured gains over the incumbent.

    ``rows``: shape (points, knobs), at least one point.  ``gains``: shape (points,), in the metric's unit; positive is
    better.  ``weights``: shape (knobs,).
    """
    unit = typical(gains)
    residual = _soften(gains / unit) - PRIOR_MEAN
    squares = where.squares(rows, rows)
    singles = {length: _single(squares, weights, length) for length in SINGLE_SCALES}
    joints = {length: _joint(squares, length) for length in JOINT_SCALES}
    fits = (_fit(singles[s.single], joints[s.joint], residual, s) for s in _shapes())
    _, shape, factor, variance = max(fits, key=lambda found: found[0])
    pull = np.linalg.solve(factor.T, np.linalg.solve(factor, residual))
    return Surrogate(where, rows, weights, shape, unit, bool(np.any(gains != 0)), variance, factor, pull)


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


def _shapes() -> Iterator[Shape]:
    return (Shape(*values) for values in product(SINGLE_SCALES, JOINT_SCALES, JOINT_SHARES, NOISES))


def _kernel(single: Array, joint: Array, share: float) -> Array:
    return (1 - share) * single + share * joint


def _single(squares: Array, weights: Array, length: float) -> Array:
    return np.asarray(np.exp(-0.5 * squares / length**2) @ (weights / weights.sum()))


def _joint(squares: Array, length: float) -> Array:
    return np.asarray(np.exp(-0.5 * squares.sum(axis=-1) / length**2))


def _fit(single: Array, joint: Array, residual: Array, shape: Shape) -> tuple[float, Shape, Array, float]:
    """Return log marginal likelihood, shape, Cholesky factor and signal variance, at the best signal variance."""
    n = len(residual)
    covariance = _kernel(single, joint, shape.share) + shape.noise * np.eye(n)
    factor = np.asarray(np.linalg.cholesky(covariance), dtype=float)
    white = np.linalg.solve(factor, residual)
    # One pseudo-observation of variance 1 keeps the estimate stable while there are few points.
    variance = float((white @ white + 1) / (n + 1))
    likelihood = -0.5 * (n + 1) * math.log(variance) - float(np.log(np.diag(factor)).sum())
    return likelihood, shape, factor, variance


def _density(z: float) -> float:
    return math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _cumulative(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


PRIOR = -3.0
"""Log-odds of failing before anything is known, which is a chance of about 1 in 20."""
RIDGE = 0.002
"""Penalty on the slopes; it is weak because one more tick of a size may turn a safe run into a certain crash."""
RIDGE_PRIOR = 0.3
STEPS = 12
REACH = 0.05
"""Largest distance of a nearby outcome, as a share of the ranges."""


@dataclass(frozen=True, slots=True)
class FailureModel:
    """The chance of failing: log-odds that are linear in the step from the incumbent, combined with nearby outcomes.

    ``rows``: shape (trials, knobs).  ``failed``: shape (trials,).  ``origin``, ``slope``: shape (knobs,).
    """

    where: Coordinates
    rows: Array
    failed: NDArray[np.bool_]
    origin: Array
    intercept: float
    slope: Array

    def chance(self, rows: Array) -> Array:
        """Return the chance of failing of each point, shape (points,)."""
        beyond = _sigmoid(self.intercept + (rows - self.origin) @ self.slope)
        return np.asarray(1 - (1 - beyond) * (1 - self._close_by(rows)))

    def _close_by(self, rows: Array) -> Array:
        """Return the share of failures among nearby outcomes, with one success added."""
        if not len(self.rows):
            return np.zeros(len(rows))
        near = np.exp(-0.5 * self.where.squares(rows, self.rows).sum(axis=-1) / REACH**2)
        return np.asarray(near @ self.failed / (near.sum(axis=-1) + 1))


def learn_failures(where: Coordinates, rows: Array, failed: NDArray[np.bool_], origin: Array) -> FailureModel:
    """Fit a ridge-penalised logistic regression to all trials, by damped Newton steps; there may be no trials."""
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


MOST_TRIALS = 200
"""Maximum number of trials that the models see: those nearest to the incumbent.  More would only take time."""
CAUTION = 8.0
"""Exponent of the chance that a move runs; it is large because a crash costs a whole run and teaches little."""

TIRED = 0.5
"""Amount subtracted from a move's rank for each recent trial that moved the same knob without a keep."""
LIKELY, REFUSED = 0.5, 1e6
"""The second number is subtracted from the rank of a move whose chance to run is below the first: it comes last."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """Both models and the trust region, for ranking moves.  The arrays have shape (knobs,)."""

    space: Space
    where: Coordinates
    widths: Array
    gains: Array
    weights: Array
    tired: Array
    surrogate: Surrogate
    failures: FailureModel

    def rank(self, moves: Sequence[Move]) -> Array:
        """Return a rank for each move; higher is better.

        The rank is log(expected improvement x P(runs)^CAUTION), reduced for tired knobs.
        """
        rows = self._rows(moves)
        runs = 1 - self.failures.chance(rows)
        ranks = log_expected_improvement(*self.surrogate.predict(rows)) + CAUTION * np.log(np.maximum(runs, 1e-9))
        ranks -= TIRED * np.array([max(self.tired[step.index] for step in move) for move in moves])
        return np.asarray(np.where(runs < LIKELY, ranks - REFUSED, ranks))

    def expect(self, move: Move) -> tuple[float, float, float]:
        """Return expected gain over the incumbent, its deviation (both in the metric's unit), and chance of failing."""
        rows = self._rows([move])
        mean, deviation = self.surrogate.predict(rows)
        unit = self.surrogate.unit
        return float(mean[0]) * unit, float(deviation[0]) * unit, float(self.failures.chance(rows)[0])

    def _rows(self, moves: Sequence[Move]) -> Array:
        return self.where.rows([point_of(self.space, move) for move in moves])


def look(space: Space, memory: Memory) -> Outlook:
    """Fit both models to the trials."""
    where = coordinates(space)
    here = where.rows([space.start])
    trials = _nearest(where, here, memory.trials)
    measured = [t for t in trials if t.score is not None]
    # A point that is being measured counts as measured, with the incumbent's score (the constant liar of Ginsbourger et
    # al. 2010), so that the next proposal looks elsewhere.  It changes neither widths nor weights.
    rows = where.rows([space.start, *(t.point for t in measured), *memory.running])
    gained = [t.score - memory.score for t in measured if t.score is not None]
    scores = np.array([0.0, *gained, *(0.0 for _ in memory.running)])
    share = weights(memory.trials, interest(space))
    return Outlook(
        space,
        where,
        widths(memory.trials, len(space)),
        gains(memory.trials, len(space)),
        share,
        tiredness(memory.trials, len(space)),
        fit(where, rows, scores, share),
        learn_failures(
            where, where.rows([t.point for t in trials]), np.array([t.failed for t in trials], bool), here[0]
        ),
    )


def _nearest(where: Coordinates, here: Array, trials: Sequence[Trial]) -> list[Trial]:
    if len(trials) <= MOST_TRIALS:
        return list(trials)
    distance = where.squares(here, where.rows([t.point for t in trials])).sum(axis=-1)[0]
    return [trials[i] for i in sorted(np.argsort(distance, kind="stable")[:MOST_TRIALS])]
