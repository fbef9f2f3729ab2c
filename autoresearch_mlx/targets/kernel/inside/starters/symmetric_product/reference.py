"""The symmetric product of a Newton-Schulz step, as in Muon's optimiser, whose values a candidate must compute."""

import mlx.core as mx


def symmetric_product(x: mx.array) -> mx.array:
    """Return x x^T of each matrix of a stack, [K, N, N] for x [K, N, M]."""
    return x @ x.swapaxes(-1, -2)
