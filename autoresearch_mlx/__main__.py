"""``python -m autoresearch_mlx`` is the command line."""

from autoresearch_mlx.cli import main

if __name__ == "__main__":
    main()
