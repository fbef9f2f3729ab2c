"""Compare training files at equal time: val_bpb over common seeds, and what a step costs.

    python -m bench.recipe before.py after.py
    python -m bench.recipe before.py after.py,TOTAL_BATCH_SIZE=1024 --seeds 3 --text /usr/share/perl

A busy machine makes times longer, so two things are measured separately.  The cost of a step is processor time,
measured in short trainings that take turns.  The cost is given as a ratio to the first file's cost: the median over the
rounds.  ``--steps`` is the number of steps that the first file makes in the time in question (a ledger shows it); every
other file gets this number divided by its ratio.  The trainings with these numbers of steps share seeds, data and the
order of the data, so the values are compared in pairs.  All files get this machine's preset, then the knobs that follow
their paths.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from autoresearch_mlx.lab.source import read_knobs, set_knobs
from autoresearch_mlx.trial.conditions import Conditions
from bench.baseline import knob_in
from bench.trained import Job, conditions_for, job_for, run, train

COST_STEPS = 8
"""Steps of one short training; the first is not timed."""


@dataclass(frozen=True, slots=True)
class File:
    """A training file that is compared."""

    name: str
    """The file as it was named on the command line: the path, and the knobs that were set."""
    script: Path
    """A copy of the file with the preset and these knobs."""


@click.command()
@click.argument("files", nargs=-1)
@click.option(
    "--steps",
    type=int,
    multiple=True,
    default=(101, 303),
    show_default=True,
    help="Number of steps for which the first file is trained.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Number of common seeds; 0 measures only the cost of a step.",
)
@click.option("--first-seed", type=int, default=42, show_default=True)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Number of rounds of short trainings that measure the cost of a step.",
)
@click.option("--text", type=click.Path(path_type=Path), help="A folder of text; default: the standard library.")
@click.option("--job", hidden=True, help="Run as the child, with a Job in JSON.")
def main(
    files: Sequence[str],
    steps: Sequence[int],
    seeds: int,
    first_seed: int,
    rounds: int,
    text: Path | None,
    job: str | None,
) -> None:
    """Train FILES (PATH or PATH,KNOB=VALUE,...) on common seeds; print costs, values and paired differences."""
    if job is not None:
        click.echo(json.dumps(asdict(train(Job(**json.loads(job))))))
        return
    if not files:
        raise click.UsageError("no file: give the paths of one or more training files")
    with tempfile.TemporaryDirectory() as folder:
        conditions, profile = conditions_for(Path(folder), text)
        compared = [_prepared(Path(folder), at, each, profile.knobs) for at, each in enumerate(files)]
        ratios = costs(conditions, compared, rounds)
        for budget in steps if seeds else ():
            counts = [round(budget / ratio) for ratio in ratios]
            compare(conditions, compared, counts, range(first_seed, first_seed + seeds))


def _prepared(root: Path, at: int, given: str, preset: Any) -> File:
    path, *knobs = given.split(",")
    text = Path(path).read_text(encoding="utf-8")
    values = {name: value for name, value in preset.items() if name in read_knobs(text)}
    script = root / f"file{at}.py"
    script.write_text(set_knobs(text, {**values, **dict(knob_in(knob) for knob in knobs)}), encoding="utf-8")
    return File(given, script)


def costs(conditions: Conditions, files: Sequence[File], rounds: int) -> list[float]:
    """Print what a step of each file costs; return the ratios to the first file's."""
    found: list[list[float]] = [[] for _ in files]
    for turn in range(rounds):
        order = list(zip(files, found, strict=True))
        for file, own in order if turn % 2 == 0 else reversed(order):
            job = job_for(conditions, file.script, turn, COST_STEPS, evaluate=False)
            own.append(run(job, conditions, "bench.recipe").step_seconds)
    ratios = [statistics.median(a / b for a, b in zip(own, found[0], strict=True)) for own in found]
    click.echo("\nms a step   ratio   file")
    for file, own, ratio in zip(files, found, ratios, strict=True):
        click.echo(f"{1000 * statistics.median(own):>9.1f}   {ratio:.3f}   {file.name}")
    return ratios


def compare(conditions: Conditions, files: Sequence[File], counts: Sequence[int], seeds: range) -> None:
    """Train each file with each seed for its number of steps; print the values, and the mean differences."""
    click.echo(f"\nsteps: {', '.join(map(str, counts))}")
    values: list[list[float]] = [[] for _ in files]
    for seed in seeds:
        for file, count, own in zip(files, counts, values, strict=True):
            own.append(run(job_for(conditions, file.script, seed, count), conditions, "bench.recipe").value)
        click.echo(f"seed {seed}: " + "  ".join(f"{own[-1]:.4f}" for own in values))
    for file, own in zip(files, values, strict=True):
        click.echo(f"mean {statistics.fmean(own):.4f}  {difference(own, values[0])}  {file.name}")


def difference(own: Sequence[float], first: Sequence[float]) -> str:
    """Say by how much values differ from the first file's: the mean in percent, with its standard error."""
    percent = [100 * (a / b - 1) for a, b in zip(own, first, strict=True)]
    said = f"{statistics.fmean(percent):+.2f} %"
    return f"{said} +- {statistics.stdev(percent) / math.sqrt(len(percent)):.2f}" if len(percent) > 1 else said


if __name__ == "__main__":
    main()
