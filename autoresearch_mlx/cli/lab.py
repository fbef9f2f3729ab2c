"""Define ``init``, which makes a lab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from autoresearch_mlx.cli.options import NumberRange, json_option, say, width

_NUMBERS = ("speed", "size", "test-time", "coverage", "bundle", "page", "terraform", "printed")


@click.command("init")
@click.argument("directory", required=False, default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--recipe", metavar="NAME", help="Make a lab that improves a number other than the loss; `list` shows the recipes."
)
@click.option("--about", metavar="SENTENCE", help="Make a lab of your repository from a sentence: docs/about-labs.md.")
@click.option(
    "--number", type=click.Choice(_NUMBERS), help="--about: the number to improve; default: as the sentence says."
)
@click.option("--editable", metavar="PATH", multiple=True, help="--about: a file that may be edited; repeatable.")
@click.option("--guard", metavar="LINE", help="--about: the shell line that fails when an edit breaks something.")
@click.option(
    "--model", metavar="NAME", help="--about: the model to ask; `none` uses rules alone; default: as for `run`."
)
@click.option(
    "--runs",
    type=click.IntRange(min=2),
    default=5,
    show_default=True,
    help="--about: number of runs of the unedited commit in the proof.",
)
@click.option(
    "--test-seconds",
    type=NumberRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    help="--about: the longest time that the tests may take.",
)
@click.option("--yes", is_flag=True, help="--about: write the proved lab without asking.")
@json_option
def init_command(
    directory: Path, recipe: str | None, about: str | None, yes: bool, as_json: bool, **given: Any
) -> None:
    """Make a lab in DIRECTORY: train_mlx.py sized for this machine, program.md and lab.toml.

    If DIRECTORY is in no git repository, the command also makes a repository and commits the files.  It never changes
    an existing file.

    With --recipe, the lab improves a number other than the loss, such as the size of a program.  The lab has a small
    example to improve, a script that measures the example, and checks that an edit must pass.

    With --about, the command makes a lab of your own repository; the sentence says what should get better.  The command
    proposes the number, the files to edit, the scripts that measure and the checks.  Before the command writes a
    file, it tries the proposed lab with `check`, in a copy of the last commit.

    \b
    Example:
      autoresearch-mlx init mylab && cd mylab && autoresearch-mlx run
      autoresearch-mlx init --recipe list
      autoresearch-mlx init --recipe size mysize
      autoresearch-mlx init --about "make the parser in src/parse.py faster"
    """
    if about is not None:
        _from_sentence(directory, recipe, about, yes, as_json, given)
        return
    _refuse_without_sentence()
    from autoresearch_mlx.setup.recipes import find_recipe, listing
    from autoresearch_mlx.setup.template import make_lab

    if recipe == "list":
        click.echo("\n".join(listing(width())))
        return
    for line in make_lab(directory, say, find_recipe(recipe) if recipe is not None else None):
        click.echo(line)


def _refuse_without_sentence() -> None:
    """Raise UsageError if the command line has an option that needs --about."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        named = name not in ("directory", "recipe", "about")
        if named and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} needs --about, the sentence that says what should get better")


def _from_sentence(
    directory: Path, recipe: str | None, about: str, yes: bool, as_json: bool, given: dict[str, Any]
) -> None:
    from autoresearch_mlx.cli.about import make_from_sentence
    from autoresearch_mlx.setup.about.about import Wanted

    if recipe is not None:
        raise click.UsageError("give either --about, for your repository, or --recipe, for an example")
    make_from_sentence(directory, Wanted(about, **given), yes, as_json)
