"""A scaled residual stream and its RMSNorm (arXiv:1910.07467), whose values a candidate must compute."""

import mlx.core as mx


def norm_residual(x: mx.array, x0: mx.array, keep: mx.array, add: mx.array) -> tuple[mx.array, mx.array]:
    """Return h = keep x + add x0 and h / sqrt(mean(h^2) + 1e-6), for x and x0 [B, T, D], and keep and add [1]."""
    h = keep * x + add * x0
    exact = h.astype(mx.float32)
    normed = exact * mx.rsqrt(mx.mean(mx.square(exact), axis=-1, keepdims=True) + 1e-6)
    return h, normed.astype(h.dtype)


def fast(x: mx.array, x0: mx.array, keep: mx.array, add: mx.array) -> tuple[mx.array, mx.array]:
    """Return the values of ``norm_residual``, computed by MLX's own fused norm."""
    h = keep * x + add * x0
    return h, mx.fast.rms_norm(h, None, 1e-6)
