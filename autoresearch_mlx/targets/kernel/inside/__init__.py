"""Run the parts of the target ``kernel`` that import MLX; they run in child processes only."""
