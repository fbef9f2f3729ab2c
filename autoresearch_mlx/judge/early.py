"""Stopping a run that has lost already, and keeping account of what that costs and saves.

Loss at half the budget hardly orders good configurations; only a clear loser shows.  So the margin is
wide, changes that reshape the curve are exempt, and one in eight is left to finish, to learn how often
the rule is wrong.  A stop never feeds a keep: a stopped run has no value, and its only verdict is discard.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import TypeAlias

from autoresearch_mlx.experiment import Status, Verdict

Curve: TypeAlias = Sequence[tuple[float, float]]
"""Training loss along the run: (share of the budget used, loss), in order."""


@dataclass(frozen=True, slots=True)
class EarlyRules:
    after: float = 0.6
    """Share of the budget before which nothing is stopped but what diverged."""
    margin: float = 0.03
    """How far above the incumbent's the smoothed loss must lie, as a share of that."""
    window: float = 0.1
    """Loss is smoothed over the last so much of the budget."""
    full_runs: int = 20
    """Runs to the end that must be known first."""
    audit_every: int = 8
    """Experiments whose number this divides are left to finish."""
    exempt: tuple[str, ...] = ("schedule", "batch", "ema")
    """Axes, or what their names begin with, whose curves do not compare at equal progress."""
    diverged: float = 1.5
    """A smoothed loss over so many times the first one is no training any more."""


@dataclass(frozen=True, slots=True)
class Stop:
    reason: str
    share: float
    """Of the budget, at which the rule spoke."""
    audit: bool = False
    """It would be stopped, but is left to finish to check the rule."""
    gap: float | None = None
    """Of its loss to the incumbent's, as a share of that; None: it diverged."""

    @property
    def verdict(self) -> Verdict:
        """What a run that was stopped ends as."""
        return Verdict("discard", self.reason)


def should_stop(
    curve: Curve, incumbent: Curve, number: int, axis: str | None, full_runs: int, rules: EarlyRules | None = None
) -> Stop | None:
    """Has this run of experiment ``number``, as far as its ``curve`` goes, lost already?

    ``full_runs`` is how many runs of the session went to their end.
    """
    rules = rules or EarlyRules()
    if not curve:
        return None
    share = curve[-1][0]
    if (diverged := _diverged(curve, rules)) is not None:
        return Stop(f"{diverged} at {share:.0%} of the budget", share)
    if share < rules.after or full_runs < rules.full_runs or _exempt(axis, rules):
        return None
    gap = gap_to(curve, incumbent, rules.window)
    if gap is None or gap <= rules.margin:
        return None
    reason = f"loss {gap:.1%} above the incumbent's at {share:.0%} of the budget"
    return Stop(reason, share, audit=number % rules.audit_every == 0, gap=gap)


def gap_to(curve: Curve, incumbent: Curve, window: float) -> float | None:
    """How far the smoothed loss lies above the incumbent's at equal progress, as a share of that.

    None where the incumbent's curve does not reach, or its loss is not above zero.
    """
    recent = _recent(curve, window)
    before = [loss_at(incumbent, share) for share, _ in recent]
    known = [loss for loss in before if loss is not None]
    if not known or len(known) < len(before) or fmean(known) <= 0:
        return None
    return fmean(loss for _, loss in recent) / fmean(known) - 1


def _diverged(curve: Curve, rules: EarlyRules) -> str | None:
    loss, first = curve[-1][1], curve[0][1]
    if not math.isfinite(loss):
        return "loss is no number"
    smooth = fmean(loss for _, loss in _recent(curve, rules.window))
    if first > 0 and smooth > rules.diverged * first:
        return f"loss {smooth:.3g} after {first:.3g} at the start: diverged"
    return None


def _recent(curve: Curve, window: float) -> list[tuple[float, float]]:
    return [(share, loss) for share, loss in curve if share > curve[-1][0] - window]


def loss_at(curve: Curve, share: float) -> float | None:
    """The loss at this progress, on the line between its neighbours; None beyond the points that there are."""
    for (left, low), (right, high) in pairwise(curve):
        if left <= share <= right:
            return low if right == left else low + (high - low) * (share - left) / (right - left)
    return None


def _exempt(axis: str | None, rules: EarlyRules) -> bool:
    """``schedule`` exempts ``schedule.warmup`` too; what is not known may have touched anything."""
    return axis is None or any(axis == name or axis.startswith(f"{name}.") for name in rules.exempt)


@dataclass(frozen=True, slots=True)
class Past:
    """An experiment that the rule spoke on: at which share, and what came of it."""

    share: float
    seconds: float
    """A whole run of it would take, or took."""
    audited: bool
    status: Status
    """Its verdict; an audited one that was kept is an error of the rule."""


@dataclass(frozen=True, slots=True)
class Account:
    stopped: int
    saved_seconds: float
    audits: int
    wrong: int
    """Audited ones that were kept after all."""
    error_rate: float | None
    """``wrong / audits``; None without an audit."""
    error_high: float | None
    """With 95 % confidence the rule's error rate is no higher (Clopper and Pearson)."""


def account(past: Sequence[Past]) -> Account:
    """What the rule has saved and how often it was wrong where somebody looked.  An interrupted audit tells nothing."""
    stopped = [each for each in past if not each.audited]
    audits = [each for each in past if each.audited and each.status in ("keep", "discard")]
    wrong = sum(each.status == "keep" for each in audits)
    return Account(
        stopped=len(stopped),
        saved_seconds=math.fsum((1 - each.share) * each.seconds for each in stopped),
        audits=len(audits),
        wrong=wrong,
        error_rate=wrong / len(audits) if audits else None,
        error_high=highest_rate(wrong, len(audits)) if audits else None,
    )


def highest_rate(wrong: int, of: int, confidence: float = 0.95) -> float:
    """The rate under which so few errors or fewer would be seen in 5 % of cases."""
    if wrong >= of:
        return 1.0
    low, high = wrong / of, 1.0
    for _ in range(50):
        rate = (low + high) / 2
        seen = math.fsum(math.comb(of, k) * rate**k * (1 - rate) ** (of - k) for k in range(wrong + 1))
        low, high = (rate, high) if seen > 1 - confidence else (low, rate)
    return high
