"""Run the parts of the target ``kernel`` that import MLX, in child processes only."""
