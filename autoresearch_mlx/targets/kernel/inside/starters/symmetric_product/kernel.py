"""A candidate for symmetric_product: three of four blocks are computed, and the fourth is one of them, transposed."""

import mlx.core as mx

SMALLEST = 64  # a matrix with fewer rows is multiplied as a whole  # knob: pow2 16 1024


def kernel(x: mx.array) -> mx.array:
    """Return x x^T of each matrix of a stack."""
    rows = x.shape[1]
    if rows < SMALLEST:
        return x @ x.swapaxes(-1, -2)
    upper, lower = x[:, : rows // 2], x[:, rows // 2 :]
    below = lower @ upper.swapaxes(-1, -2)
    first = mx.concatenate([upper @ upper.swapaxes(-1, -2), below.swapaxes(-1, -2)], axis=-1)
    second = mx.concatenate([below, lower @ lower.swapaxes(-1, -2)], axis=-1)
    return mx.concatenate([first, second], axis=-2)
