"""The cross-entropy of logits under a soft cap (Gemma 2, arXiv:2408.00118), whose values a candidate must
compute."""

import mlx.core as mx


def softcap_cross_entropy(logits: mx.array, targets: mx.array, cap: float) -> mx.array:
    """Return the loss in nats of each row, float32 [N], for logits [N, V] and targets int32 [N]."""
    capped = cap * mx.tanh(logits.astype(mx.float32) / cap)
    chosen = mx.take_along_axis(capped, targets[:, None], axis=-1)[:, 0]
    return mx.logsumexp(capped, axis=-1) - chosen


def fast(logits: mx.array, targets: mx.array, cap: float) -> mx.array:
    """Return the values of ``softcap_cross_entropy``, computed by MLX's own fused loss."""
    return mx.fast.cross_entropy(cap * mx.tanh(logits.astype(mx.float32) / cap), targets)
