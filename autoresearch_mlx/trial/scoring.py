"""Turn logits into nats and bits per byte, in the trusted process alone.

    val_bpb = sum of nats over targets of weight > 0  /  (ln 2 x sum of their bytes)

Bits per byte compare models with different tokenizers, which bits per token cannot (The Pile, arXiv:2101.00027,
section 3.1).  The weight of a token is the number of its raw bytes; special tokens weigh 0 and count on neither side.

The loss of a target is logsumexp(logits) - logits[target] over the whole vocabulary, so the edited file gains nothing
by logits that are not normalised.  Losses are float32; their sum is float64, so that rounding does not grow with the
number of tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from autoresearch_mlx.trial.exchange import Answer, Invalid, Raw, Tokens
from autoresearch_mlx.trial.spec import Device

Nats = npt.NDArray[np.float32]
Losses = Callable[[Answer, Tokens], Nats]
"""Function of an answer and targets [rows, seq_len] to the targets' nats, float32 [rows, seq_len].  It copies the
answer before it computes, because the model's process can still change the shared memory."""


def losses_on(device: Device) -> Losses:
    """Return MLX's arithmetic on a GPU, numpy's on a CPU, where its exp took a quarter of MLX's logsumexp."""
    return _losses_mlx() if device == "gpu" else losses


def losses(answer: Answer, targets: Tokens) -> Nats:
    """Return the nats of the targets, float32 [rows, seq_len], computed by numpy one row at a time to save memory."""
    return np.stack([_row(bits, answer.logits, y) for bits, y in zip(answer.bits, targets, strict=True)])


def _row(bits: Raw, dtype: str, targets: Tokens) -> Nats:
    wide = widened(bits, dtype)
    with np.errstate(all="ignore"):
        wide -= wide.max(axis=-1, keepdims=True)  # logsumexp: with the largest logit at 0, exp cannot overflow
        of_target = wide[np.arange(len(targets)), targets]
        np.exp(wide, out=wide)
        nats: Nats = np.log(wide.sum(axis=-1)) - of_target
    return nats


def widened(bits: Raw, dtype: str) -> npt.NDArray[np.float32]:
    """Return a float32 copy of logits of any type in BITS."""
    if dtype == "bfloat16":  # the upper half of a float32, bit by bit
        return (bits.astype(np.uint32) << 16).view(np.float32)
    return bits.astype(np.float32)


def _losses_mlx() -> Losses:
    import mlx.core as mx

    def on_gpu(answer: Answer, targets: Tokens) -> Nats:
        bits = mx.array(answer.bits)
        wide = (bits.view(mx.bfloat16) if answer.logits == "bfloat16" else bits).astype(mx.float32)
        of_target = mx.take_along_axis(wide, mx.array(targets)[..., None], axis=-1)[..., 0]
        return np.array(mx.logsumexp(wide, axis=-1) - of_target)

    return on_gpu


def check_finite(nats: Nats, counted: npt.NDArray[np.bool_]) -> None:
    """Raise Invalid when a target that counts (``counted``, like ``nats`` [rows, seq_len]) has no finite loss."""
    bad = int((~np.isfinite(nats[counted])).sum())
    if bad:
        raise Invalid(f"finite: the logits give no finite loss for {bad} of {int(counted.sum())} tokens")


def bits_per_byte(nats: Nats, targets: Tokens, weight: npt.NDArray[Any]) -> float:
    """Return the bits per byte of losses and targets, both [rows, seq_len].

    ``weight`` [vocab_size] holds the bytes of each token.  Raises Invalid for a value that is not finite.
    """
    counted = weight[targets] > 0
    value = float(nats[counted].sum(dtype=np.float64)) / (math.log(2) * int(weight[targets].sum()))
    if not math.isfinite(value):
        raise Invalid(f"finite: val_bpb is {value}")
    return value
