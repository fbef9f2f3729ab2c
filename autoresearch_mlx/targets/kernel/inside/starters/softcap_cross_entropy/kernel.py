"""A candidate for softcap_cross_entropy: capped logits lie within +-cap, so the sum needs no maximum."""

import mlx.core as mx

COMPILE = False  # run kernel() under mx.compile  # knob: choice True False


def kernel(logits: mx.array, targets: mx.array, cap: float) -> mx.array:
    """Return the loss in nats of each row.  exp(cap) is finite in float32 for a cap up to 80."""
    chosen = mx.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
    capped = cap * mx.tanh(logits.astype(mx.float32) * (1 / cap))
    return mx.log(mx.sum(mx.exp(capped), axis=-1)) - cap * mx.tanh(chosen.astype(mx.float32) * (1 / cap))
