"""Read the computer at hand, choose sizes that fit it, and give MLX a fast BLAS on a CPU."""
