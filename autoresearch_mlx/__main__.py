"""Run the command line when Python is started as ``python -m autoresearch_mlx``."""

from autoresearch_mlx.cli import main

if __name__ == "__main__":
    main()
