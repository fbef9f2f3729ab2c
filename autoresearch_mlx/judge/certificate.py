"""Certify a gain: compare the head with an earlier commit by new runs, on seeds that played no part in the search.

The two commits run in turn, A B B A, each pair on a fresh seed.  In a block A B B A of four consecutive runs, a linear
drift of the machine (say, while it warms up) cancels exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import Literal

from autoresearch_mlx.experiment import Direction
from autoresearch_mlx.judge.by_case import by_case
from autoresearch_mlx.judge.evidence import Run, Sigma, Slope
from autoresearch_mlx.judge.shrinkage import digits_of
from autoresearch_mlx.judge.slope import at_reference, error_between
from autoresearch_mlx.judge.student_t import cumulative, normal_score, quantile

_COVERAGE = 0.9


@dataclass(frozen=True, slots=True)
class Slot:
    """One run of a certification: its side, the number of its pair (from 0), and its seed."""

    side: Literal["before", "head"]
    pair: int
    seed: int


@dataclass(frozen=True, slots=True)
class Certificate:
    """How much better the head is than the earlier commit, in the metric's unit; positive is better.

    ``low`` to ``high`` is the 90 % interval.  The interval and the probability come from the posterior under flat
    priors, which is Student's t around the effect.  The variance of the posterior is pooled from sigma and from the
    differences between blocks.  Sigma is used as if the two runs of a pair were independent, although their common seed
    may make the variance smaller.
    """

    effect: float
    low: float
    high: float
    probability_better: float
    pairs: int
    """Number of pairs in complete blocks; only these pairs count."""
    certified: bool
    """Whether the evidence ratio reached 1 / alpha.

    The error rate stays under alpha even if the ratio is checked after every block.  In a comparison by cases, this
    field says whether the exact test's one-sided mid-p value is at most alpha / 2.
    """


def slots_of(pairs: int, first_seed: int) -> tuple[Slot, ...]:
    """Return the runs in the order in which they are made: A B B A A B B A ...

    Raises ValueError when ``pairs`` is odd or below 2.
    """
    if pairs < 2 or pairs % 2:
        raise ValueError(f"certifying takes an even number of pairs, at least 2, not {pairs}")
    order: tuple[tuple[Literal["before", "head"], int], ...] = (("before", 0), ("head", 0), ("head", 1), ("before", 1))
    return tuple(
        Slot(side, pair + within, first_seed + pair + within) for pair in range(0, pairs, 2) for side, within in order
    )


def certificate(
    before: Sequence[Run],
    head: Sequence[Run],
    direction: Direction,
    sigma: Sigma,
    alpha: float = 0.1,
    slope: Slope | None = None,
) -> Certificate:
    """Return the certificate from all complete blocks; each run has the number of its pair.

    ``slope`` says how values change with the machine's speed.  The part of an effect that is due to the machine's speed
    is subtracted, and the uncertainty of that part adds to the error.  The subtracted part is zero in a block whose
    runs were equally fast, or whose speed changed steadily.

    A block with a lost or disturbed run is left out, and has to be measured again.  Raises ValueError when no block is
    complete.  Raises ValueError also for one block without sigma, because the error is then unknown.
    """
    slope = slope or Slope()
    effects = block_effects(before, head, direction, slope)
    if not effects:
        raise ValueError("no block A B B A is complete; measure a block again")
    if (cases := by_case(head, before, direction)) is not None:
        reach = quantile((1 + _COVERAGE) / 2, cases.cases - 1) * cases.error
        better = NormalDist().cdf(cases.score)
        certified = better >= 1 - alpha / 2  # the cases are tested once, so no correction for repeated looks is needed
        return Certificate(cases.gain, cases.gain - reach, cases.gain + reach, better, 2 * len(effects), certified)
    dof = len(effects) - 1 + (sigma.dof if sigma.value is not None else 0)
    if dof < 1:
        raise ValueError("the error is unknown with one block and no sigma; measure a second block")
    effect, pairs = fmean(effects), 2 * len(effects)
    apart = fmean(_effects(before, head, lambda run: run.log_work))
    error = math.sqrt(_pair_variance(effects, sigma, dof) / pairs)
    if apart:
        error = math.hypot(error, error_between(slope, apart))
    if error == 0:
        return Certificate(effect, effect, effect, (1 + (effect > 0) - (effect < 0)) / 2, pairs, effect > 0)
    reach = quantile((1 + _COVERAGE) / 2, dof) * error
    certified = effect > 0 and evidence_ratio(normal_score(effect / error, dof), pairs) >= 1 / alpha
    return Certificate(effect, effect - reach, effect + reach, cumulative(effect / error, dof), pairs, certified)


def block_effects(
    before: Sequence[Run], head: Sequence[Run], direction: Direction, slope: Slope | None = None
) -> tuple[float, ...]:
    """Return the gain in each complete block, in order, at the machine's reference speed."""
    sign, steep = -1 if direction == "min" else 1, slope or Slope()
    return tuple(sign * effect for effect in _effects(before, head, lambda run: at_reference(run, steep)))


def _effects(before: Sequence[Run], head: Sequence[Run], figure: Callable[[Run], float]) -> tuple[float, ...]:
    """Return the figure of the head minus the figure of the earlier commit, for each complete block in order."""
    ours, theirs = _by_pair(head, figure), _by_pair(before, figure)
    blocks = sorted({pair // 2 for pair in ours if {pair, pair ^ 1} <= ours.keys() & theirs.keys()})
    return tuple(
        abba(theirs[2 * block], ours[2 * block], ours[2 * block + 1], theirs[2 * block + 1]) for block in blocks
    )


def abba(a1: float, b1: float, b2: float, a2: float) -> float:
    """Return B minus A from four runs, which were made in the order of the arguments."""
    return ((b1 - a1) + (b2 - a2)) / 2


def evidence_ratio(z: float, pairs: int) -> float:
    """Return the likelihood of the pairs under a normal mixture of effects, divided by the likelihood of the pairs
    without an effect.

    The ratio is the statistic of the mixture sequential probability ratio test (Robbins, "Statistical methods related
    to the law of the iterated logarithm", 1970; Johari et al., arXiv 1512.04922).  The mixture's variance equals the
    variance of one pair.  A ratio over 1 / alpha rules out "no effect" at the level alpha, however often the ratio is
    checked.
    """
    return math.exp(pairs * z * z / (2 * (1 + pairs))) / math.sqrt(1 + pairs)


def in_words(found: Certificate) -> str:
    """Return the certificate as text: ``better by 0.0120 (90 %: 0.0081 to 0.0159), P(better) 0.998, 4 pairs:
    certified``."""
    digits = digits_of((found.high - found.low) / 4)
    word = "better" if found.effect > 0 else "worse" if found.effect < 0 else "different"
    size = f"{word} by {abs(found.effect):.{digits}f} (90 %: {found.low:.{digits}f} to {found.high:.{digits}f})"
    label = "certified" if found.certified else "not certified"
    return f"{size}, P(better) {_probability(found)}, {found.pairs} pairs: {label}"


def _probability(found: Certificate) -> str:
    """Return the probability with three digits; never 1.000 or 0.000, unless the runs had no noise at all."""
    share, certain = found.probability_better, found.low == found.high
    if certain or 0.0005 <= share <= 0.9995:
        return f"{share:.3f}"
    return ">0.999" if share > 0.5 else "<0.001"


def _pair_variance(effects: Sequence[float], sigma: Sigma, dof: int) -> float:
    """Return the variance of the difference within a pair, pooled from 2 sigma^2 and twice the variance of block
    effects."""
    mean = fmean(effects)
    squares = 2 * math.fsum((effect - mean) ** 2 for effect in effects)
    if sigma.value is not None:
        squares += sigma.dof * 2 * sigma.value**2
    return squares / dof


def _by_pair(runs: Sequence[Run], figure: Callable[[Run], float]) -> dict[int, float]:
    return {run.pair: figure(run) for run in runs if run.pair is not None and not run.tainted}
