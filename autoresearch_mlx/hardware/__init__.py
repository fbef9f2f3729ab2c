"""Examine this computer, choose sizes that fit it, and give MLX a fast BLAS on a CPU."""
