"""The computer at hand: what it is, which sizes fit it, and how MLX gets a fast BLAS on a CPU."""
