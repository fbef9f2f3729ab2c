"""Stop a run that has already lost, and record how much time such stops save and how often they were wrong.

The loss at half the budget says little about the order of good configurations; it only shows clear losers.  So the
margin is wide, and changes that reshape the loss curve are exempt.  One loser in eight may finish, which shows how
often the rule is wrong.  A stopped run has no value, and its only verdict is discard.
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
"""Training loss during the run, as pairs in order of time: the share of the budget used (0 to 1), and the loss."""


@dataclass(frozen=True, slots=True)
class EarlyRules:
    """The rules for stopping a run early."""

    after: float = 0.6
    """Share of the budget before which only diverged runs are stopped."""
    margin: float = 0.03
    """A run is stopped if its smoothed loss exceeds the incumbent's loss by more than this share of the incumbent's
    loss."""
    window: float = 0.1
    """Share of the budget over which the loss is averaged."""
    full_runs: int = 20
    """Number of runs that must have finished before a run is stopped for a high loss; a diverged run is stopped at any
    time."""
    audit_every: int = 8
    """An experiment whose number is a multiple of this value is allowed to finish."""
    exempt: tuple[str, ...] = ("schedule", "batch", "ema")
    """Axes, or families of axes, whose changes alter the shape of the loss curve, so that losses after equal work
    cannot be compared."""
    diverged: float = 1.5
    """Ratio of smoothed loss to first loss above which a run has diverged."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The rule's decision on a run that has lost."""

    reason: str
    share: float
    """Share of the budget used when the rule applied."""
    audit: bool = False
    """True if the run is allowed to finish, to check the rule."""
    gap: float | None = None
    """Excess of the run's loss over the incumbent's, as a share of the incumbent's loss; None if the run diverged."""

    @property
    def verdict(self) -> Verdict:
        """The verdict on a run that was stopped."""
        return Verdict("discard", self.reason)


def should_stop(
    curve: Curve,
    incumbent: Curve,
    number: int,
    axis: str | None,
    full_runs: int,
    rules: EarlyRules | None = None,
    pace: float = 1.0,
) -> Stop | None:
    """Return why the run of experiment ``number`` has already lost, judged by its ``curve`` so far; None if it may
    continue.

    ``full_runs`` is the number of runs of the session that have finished.  ``pace`` is the result of :func:`pace`.
    """
    rules = rules or EarlyRules()
    if not curve:
        return None
    share = curve[-1][0]
    if (diverged := _diverged(curve, rules)) is not None:
        return Stop(f"{diverged} at {share:.0%} of the budget", share)
    if share < rules.after or full_runs < rules.full_runs or _exempt(axis, rules):
        return None
    gap = gap_to(curve, incumbent, rules.window, pace)
    if gap is None or gap <= rules.margin:
        return None
    beside = "the incumbent's" if pace == 1 else "the incumbent's after the same number of tokens,"
    reason = f"loss {gap:.1%} above {beside} at {share:.0%} of the budget"
    return Stop(reason, share, audit=number % rules.audit_every == 0, gap=gap)


def pace(curve: Curve, tokens: int | None, whole: int | None) -> float:
    """Return the work that a run has done so far, relative to the incumbent's work at the same share of the budget; at
    most 1.

    ``tokens`` is the number of tokens trained on so far, ``whole`` the number in the incumbent's whole run.  On a
    slower machine a run falls behind the incumbent although its file is not to blame.  Returns 1 if the tokens are
    unknown.  Returns 1 also for a run that is ahead of the incumbent, because a faster file has earned its lead.
    """
    if not curve or not tokens or not whole or curve[-1][0] <= 0:
        return 1.0
    return min(1.0, tokens / (curve[-1][0] * whole))


def gap_to(curve: Curve, incumbent: Curve, window: float, pace: float = 1.0) -> float | None:
    """Return how far the smoothed loss lies above the incumbent's loss after the same work, as a share of the
    incumbent's loss.

    Returns None if the incumbent's curve does not reach this point, or if the incumbent's loss is not above zero.
    """
    recent = _recent(curve, window)
    before = [loss_at(incumbent, share * pace) for share, _ in recent]
    known = [loss for loss in before if loss is not None]
    if not known or len(known) < len(before) or fmean(known) <= 0:
        return None
    return fmean(loss for _, loss in recent) / fmean(known) - 1


def _diverged(curve: Curve, rules: EarlyRules) -> str | None:
    loss, first = curve[-1][1], curve[0][1]
    if not math.isfinite(loss):
        return "the loss is not a number"
    smooth = fmean(loss for _, loss in _recent(curve, rules.window))
    if first > 0 and smooth > rules.diverged * first:
        return f"the loss diverged from {first:.3g} at the start to {smooth:.3g}"
    return None


def _recent(curve: Curve, window: float) -> list[tuple[float, float]]:
    return [(share, loss) for share, loss in curve if share > curve[-1][0] - window]


def loss_at(curve: Curve, share: float) -> float | None:
    """Return the loss at this progress by linear interpolation, or None outside the curve."""
    for (left, low), (right, high) in pairwise(curve):
        if left <= share <= right:
            return low if right == left else low + (high - low) * (share - left) / (right - left)
    return None


def _exempt(axis: str | None, rules: EarlyRules) -> bool:
    """Return whether an axis is exempt: ``schedule`` covers ``schedule.warmup``; an unknown axis is always exempt."""
    return axis is None or any(axis == name or axis.startswith(f"{name}.") for name in rules.exempt)


@dataclass(frozen=True, slots=True)
class Past:
    """An experiment that the rule declared lost: the share of the budget that it had used by then, and its later
    verdict."""

    share: float
    seconds: float
    """Seconds that a whole run of this experiment takes."""
    audited: bool
    status: Status
    """The experiment's verdict.  The rule was wrong if the experiment was audited and kept."""


@dataclass(frozen=True, slots=True)
class Account:
    """The time that the rule has saved, and the number of its errors."""

    stopped: int
    saved_seconds: float
    audits: int
    wrong: int
    """Number of audited experiments that were kept after all."""
    error_rate: float | None
    """``wrong / audits``, or None if there was no audit."""
    error_high: float | None
    """Upper 95 % confidence bound of the error rate (Clopper and Pearson, Biometrika 26, 1934)."""


def account(past: Sequence[Past]) -> Account:
    """Return what the rule has saved, and how often its audits found it wrong.  Interrupted audits are left out."""
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
    """Return the one-sided Clopper-Pearson bound of an error rate, after ``wrong`` errors in ``of`` cases.

    If the bound were the true rate, ``wrong`` errors or fewer would be seen with probability 1 - ``confidence``.
    """
    if wrong >= of:
        return 1.0
    low, high = wrong / of, 1.0
    for _ in range(50):
        rate = (low + high) / 2
        seen = math.fsum(math.comb(of, k) * rate**k * (1 - rate) ** (of - k) for k in range(wrong + 1))
        low, high = (rate, high) if seen > 1 - confidence else (low, rate)
    return high
