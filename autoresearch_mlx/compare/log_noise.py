"""Estimate how much the values of a log vary by chance: from repeats, or else from runs that change nothing.

Other people's logs have one run of each change.  But some have runs that change nothing, such as runs with another
seed.  In a log without repeats, only the differences between such runs and the incumbent show the noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch_mlx.compare.effects import Effect
from autoresearch_mlx.experiment import History
from autoresearch_mlx.judge.history import sigma_of
from autoresearch_mlx.judge.student_t import quantile

NULL_AXES = frozenset({"seed", "repeat", "rope.table"})
"""Axes of changes that should make no difference to the result."""
COVERAGE = 0.9
"""The share of cases in which an interval should contain the true value."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise of a log: ``sigma`` is the standard deviation of one run, in the metric's unit, or None if it is
    unknown."""

    sigma: float | None
    dof: int
    estimate: bool
    """True if sigma is estimated from runs that were not meant as repeats."""
    source: str

    @property
    def known(self) -> bool:
        """Whether sigma is above zero and has degrees of freedom."""
        return bool(self.sigma) and self.dof > 0

    def error(self, effect: Effect) -> float | None:
        """Return the standard error of a gain: the recorded error, or else the error of the difference of two runs.
        None means unknown."""
        if effect.error is not None:
            return effect.error
        return self.sigma * math.sqrt(2) if self.known and self.sigma is not None else None

    def interval(self, effect: Effect) -> tuple[float, float] | None:
        """Return the ends of the 90 % interval of a gain, without shrinking, or None if the gain or sigma is
        unknown."""
        error = self.error(effect)
        if effect.gain is None or error is None or self.dof < 1:
            return None
        reach = quantile((1 + COVERAGE) / 2, self.dof) * error
        return effect.gain - reach, effect.gain + reach

    def sigmas(self, gain: float | None) -> float | None:
        """Return a gain in standard deviations of one run, or None if the gain or sigma is unknown."""
        return gain / self.sigma if gain is not None and self.known and self.sigma else None


UNKNOWN = Noise(None, 0, False, "no run was repeated, so the noise is unknown")


def of_history(history: History, found: Sequence[Effect]) -> Noise:
    """Return the noise of one of our sessions: from repeated runs if there are any, else by :func:`of_effects`."""
    sigma = sigma_of(history)
    if sigma.known:
        return Noise(sigma.value, sigma.dof, False, sigma.source)
    return of_effects(found)


def of_effects(found: Sequence[Effect]) -> Noise:
    """Return an estimate from the runs that change nothing: sqrt(mean square of their differences from the incumbent /
    2).

    The estimate is somewhat too large, because the incumbent was kept for a good value, and a good value is partly
    luck.
    """
    nulls = [e for e in found if e.run.axis in NULL_AXES and e.gain]
    if not nulls:
        return UNKNOWN
    square = math.fsum(e.gain**2 for e in nulls if e.gain is not None) / len(nulls)
    runs = f"{len(nulls)} run{'' if len(nulls) == 1 else 's'} that change{'s' if len(nulls) == 1 else ''} nothing"
    orders = ", ".join(str(e.run.order) for e in nulls)
    return Noise(math.sqrt(square / 2), len(nulls), True, f"an estimate from {runs} (order {orders})")
