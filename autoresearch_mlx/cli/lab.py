"""``init``: make a lab."""

from __future__ import annotations

from pathlib import Path

import click

from autoresearch_mlx.cli.options import say, width


@click.command("init")
@click.argument("directory", required=False, default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--recipe", metavar="NAME", help="Make a lab for another number; `list` shows the recipes.")
def init_command(directory: Path, recipe: str | None) -> None:
    """Make a lab in DIRECTORY: train_mlx.py sized for this machine, program.md and lab.toml.

    Outside any git repository it also makes one and commits the files.  Existing files are left as they are.

    With --recipe the lab is for another number, such as the size of a program: it has a small example to improve, the
    script that measures it, and checks that an edit must pass.

    \b
    Examples:
      autoresearch-mlx init mylab && cd mylab && autoresearch-mlx run
      autoresearch-mlx init --recipe list
      autoresearch-mlx init --recipe size mysize
    """
    from autoresearch_mlx.setup.recipes import find_recipe, listing
    from autoresearch_mlx.setup.template import make_lab

    if recipe == "list":
        click.echo("\n".join(listing(width())))
        return
    for line in make_lab(directory, say, find_recipe(recipe) if recipe is not None else None):
        click.echo(line)
