"""Report the gain of a change: a shrunk estimate with an interval, and a line of text about it.

A change that was kept because it measured well has, on average, measured too well (the winner's curse).  Empirical
Bayes shrinkage removes this excess on average.  Effects are assumed to be normal around 0, with a variance tau^2 that
is estimated from the session's own effects.  The measured gain is multiplied by tau^2 / (tau^2 + error^2) (Efron and
Morris, "Stein's estimation rule and its competitors", JASA 68, 1973).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from autoresearch_mlx.judge.difference import Difference
from autoresearch_mlx.judge.student_t import quantile

_PRIOR_SIGMA = 0.8
"""Standard deviation of effects, in sigma, that is assumed before anything was measured."""
_PRIOR_WEIGHT = 3
"""Weight of this assumption, as a number of measured effects.

With this weight and this standard deviation, the reported gain of a keep is on average 0.6 sigma too good when true
gains are half a sigma.  When true gains are larger, the reported gain is right within 0.1 sigma (`bench/judge.py`).
"""
_COVERAGE = 0.9
BY_SPEED = "allowing for the machine's speed"
"""Words that are added to a reason when the machine's speed has changed the gain or its error noticeably."""


@dataclass(frozen=True, slots=True)
class Effect:
    """A gain as it is reported.  Every field but ``z`` and the numbers of runs is in the metric's unit; positive is
    better.

    The interval is as wide as it would be for a change that was not selected.  For changes that were kept, the interval
    contains the true gain in fewer than 90 % of cases (`bench/judge.py` counts them); only :mod:`certificate` measures
    without selection.
    """

    gain: float
    low: float
    high: float
    """Ends of the 90 % interval."""
    z: float
    """``gain / error``."""
    runs_candidate: int
    runs_incumbent: int
    error: float
    """Standard error of the difference as measured."""
    raw: float
    """The difference as it was measured, not shrunk towards zero."""
    speed_error: float = 0.0
    """Part of ``error`` that is due to a difference in the machine's speed."""
    speed_gain: float = 0.0
    """Part of ``raw`` that was added because the runs were not equally fast."""


def effect_of(comparison: Difference, recent_effects: Sequence[float]) -> Effect:
    """Return the effect for a difference, given the measured gains of the changes that were kept before.

    The gain of this difference is added to those gains; without this addition, the first large gain of a session would
    be halved.  Raises ValueError when the comparison has no standard error.
    """
    if not comparison.error:
        raise ValueError("a difference without a standard error has no effect to report")
    spread = effect_variance((*recent_effects, comparison.gain), comparison.sigma, comparison.error)
    shrink = spread / (spread + comparison.error**2)
    gain, error = comparison.gain * shrink, comparison.error
    reach = quantile((1 + _COVERAGE) / 2, comparison.dof) * error
    return Effect(
        gain=gain,
        low=gain - reach,
        high=gain + reach,
        z=gain / error,
        runs_candidate=comparison.runs_candidate,
        runs_incumbent=comparison.runs_incumbent,
        error=error,
        raw=comparison.gain,
        speed_error=comparison.speed_error,
        speed_gain=comparison.speed_gain,
    )


def effect_variance(recent_effects: Sequence[float], sigma: float, error: float) -> float:
    """Return tau^2, the variance of true effects around 0, from measured effects of standard error ``error``.

    The prior keeps the estimate above 0; without the prior, one weak keep would shrink all later gains to nothing.
    """
    seen = math.fsum(max(0.0, effect**2 - error**2) for effect in recent_effects)
    return (_PRIOR_WEIGHT * (_PRIOR_SIGMA * sigma) ** 2 + seen) / (_PRIOR_WEIGHT + len(recent_effects))


def in_words(effect: Effect) -> str:
    """Return ``gain 0.0041 +- 0.0018 (2.3 sigma, 2 runs each)``; the error is shown to two digits.

    The line mentions the machine's speed when the speed changes the gain or its error noticeably.
    """
    digits = digits_of(effect.error)
    word = "loss" if effect.gain < 0 else "gain"
    size = f"{word} {abs(effect.gain):.{digits}f} +- {effect.error:.{digits}f}"
    allowed = f", {BY_SPEED}" if by_speed(effect) else ""
    return f"{size} ({abs(effect.z):.1f} sigma, {_runs(effect.runs_candidate, effect.runs_incumbent)}{allowed})"


def by_speed(effect: Effect) -> bool:
    """Return whether the machine's speed changes a gain, or its error, by more than a quarter of the error."""
    return max(abs(effect.speed_gain), effect.speed_error) > effect.error / 4


def digits_of(error: float) -> int:
    """Return the number of decimals that show two significant digits of ``error``; 6 for an error of 0."""
    return min(12, max(0, 1 - math.floor(math.log10(error)))) if error > 0 else 6


def _runs(candidate: int, incumbent: int) -> str:
    one = f"{candidate} run{'' if candidate == 1 else 's'}"
    return f"{one} each" if candidate == incumbent else f"{one} against {incumbent}"


def recorded(effect: Effect) -> dict[str, float]:
    """Return an effect as it is written in the ledger, to six significant digits, because the rest is rounding noise.

    The parts that are due to the machine's speed are left out when they are zero.
    """
    fields = asdict(effect)
    return {name: _rounded(field) for name, field in fields.items() if field or not name.startswith("speed_")}


def _rounded(field: float) -> float:
    return field if isinstance(field, int) else float(f"{field:.6g}")
