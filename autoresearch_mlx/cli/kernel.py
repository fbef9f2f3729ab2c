"""``kernel``: make one function of the training step faster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from autoresearch_mlx.cli.options import json_option, lab_here, say, width
from autoresearch_mlx.errors import LabError


@click.group("kernel", context_settings={"help_option_names": ["-h", "--help"]})
def kernel_command() -> None:
    """Find out what a training step spends its time on, and make one of its functions faster.

    \b
    autoresearch-mlx kernel profile           show the operations of a step, and what is left to gain
    autoresearch-mlx kernel extract f1        make a lab in which a night makes one function faster
    """
    from autoresearch_mlx.cli.opened import interruptible

    click.get_current_context().with_resource(interruptible())  # so that `kill` leaves no child that measures


@kernel_command.command("profile")
@click.option("--step", "mode", flag_value="step", default="step", help="Profile a whole training step (default).")
@click.option("--forward", "mode", flag_value="forward", help="Profile one forward pass of the model.")
@click.option("--script", type=click.Path(path_type=Path), help="The script; default: the lab's train_mlx.py.")
@click.option("--vocab-size", type=click.IntRange(min=2), help="Size of the vocabulary; default: fits the machine.")
@click.option("--seq-len", type=click.IntRange(min=1), help="Tokens in a row; default: fits the machine.")
@click.option("--rows", type=click.IntRange(min=1), default=8, show_default=True, help="--forward: rows of a pass.")
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, help="Rows of the table.")
@click.option("--picture", type=click.Path(path_type=Path), metavar="FILE", help="Also write the bars as an SVG.")
@json_option
def profile_command(top: int, picture: Path | None, as_json: bool, **wanted: Any) -> None:
    """Show the operations of one step as a table: shapes, calls, time, share, and the best gain that is left.

    The step is traced through its gradients, and each distinct operation is run again alone. The sum of these replays
    is compared with the measured step.

    \b
    Example:
      autoresearch-mlx kernel profile --top 10 --picture bars.svg
    """
    from autoresearch_mlx.setup.kernel_labs import profile_here
    from autoresearch_mlx.targets.kernel.table import lines
    from autoresearch_mlx.targets.kernel.table import picture as drawn

    if picture is not None and (picture.is_dir() or not picture.parent.is_dir()):
        raise LabError(f"{picture} is no place for a file", "name a file in a folder that exists with --picture")
    found = profile_here(lab_here(), **wanted)
    if as_json:
        click.echo(json.dumps(found.to_json()))
    else:
        for line in lines(found, top, width()):
            click.echo(line)
    if picture is not None:
        try:
            picture.write_text(drawn(found, top), encoding="utf-8")
        except OSError as error:
            raise LabError(f"{picture} cannot be written: {error.strerror}", "name another with --picture") from None


@kernel_command.command("extract")
@click.argument("row", metavar="ROW")
@click.option("--to", "folder", type=click.Path(path_type=Path), help="The new lab; default: kernels/NAME.")
@click.option("--first", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The first candidate.")
@click.option("--script", type=click.Path(path_type=Path), help="The script; default: the lab's train_mlx.py.")
@json_option
def extract_command(row: str, folder: Path | None, first: Path | None, script: Path | None, as_json: bool) -> None:
    """Make a lab from a row of the profile; there, `run` looks for a faster version of it.

    ROW is the number of an operation, f1, f2 ... for a function of the script, or the function's name. The new lab is a
    separate git repository; candidates cannot edit its reference, shapes and tolerances.

    \b
    Example:
      autoresearch-mlx kernel extract f1
      cd kernels/orthogonalise && autoresearch-mlx run --experiments 12
    """
    from autoresearch_mlx.setup.kernel_labs import new_kernel_lab

    made = new_kernel_lab(lab_here(), row, folder, first, script, say)
    if as_json:
        click.echo(json.dumps(made.facts()))
        return
    for line in made.lines():
        click.echo(line)
