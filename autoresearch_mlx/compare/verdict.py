"""Compute the interval of an effect, and decide from two effects whether a change carries over to another machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from autoresearch_mlx.compare.effects import Effect
from autoresearch_mlx.compare.log_noise import Noise

Word: TypeAlias = Literal[
    "carries over",
    "reverses",
    "within noise",
    "untested here",
    "tried only here",
    "failed here",
    "failed there",
    "same sign?",
    "opposite sign?",
]
IN_WORDS = (
    "Verdicts: within noise, when either 90 % interval contains 0; carries over, when both lie on the same side of 0; "
    "reverses, when they lie on opposite sides. A question mark means that the noise of one log is unknown."
)


@dataclass(frozen=True, slots=True)
class Judged:
    """An effect with its 90 % interval and its size in sigmas.  Interval and size are None if the noise of the log is
    unknown."""

    effect: Effect
    low: float | None
    high: float | None
    sigmas: float | None
    """The gain in standard deviations of one run."""

    @property
    def sign(self) -> int:
        """The sign of the effect: 1 for a gain, -1 for a loss, 0 for neither."""
        gain = self.effect.gain or 0.0
        return (gain > 0) - (gain < 0)

    @property
    def clear(self) -> bool | None:
        """Whether the interval excludes 0, or None if there is no interval."""
        return None if self.low is None or self.high is None else self.low > 0 or self.high < 0


def judged(effect: Effect, noise: Noise) -> Judged:
    """Return an effect with the interval and the size in sigmas that follow from the noise of the log."""
    low, high = noise.interval(effect) or (None, None)
    return Judged(effect, low, high, noise.sigmas(effect.gain))


def verdict(there: Judged | None, here: Judged | None) -> Word:
    """Return the verdict on a change from its effects there and here; None means that the log does not have the change.

    An effect of exactly zero is within noise.
    """
    if here is None:
        return "untested here"
    if there is None:
        return "tried only here"
    if here.effect.gain is None:
        return "failed here"
    if there.effect.gain is None:
        return "failed there"
    if there.clear is False or here.clear is False or not there.sign or not here.sign:
        return "within noise"
    same = there.sign == here.sign
    if there.clear is None or here.clear is None:
        return "same sign?" if same else "opposite sign?"
    return "carries over" if same else "reverses"
