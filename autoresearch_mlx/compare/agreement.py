"""Measure how well two logs agree on the changes that they have in common: signs, ranks, and the largest
disagreements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from autoresearch_mlx.compare.log_noise import COVERAGE
from autoresearch_mlx.compare.match import Pair
from autoresearch_mlx.judge.intervals import wilson

FEWEST = 5
"""Smallest number of pairs for which a rank correlation is given."""
MOST = 5
"""Maximum number of disagreements that are listed."""
_Z = NormalDist().inv_cdf((1 + COVERAGE) / 2)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Shares and correlations with their 90 % intervals; a figure is None if there are too few pairs."""

    pairs: int
    signed: int
    """Number of pairs in which neither effect is exactly zero, so that both effects have a sign."""
    same: int
    """Number of pairs in which both effects are gains or both are losses."""
    share: float | None
    """``same / signed``."""
    share_interval: tuple[float, float] | None
    """Interval of the share of equal signs, by Wilson's score (JASA 22, 1927)."""
    chance: float | None
    """The share of equal signs to expect by chance, if the gains in the two logs were independent of each other."""
    rank: float | None
    """Spearman's correlation of the gains in percent."""
    rank_interval: tuple[float, float] | None
    """Interval of the correlation, by Fisher's z with Bonett and Wright's standard error (Psychometrika 65, 2000).

    The interval is None for a rank correlation of 1 or -1.
    """


def agreement(found: Sequence[Pair]) -> Agreement:
    """Return how well the gains of matching changes agree."""
    points = [(p.there.percent, p.here.percent) for p in found]
    known = [(a, b) for a, b in points if a is not None and b is not None]
    signed = [(a, b) for a, b in known if a and b]
    same = sum((a > 0) == (b > 0) for a, b in signed)
    rank = spearman(known) if len(known) >= FEWEST else None
    return Agreement(
        pairs=len(found),
        signed=len(signed),
        same=same,
        share=same / len(signed) if signed else None,
        share_interval=wilson(same / len(signed), len(signed), COVERAGE) if signed else None,
        chance=_chance(signed) if signed else None,
        rank=rank,
        rank_interval=_rank_interval(rank, len(known)),
    )


def _chance(points: Sequence[tuple[float, float]]) -> float:
    a, b = (sum(point[side] > 0 for point in points) / len(points) for side in (0, 1))
    return a * b + (1 - a) * (1 - b)


def disagreements(found: Sequence[Pair]) -> tuple[Pair, ...]:
    """Return the pairs whose effects have opposite signs, at most five, with the largest disagreement first.

    The size of a disagreement is the smaller of the pair's two effects, in percent.
    """
    opposite = [p for p in found if (p.there.percent or 0) * (p.here.percent or 0) < 0]
    return tuple(sorted(opposite, key=lambda p: -_weaker(p))[:MOST])


def _weaker(pair: Pair) -> float:
    return min(abs(pair.there.percent or 0), abs(pair.here.percent or 0))


def spearman(points: Sequence[tuple[float, float]]) -> float | None:
    """Return Spearman's rank correlation of the pairs of values; equal values get their mean rank.

    Returns None if all first values are equal, or if all second values are equal.
    """
    a, b = (_ranks([point[side] for point in points]) for side in (0, 1))
    mean_a, mean_b = fmean(a), fmean(b)
    across = math.fsum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    square = math.fsum((x - mean_a) ** 2 for x in a) * math.fsum((y - mean_b) ** 2 for y in b)
    return across / math.sqrt(square) if square > 0 else None


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(v) + (ordered.count(v) + 1) / 2 for v in values]


def _rank_interval(rank: float | None, n: int) -> tuple[float, float] | None:
    if rank is None or abs(rank) > 1 - 1e-12:
        return None
    reach = _Z * math.sqrt((1 + rank**2 / 2) / (n - 3))
    return math.tanh(math.atanh(rank) - reach), math.tanh(math.atanh(rank) + reach)
