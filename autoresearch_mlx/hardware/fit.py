"""Choose the head size, the batch and the budget of a lab from a calibration of its machine.

Of two head sizes, the faster is chosen.  A search learns little from runs of few optimiser steps, so the profile's
batch is halved, at most twice, until a run has enough steps.  If no batch gives enough steps, the budget grows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autoresearch_mlx.hardware.calibration import Calibration, Pace
from autoresearch_mlx.hardware.profile import Profile
from autoresearch_mlx.terms import clock

LONGEST = 3.0
"""Longest budget that is chosen, as a multiple of the profile's budget.  On a 16 GB Mac, 15 minutes of training gave
1.482 bits per byte, and 5 minutes gave 1.610 (trevin-creator/autoresearch-mlx, pull request 15)."""

HEAD_SIZES = (64, 128)
"""Head sizes for which MLX's fused attention has kernels.  The faster size depends on the chip, the length of the
sequence and the version of MLX.  For example, a proposed kernel for the gradient was faster than the unfused gradient
at 64 (0.73 to 0.85 of the time), and slower at 128 (1.32 to 1.49; ml-explore/mlx, pull request 3241)."""
FASTER = 0.97
"""The other head size is chosen if its step time is at most this share of the profile's; a share nearer to 1 may be
noise."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The head size, batch and budget that were chosen, and why."""

    budget_seconds: float
    knobs: Mapping[str, Any]
    words: str
    """The reason, in a sentence."""


def choose(profile: Profile, calibration: Calibration) -> Choice:
    """Choose the faster head size, then the largest timed batch with enough steps.

    If no batch gives enough steps, the batch with the most steps gets a longer budget.  The same profile and
    calibration always lead to the same choice.
    """
    other, ratio = calibration.other_head, calibration.head_ratio()
    if other is not None and ratio is not None and ratio <= FASTER:
        paces = tuple(_scaled(pace, ratio) for pace in calibration.paces)
        found = choose(
            replace(profile, knobs={**profile.knobs, "HEAD_DIM": other.head_dim}),
            replace(calibration, paces=paces, other_head=None),
        )
        own = profile.knobs["HEAD_DIM"]
        return replace(found, words=f"{found.words}; heads of {other.head_dim}: {ratio:.2f} of the time of {own}")
    timed = [p for p in calibration.paces if p.seconds is not None and p.tokens >= profile.least_batch]
    if not timed:
        return Choice(profile.budget_seconds, profile.knobs, "no step was timed: the profile's batch and budget stay")
    budget = profile.budget_seconds
    enough = next((p for p in timed if _steps(p, budget) >= profile.enough_steps), None)
    if enough is not None:
        return Choice(budget, _knobs(profile, enough), _words(profile, calibration, enough))
    best = max(timed, key=lambda pace: _steps(pace, budget))
    longer = _longer(profile, best)
    return Choice(longer, _knobs(profile, best), _longer_words(profile, best, longer))


def fitted(profile: Profile, choice: Choice) -> Profile:
    """Return the profile with the chosen head size, batch and budget."""
    return replace(profile, budget_seconds=choice.budget_seconds, knobs=choice.knobs)


def other_head(profile: Profile) -> int | None:
    """Return the head size, in channels, to time besides the profile's; None on a CPU, or if no other size fits.

    A size fits if it divides the model's width.  The width does not change, so both sizes compute the same products.
    The head size of the profile `cpu` was measured in advance (docs/log.md).
    """
    if profile.device != "gpu":
        return None
    own, knobs = profile.knobs["HEAD_DIM"], profile.knobs
    width = math.ceil(knobs["DEPTH"] * knobs["ASPECT_RATIO"] / own) * own
    fit = [size for size in HEAD_SIZES if size != own and width % size == 0]
    return fit[0] if fit else None


def batches(profile: Profile) -> tuple[tuple[int, int], ...]:
    """Return the batches to time as (rows of a pass, tokens of a step): the profile's batch, half of it, a quarter.

    A step never shrinks below ``least_batch`` tokens.  At that size only the passes get smaller, and a step has more
    passes.
    """
    rows, tokens = profile.knobs["DEVICE_BATCH_SIZE"], profile.knobs["TOTAL_BATCH_SIZE"]
    halves = [(rows // part, max(tokens // part, min(tokens, profile.least_batch))) for part in (1, 2, 4)]
    return tuple((r, t) for r, t in halves if r >= 1)


def _scaled(pace: Pace, ratio: float) -> Pace:
    return pace if pace.seconds is None else replace(pace, seconds=pace.seconds * ratio)


def _steps(pace: Pace, seconds: float) -> int:
    assert pace.seconds is not None
    return int(seconds / pace.seconds)


def _knobs(profile: Profile, pace: Pace) -> dict[str, Any]:
    return {**profile.knobs, "DEVICE_BATCH_SIZE": pace.rows, "TOTAL_BATCH_SIZE": pace.tokens}


def _longer(profile: Profile, pace: Pace) -> float:
    """Return the seconds for enough steps, rounded up to a tenth of the profile's budget; at most ``LONGEST``
    budgets."""
    assert pace.seconds is not None
    unit = profile.budget_seconds / 10
    return min(math.ceil(profile.enough_steps * pace.seconds / unit) * unit, LONGEST * profile.budget_seconds)


def _words(profile: Profile, calibration: Calibration, chosen: Pace) -> str:
    first, said = calibration.paces[0], _sum(profile, chosen)
    if chosen == first:
        return f"{said}: the profile's batch and budget stay"
    gives = f"{_steps(first, profile.budget_seconds):,}" if first.seconds is not None else None
    why = f"failed ({first.failure})" if gives is None else f"gives only {gives}"
    return f"{said}: a smaller batch, since {first.tokens:,} tokens in passes of {first.rows} rows {why}"


def _longer_words(profile: Profile, pace: Pace, longer: float) -> str:
    few = f"only {_sum(profile, pace)}"
    if _steps(pace, longer) >= profile.enough_steps:
        return f"{few}: a longer run, {clock(longer)}"
    smaller = "; the sizes of a smaller machine would fit better, --hardware mac-8gb" if profile.device == "gpu" else ""
    return f"{few}: the longest run, {clock(longer)}, with {_steps(pace, longer):,}{smaller}"


def _sum(profile: Profile, pace: Pace) -> str:
    """Return how many steps fit into the profile's budget: ``840 steps of 8,192 tokens in 5:00, 750 wanted``."""
    budget = profile.budget_seconds
    steps = f"{_steps(pace, budget):,} steps of {pace.tokens:,} tokens"
    return f"{steps} in {clock(budget)}, {profile.enough_steps} wanted"
