"""Turn logits into losses in nats and bits per byte, in the process that does not run the edited file.

    val_bpb = sum of nats over targets of weight > 0  /  (ln 2 x sum of their bytes)

The loss of a target is minus the logarithm of its softmax over the whole vocabulary.  The loss is computed in float32,
after the largest logit of the position is subtracted.  Otherwise rounding would lose the logarithm beside large logits,
and constant logits of 1e9 would score 0.  Logits beyond :data:`BOUND` are clipped and counted.  The weight of a token
is its number of raw bytes; special tokens have weight 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autoresearch_mlx.trial.exchange import Invalid, Raw, Tokens
from autoresearch_mlx.trial.spec import Device

BOUND = 1e6
"""Logits are clipped to [-BOUND, BOUND] before they are scored.

The logits of an honest model stay below a few hundred.
"""
_SUM_TOLERANCE = 1e-3

Nats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Losses:
    """The losses of some targets: ``nats``, float32 [n, seq_len], and the number of logits that were clipped.

    ``normalisers`` [n, seq_len] has the logarithm of the softmax's denominator at each position, computed from the
    clipped logits.
    """

    nats: Nats
    normalisers: Nats
    clipped: int


Score = Callable[[Raw, str, Tokens], Losses]
"""Function that takes logits [n, seq_len, vocab] in shared memory, their dtype's name, and targets [n, seq_len].

The function copies the logits first, because a model process can still write to the shared memory.  A position with a
logit of NaN or plus infinity has a loss of NaN.  A target whose logit is minus infinity has an infinite loss.
"""


def score_on(device: Device) -> Score:
    """Return the scoring function for this device: it uses MLX on a GPU, and numpy on a CPU.

    On a CPU, a measurement found numpy's exp four times as fast as MLX's logsumexp.
    """
    return _score_with_mlx() if device == "gpu" else score


def score(bits: Raw, dtype: str, targets: Tokens) -> Losses:
    """Score row by row, so that no copy is larger than one row's logits."""
    nats = np.empty(targets.shape, np.float32)
    normalisers = np.empty(targets.shape, np.float32)
    clipped = 0
    for at, row in enumerate(bits):
        wide = widened(row, dtype)
        with np.errstate(all="ignore"):
            largest = wide.max(axis=-1, keepdims=True)
            bad = ~(largest[..., 0] < np.inf)  # NaN or infinite
            of_target = np.take_along_axis(wide, targets[at][:, None], axis=-1)[..., 0]
            if not (largest.max() <= BOUND and wide.min() >= -BOUND):
                clipped += int((np.isfinite(wide) & (np.abs(wide) > BOUND)).sum())
                np.clip(wide, -BOUND, BOUND, out=wide)
                np.clip(largest, -BOUND, BOUND, out=largest)
            kept = np.where(np.isneginf(of_target), -np.inf, np.clip(of_target, -BOUND, BOUND))
            wide -= largest
            np.exp(wide, out=wide)
            log_sum = np.log(wide.sum(axis=-1))
        # The maximum is subtracted from both terms first, because near BOUND a float32 has too few digits.
        nats[at] = np.where(bad, np.nan, log_sum - (kept - largest[..., 0]))
        normalisers[at] = log_sum + largest[..., 0]
    return Losses(nats, normalisers, clipped)


def score_wide(bits: Raw, dtype: str, targets: Tokens) -> npt.NDArray[np.float64]:
    """Compute the losses [n, seq_len] in float64, row by row.

    A position with a logit of NaN or plus infinity has a loss of NaN.
    """
    nats = np.empty(targets.shape, np.float64)
    for at, row in enumerate(bits):
        wide = widened(row, dtype).astype(np.float64)
        with np.errstate(all="ignore"):
            bad = ~(wide.max(axis=-1) < np.inf)
            of_target = np.take_along_axis(wide, targets[at][:, None], axis=-1)[..., 0]
            np.clip(wide, -BOUND, BOUND, out=wide)
            kept = np.where(np.isneginf(of_target), -np.inf, np.clip(of_target, -BOUND, BOUND))
            largest = wide.max(axis=-1, keepdims=True)
            log_sum = np.log(np.exp(wide - largest).sum(axis=-1))
        nats[at] = np.where(bad, np.nan, log_sum - (kept - largest[..., 0]))
    return nats


def widened(bits: Raw, dtype: str) -> npt.NDArray[np.float32]:
    """Return a float32 copy of the logits."""
    if dtype == "bfloat16":
        return (bits.astype(np.uint32) << 16).view(np.float32)
    return bits.astype(np.float32)


def _score_with_mlx() -> Score:
    import mlx.core as mx

    def on_gpu(bits: Raw, dtype: str, targets: Tokens) -> Losses:
        raw = mx.array(bits)
        wide = (raw.view(mx.bfloat16) if dtype == "bfloat16" else raw).astype(mx.float32)
        largest = mx.max(wide, axis=-1, keepdims=True)
        of_target = mx.take_along_axis(wide, mx.array(targets)[..., None], axis=-1)[..., 0]
        clipped = mx.sum(mx.isfinite(wide) & (mx.abs(wide) > BOUND))
        bad = ~(largest[..., 0] < math.inf)
        wide, largest = mx.clip(wide, -BOUND, BOUND), mx.clip(largest, -BOUND, BOUND)
        kept = mx.where(mx.isneginf(of_target), -math.inf, mx.clip(of_target, -BOUND, BOUND))
        log_sum = mx.log(mx.sum(mx.exp(wide - largest), axis=-1))
        nats = mx.where(bad, math.nan, log_sum - (kept - largest[..., 0]))
        return Losses(np.array(nats), np.array(log_sum + largest[..., 0]), int(np.array(clipped)))

    return on_gpu


def check_sums(bits: Raw, dtype: str, found: Losses, rng: np.random.Generator) -> None:
    """Check in float64, at one random position of each row, that the probabilities sum to 1.

    Raises Invalid for any other sum: then the device computes wrongly, or the shared memory changed during reading.
    """
    for at, row in enumerate(bits):
        place = int(rng.integers(0, row.shape[0]))
        normaliser = float(found.normalisers[at, place])
        wide = np.clip(widened(row[place], dtype).astype(np.float64), -BOUND, BOUND)
        if np.isnan(found.nats[at, place]) or np.isnan(wide).any():
            continue
        total = float(np.exp(wide - normaliser).sum())
        # Far from 0 the normaliser itself is rounded: by 0.06 near BOUND.
        if abs(total - 1) > _SUM_TOLERANCE + 2 * np.spacing(np.float32(abs(normaliser))):
            raise Invalid(f"arithmetic: the probabilities of a token sum to {total:.6g}")


def check_finite(nats: Nats, counted: npt.NDArray[np.bool_]) -> None:
    """Raise Invalid if a target that counts has no finite loss, or if any logits are NaN."""
    bad = int((~np.isfinite(nats[counted])).sum() + np.isnan(nats[~counted]).sum())
    if bad:
        raise Invalid(f"finite: the logits give no finite loss for {bad} of {nats.size} tokens")


def bits_per_byte(nats: float, targets: Tokens, weight: npt.NDArray[Any]) -> float:
    """Convert a sum of losses into bits per byte.

    ``nats`` is the sum of the losses of all ``targets`` [n, seq_len] that count.  ``weight`` has the number of bytes of
    each token.  Raises Invalid for a value that is not finite.
    """
    value = nats / (math.log(2) * int(weight[targets].sum()))
    if not math.isfinite(value):
        raise Invalid(f"finite: val_bpb is {value}")
    return value
