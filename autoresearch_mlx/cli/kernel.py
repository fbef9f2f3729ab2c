"""Define ``kernel``, whose commands make one function of the training step faster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from autoresearch_mlx.cli.options import json_option, lab_here, say, tag_option, width
from autoresearch_mlx.errors import LabError


@click.group("kernel", context_settings={"help_option_names": ["-h", "--help"]})
def kernel_command() -> None:
    """Find out what a training step spends its time on, and make one of its functions faster.

    \b
    autoresearch-mlx kernel profile           show the operations of a step, and the gain still possible
    autoresearch-mlx kernel extract f1        make a lab in which `run` makes one function faster
    autoresearch-mlx kernel verify            measure how much faster the kept kernels make the whole step
    autoresearch-mlx kernel install           put kept kernels into the script, behind a switch
    autoresearch-mlx kernel remove            take installed kernels out of the script
    """
    from autoresearch_mlx.cli.opened import interruptible

    click.get_current_context().with_resource(interruptible())  # so that `kill` also ends child processes


@kernel_command.command("profile")
@click.option("--step", "mode", flag_value="step", default="step", help="Profile a whole training step (default).")
@click.option("--forward", "mode", flag_value="forward", help="Profile one forward pass of the model.")
@click.option("--script", type=click.Path(path_type=Path), help="The script; default: the lab's train_mlx.py.")
@click.option(
    "--vocab-size", type=click.IntRange(min=2), help="Size of the vocabulary; default: as the machine allows."
)
@click.option(
    "--seq-len",
    type=click.IntRange(min=1),
    help="Number of tokens in each row of the input; default: as the machine allows.",
)
@click.option(
    "--rows", type=click.IntRange(min=1), default=8, show_default=True, help="--forward: number of rows in the pass."
)
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, help="Rows of the table.")
@click.option(
    "--picture", type=click.Path(path_type=Path), metavar="FILE", help="Also draw the table as bars, in an SVG file."
)
@json_option
def profile_command(top: int, picture: Path | None, as_json: bool, **wanted: Any) -> None:
    """Show the operations of one step as a table: shapes, calls, time, share, and the largest gain still possible.

    The command records the operations of the step, the gradients' included, and times each distinct operation alone.
    The sum of these times is compared with the time of the whole step.

    \b
    Example:
      autoresearch-mlx kernel profile --top 10 --picture bars.svg
    """
    from autoresearch_mlx.setup.kernel_labs import profile_here
    from autoresearch_mlx.targets.kernel.table import lines
    from autoresearch_mlx.targets.kernel.table import picture as drawn

    if picture is not None and (picture.is_dir() or not picture.parent.is_dir()):
        raise LabError(
            f"{picture} is a folder, or is in a folder that does not exist",
            "give --picture a file in a folder that exists",
        )
    say("profiling; this can take a minute or more")
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
            raise LabError(f"{picture} cannot be written: {error.strerror}", "give --picture another file") from None


@kernel_command.command("extract")
@click.argument("row", metavar="[ROW]", required=False)
@click.option("--starter", metavar="NAME", help="Make the lab from a starter; `kernel starters` lists them.")
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Folder of the new lab; default: kernels/NAME.")
@click.option(
    "--first", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="File with the first candidate."
)
@click.option("--script", type=click.Path(path_type=Path), help="The script; default: the lab's train_mlx.py.")
@json_option
def extract_command(
    row: str | None,
    starter: str | None,
    folder: Path | None,
    first: Path | None,
    script: Path | None,
    as_json: bool,
) -> None:
    """Make a lab in which `run` looks for a faster version of one operation or function of the profile.

    ROW is the number of an operation in the profile's table, or f1, f2 ... or a name for a function of the script. The
    new lab is a separate git repository. Its reference, shapes and tolerances cannot be edited by candidates.

    \b
    Example:
      autoresearch-mlx kernel extract f1
      cd kernels/orthogonalise && autoresearch-mlx run --experiments 12
      autoresearch-mlx kernel extract --starter relu_squared
    """
    from autoresearch_mlx.setup.kernel_labs import new_kernel_lab, new_starter_lab

    if (row is None) == (starter is None):
        raise click.UsageError("give either ROW, as in `kernel extract f1`, or --starter NAME")
    if row is not None:
        made = new_kernel_lab(lab_here(), row, folder, first, script, say)
    else:
        made = new_starter_lab(lab_here(), starter or "", folder, first)
    if as_json:
        click.echo(json.dumps(made.facts()))
        return
    for line in made.lines():
        click.echo(line)


@kernel_command.command("starters")
@json_option
def starters_command(as_json: bool) -> None:
    """List starters: functions of a small GPT that are worth a kernel.

    `kernel extract --starter NAME` makes a lab of the function NAME.

    \b
    Example:
      autoresearch-mlx kernel starters
    """
    from autoresearch_mlx.targets.kernel.starters import STARTERS

    if as_json:
        click.echo(json.dumps([{"name": each.name, "words": each.words} for each in STARTERS]))
        return
    longest = max(len(each.name) for each in STARTERS)
    for each in STARTERS:
        click.echo(f"{each.name:{longest}}  {each.words}")


_script_option = click.option(
    "--script",
    type=click.Path(path_type=Path),
    help="The training script; default: the lab's own.",
)


@kernel_command.command("verify")
@click.argument("labs", metavar="[LAB]...", nargs=-1, type=click.Path(path_type=Path, exists=True, file_okay=False))
@_script_option
@click.option("--processes", type=click.IntRange(min=2), default=5, show_default=True, help="Number of processes.")
@click.option(
    "--pairs", type=click.IntRange(min=2), default=6, show_default=True, help="Pairs of timed blocks in each process."
)
@click.option(
    "--each", "every", is_flag=True, help="Measure every kernel that a lab has kept, not only the last kernel."
)
@tag_option
@json_option
def verify_command(
    labs: tuple[Path, ...],
    script: Path | None,
    processes: int,
    pairs: int,
    every: bool,
    tag: str | None,
    as_json: bool,
) -> None:
    """Measure how much faster kept kernels make the whole training step, which is the speed-up to report.

    The kernels are put into copies of the script: each kernel alone, then all together. In each of several new
    processes, the step with the kernel and the plain step are timed in alternation (A B B A).  Without LAB, the command
    measures the lab you are in, or all labs in kernels/. The script itself is not changed.

    \b
    Example:
      autoresearch-mlx kernel verify --processes 5
    """
    from autoresearch_mlx.setup.kernel_steps import in_step, kept_of, verify

    path, kept = kept_of(lab_here(), labs, script, tag, say, every)
    lines = []
    for kernel in kept:
        lines.append(verify(kernel, path, processes, pairs, say))
        if not as_json:
            click.echo(f"{kernel.words}: {lines[-1].words()}")
            if lines[-1].partly:
                click.echo(f"note: {lines[-1].partly}")
    last = list({kernel.task.function: kernel for kernel in kept}.values())
    if len(last) > 1:
        lines.append(in_step(last, path, processes, pairs, say))
        if not as_json:
            click.echo(f"all {len(last)} together: {lines[-1].words()}")
    if as_json:
        click.echo(json.dumps([each.facts() for each in lines]))


@kernel_command.command("install")
@click.argument("labs", metavar="[LAB]...", nargs=-1, type=click.Path(path_type=Path, exists=True, file_okay=False))
@_script_option
@click.option("--off", is_flag=True, help="Set the switch to False, so that the kernel is not used.")
@tag_option
@json_option
def install_command(labs: tuple[Path, ...], script: Path | None, off: bool, tag: str | None, as_json: bool) -> None:
    """Put the last kept kernel of each lab into the script, behind a switch such as KERNEL_ATTEND = True.

    The command adds lines after the function and changes no other line; `remove` takes out exactly the added lines. If
    a kernel cannot be built, or if its first outputs differ from the function's, a run uses the plain function and its
    log says so. Without LAB, the command uses the lab you are in, or all labs in kernels/.

    \b
    Example:
      autoresearch-mlx kernel install kernels/capped_loss
    """
    from autoresearch_mlx.setup.kernel_install import install
    from autoresearch_mlx.setup.kernel_steps import kept_of

    path, kept = kept_of(lab_here(), labs, script, tag, say)
    lines = install(kept, path, not off)
    if as_json:
        click.echo(json.dumps({"script": str(path), "functions": [each.task.function for each in kept]}))
        return
    for line in lines:
        click.echo(line)


@kernel_command.command("remove")
@click.argument("functions", metavar="[FUNCTION]...", nargs=-1)
@_script_option
@json_option
def remove_command(functions: tuple[str, ...], script: Path | None, as_json: bool) -> None:
    """Take installed kernels out of the script again; without FUNCTION, take out all kernels.

    The command removes exactly the lines that `install` added; your own edits of other lines stay.  A kernel whose
    lines were edited stays in the script, and a message names that kernel.

    \b
    Example:
      autoresearch-mlx kernel remove capped_loss
    """
    from autoresearch_mlx.setup.kernel_install import remove
    from autoresearch_mlx.setup.kernel_steps import script_here

    path = script_here(lab_here(), script)
    removed = remove(functions, path)
    if as_json:
        click.echo(json.dumps({"script": str(path), "functions": removed}))
        return
    click.echo(f"{path.name}: removed {', '.join(removed)}; the plain functions are used")
