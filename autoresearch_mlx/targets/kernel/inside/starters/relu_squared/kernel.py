"""A candidate for relu_squared: a product of two numbers of one type is rounded once, so no cast is needed."""

import mlx.core as mx

COMPILE = False  # run kernel() under mx.compile  # knob: choice True False


def kernel(x: mx.array) -> mx.array:
    """Return max(x, 0)^2."""
    positive = mx.maximum(x, 0)
    return positive * positive
