"""Combine the effects of one change on several machines into one effect, and say how much the machines differ.

The model is the usual model of a meta-analysis with random effects.  The gain of a change on one machine is the sum of
three parts.  They are the mean effect of the change over all machines, a part that belongs to this machine (standard
deviation tau), and the error of the measurement.  Each machine is weighted by the inverse of the variance of the last
two parts.

With a handful of machines, one change alone reveals little about tau, so :func:`combine` has two forms.  For a single
change, tau^2 is the estimate of Paule and Mandel (Journal of Research of the NBS 87, 1982).  The standard error is then
the larger of two: the error of Hartung and Knapp (Statistics in Medicine 20, 2001), and the plain standard error.  This
rule suits few machines (Röver, Knapp and Friede, arXiv 1508.01227).  If many changes of a session ran on several
machines, tau^2 is pooled over these changes (:func:`between`), by the moments of DerSimonian and Laird (Controlled
Clinical Trials 7, 1986).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from autoresearch_mlx.judge.student_t import normal_score, quantile

_COVERAGE = 0.9
_MANY = 200
_ROUNDS = 20
"""Maximum number of rounds in which changes are left out and the variance is computed again."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An effect that was measured on one machine, with its standard error, in any unit; positive is better.

    Raises ValueError unless the effect is finite and the error is finite and above 0.
    """

    effect: float
    error: float
    dof: int = _MANY
    """Degrees of freedom of the error, at least 1."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.effect) and 0 < self.error < math.inf and self.dof >= 1):
            raise ValueError(f"not an estimate: {self.effect} +- {self.error} with {self.dof} degrees of freedom")


@dataclass(frozen=True, slots=True)
class Between:
    """The variance of a change's effect between machines, in the square of the effects' unit."""

    variance: float
    changes: int = 0
    """Number of changes that several machines measured."""
    left_out: int = 0
    """Number of the changes that were left out, because their effects differ too much between machines."""


@dataclass(frozen=True, slots=True)
class Combined:
    """The mean effect of one change over machines, in the unit of its estimates, and how much the machines differ."""

    effect: float
    error: float
    dof: int
    """Degrees of freedom of the error."""
    low: float
    high: float
    """Ends of the 90 % interval of the mean effect."""
    machines: int
    tau: float
    """Standard deviation of the effect between machines."""
    q: float
    """Cochran's Q: the weighted sum of squares around the mean with tau = 0.

    The expected value of Q is ``machines`` - 1 if the machines do not differ.
    """
    i_squared: float
    """Share of the spread of the measured effects that the errors do not explain, 0 to 1 (Higgins and Thompson,
    Statistics in Medicine 21, 2002)."""
    chance: float
    """Probability of a Q at least this large if the effect were the same on all machines; 1 for one machine."""

    @property
    def score(self) -> float:
        """The effect in standard errors, as the normal score that has the same tail probability as this t statistic."""
        return normal_score(self.effect / self.error, self.dof)


def combine(estimates: Sequence[Estimate], spread: Between | None = None) -> Combined:
    """Return the mean effect over machines from one estimate or more, each from a different machine.

    ``spread`` is the variance between machines, as known from many changes.  If ``spread`` is None, the variance is
    estimated from these estimates alone.  Raises ValueError without an estimate.
    """
    if not estimates:
        raise ValueError("there is nothing to combine")
    k, q = len(estimates), cochran(estimates)
    alone = spread is None
    tau2 = paule_mandel(estimates) if spread is None else spread.variance
    weights = [1 / (e.error**2 + tau2) for e in estimates]
    mean = _mean(estimates, weights)
    error, dof = 1 / math.sqrt(math.fsum(weights)), _freedom(estimates, weights)
    if alone and k > 1:
        squares = math.fsum(w * (e.effect - mean) ** 2 for w, e in zip(weights, estimates, strict=True))
        error, dof = error * math.sqrt(max(1.0, squares / (k - 1))), k - 1
    reach = quantile((1 + _COVERAGE) / 2, dof) * error
    return Combined(
        effect=mean,
        error=error,
        dof=dof,
        low=mean - reach,
        high=mean + reach,
        machines=k,
        tau=math.sqrt(tau2) if k > 1 else 0.0,
        q=q,
        i_squared=max(0.0, (q - (k - 1)) / q) if q > 0 else 0.0,
        chance=chi_square_tail(q, k - 1),
    )


def cochran(estimates: Sequence[Estimate]) -> float:
    """Return Cochran's Q (Biometrics 10, 1954), which is 0 for one estimate."""
    return _squares(estimates, 0.0)


def paule_mandel(estimates: Sequence[Estimate]) -> float:
    """Return Paule and Mandel's tau^2, at which the weighted sum of squares has its expected value; at least 0."""
    wanted = len(estimates) - 1
    if wanted < 1 or _squares(estimates, 0.0) <= wanted:
        return 0.0
    low, high = 0.0, max(e.error for e in estimates) ** 2
    while _squares(estimates, high) > wanted:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _squares(estimates, middle) > wanted else (low, middle)
    return (low + high) / 2


def moments(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """Return (Q - (k - 1), C) for k estimates; the ratio of the two is DerSimonian and Laird's tau^2 before a cut at
    0."""
    weights = [1 / e.error**2 for e in estimates]
    total = math.fsum(weights)
    return cochran(estimates) - (len(estimates) - 1), total - math.fsum(w * w for w in weights) / total


def between(changes: Iterable[Sequence[Estimate]], assumed: float, weight: float) -> Between:
    """Return the variance between machines, pooled over changes that were measured on two machines or more.

    ``assumed`` is the variance that is assumed before any measurement.  ``weight`` is the weight of this assumption, in
    the unit of DerSimonian and Laird's C.  A change on two machines, each with the standard error e, adds 1 / e^2 to C.

    A few changes may suit only one kind of machine; if they counted, the mean effects of all other changes would look
    uncertain.  So a change is left out if, given the variance, fewer than 1 change in 100 would have a Q as large as
    its own.  The variance is then computed again, until the changes that are left out stay the same.
    """
    several = [(len(change) - 1, cochran(change), moments(change)[1]) for change in changes if len(change) > 1]
    variance, left_out = assumed, 0
    for _ in range(_ROUNDS if several else 0):
        like = [(q - dof, c) for dof, q, c in several if q <= _most(dof) * (1 + c * variance / dof)]
        left_out = len(several) - len(like)
        above = weight * assumed + math.fsum(excess for excess, _ in like)
        before, variance = variance, max(0.0, above / (weight + math.fsum(c for _, c in like)))
        if variance == before:
            break
    return Between(variance, len(several), left_out)


@lru_cache(maxsize=64)
def _most(dof: int) -> float:
    """Return the 99 % quantile of the chi-square distribution with ``dof`` degrees of freedom."""
    low, high = 0.0, 10.0 * dof
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if chi_square_tail(middle, dof) > 0.01 else (low, middle)
    return high


def chi_square_tail(q: float, dof: int) -> float:
    """Return P(X >= q) for a chi-square variable with ``dof`` degrees of freedom; 1 for ``dof`` < 1."""
    if dof < 1 or q <= 0:
        return 1.0
    half = q / 2
    if dof % 2 == 0:  # a finite sum (Abramowitz and Stegun, 26.4.5)
        term = total = math.exp(-half)
        for i in range(1, dof // 2):
            term *= half / i
            total += term
        return total
    total, term = math.erfc(math.sqrt(half)), math.exp(-half) * math.sqrt(half) / (math.sqrt(math.pi) / 2)
    for i in range(1, (dof + 1) // 2):
        total += term
        term *= half / (i + 0.5)
    return total


def _squares(estimates: Sequence[Estimate], tau2: float) -> float:
    """Return the weighted sum of squares around the weighted mean."""
    weights = [1 / (e.error**2 + tau2) for e in estimates]
    mean = _mean(estimates, weights)
    return math.fsum(w * (e.effect - mean) ** 2 for w, e in zip(weights, estimates, strict=True))


def _mean(estimates: Sequence[Estimate], weights: Sequence[float]) -> float:
    return math.fsum(w * e.effect for w, e in zip(weights, estimates, strict=True)) / math.fsum(weights)


def _freedom(estimates: Sequence[Estimate], weights: Sequence[float]) -> int:
    """Return the degrees of freedom of the combined error (Satterthwaite, Biometrics Bulletin 2, 1946)."""
    parts = [(w * e.error) ** 2 for w, e in zip(weights, estimates, strict=True)]
    below = math.fsum(part**2 / e.dof for part, e in zip(parts, estimates, strict=True))
    return max(1, min(_MANY, math.floor(math.fsum(parts) ** 2 / below + 1e-9)))
