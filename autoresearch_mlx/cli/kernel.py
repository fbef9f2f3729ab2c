"""``kernel``: make one function of the training step faster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autoresearch_mlx.cli.options import json_option, lab_here, width

if TYPE_CHECKING:
    from autoresearch_mlx.targets.kernel.request import Mode


@click.group("kernel", context_settings={"help_option_names": ["-h", "--help"]})
def kernel_command() -> None:
    """Find out what a training step spends its time on, and make one of its functions faster.

    \b
    autoresearch-mlx kernel profile           show the operations of a step, and what is left to gain
    """


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
    from autoresearch_mlx.targets.kernel.table import lines
    from autoresearch_mlx.targets.kernel.table import picture as drawn

    found = profile_here(**wanted)
    if picture is not None:
        picture.write_text(drawn(found, top), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(found.to_json()))
        return
    for line in lines(found, top, width()):
        click.echo(line)


def profile_here(mode: Mode, script: Path | None, **sizes: int | None) -> Any:
    """Return the profile of the lab's script."""
    from autoresearch_mlx.hardware.machine import read_machine
    from autoresearch_mlx.hardware.profile import choose_profile
    from autoresearch_mlx.lab.config import load_settings
    from autoresearch_mlx.targets.confine import sandbox_of
    from autoresearch_mlx.targets.kernel.profiled import profiled

    lab, machine = lab_here(), read_machine()
    settings = load_settings(lab.root).settings
    fit = choose_profile(machine, settings.hardware.profile)
    return profiled(lab.root, script, mode, machine, fit, sandbox_of(settings), settings, sizes)
