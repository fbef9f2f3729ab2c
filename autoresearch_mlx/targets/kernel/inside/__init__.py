"""Code that imports MLX, and runs in child processes only."""
