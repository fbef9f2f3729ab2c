"""``init``: make a lab."""

from __future__ import annotations

from pathlib import Path

import click

from autoresearch_mlx.cli.options import say


@click.command("init")
@click.argument("directory", required=False, default=".", type=click.Path(file_okay=False, path_type=Path))
def init_command(directory: Path) -> None:
    """Make a lab in DIRECTORY: train_mlx.py sized for this machine, program.md and lab.toml.

    Outside any git repository it also makes one and commits the files.  Existing files are left as they are.

    \b
    Example:
      autoresearch-mlx init mylab && cd mylab && autoresearch-mlx run
    """
    from autoresearch_mlx.setup.template import make_lab

    for line in make_lab(directory, say):
        click.echo(line)
