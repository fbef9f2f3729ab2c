"""Measure the baseline on this machine at a fixed budget: tokens/s, seconds by phase, val_bpb, and how much they vary.

    python -m bench.baseline                     three runs at the profile's own budget
    python -m bench.baseline --seconds 10 --runs 5 --knob TOTAL_BATCH_SIZE=4096

The script runs the checkout's train_mlx.py with the machine's preset, on the text of Python's standard library, as the
loop would.
"""

from __future__ import annotations

import ast
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from autoresearch_mlx.experiment import Assignment, Measurement
from autoresearch_mlx.hardware.machine import describe, read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import SCRIPT, Lab
from autoresearch_mlx.lab.source import set_knobs
from autoresearch_mlx.loop.session import preset_text
from autoresearch_mlx.targets.contract import Place
from autoresearch_mlx.targets.pretrain.kind import PretrainKind

PHASES = ("start", "compile", "train", "evaluate")


@click.command()
@click.option("--seconds", type=float, help="Training time of a run; default: the profile's.")
@click.option("--runs", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--same-seed", is_flag=True, help="Use one seed for all runs, which leaves only the machine's own noise.")
@click.option("--knob", "knobs", multiple=True, metavar="NAME=VALUE", help="Set a knob of train_mlx.py.")
def main(seconds: float | None, runs: int, same_seed: bool, knobs: Sequence[str]) -> None:
    """Measure the baseline several times; print a row for each run, then the mean and the spread."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        machine = read_machine()
        profile = choose_profile(machine)
        settings = load_settings(lab.root, {"data.source": "stdlib", "budget.seconds": seconds}).settings
        place = Place(settings, lab, machine, profile, lambda text: click.echo(text, err=True))
        kind = PretrainKind()
        conditions = kind.settle(place)
        target = kind.build(conditions, place)
        text = set_knobs(preset_text(asset(SCRIPT).read_text(), profile.knobs), dict(knob_in(k) for k in knobs))
        (lab.root / SCRIPT).write_text(text)
        click.echo(f"{describe(machine)}; profile {profile.name}; {conditions.budget.in_words()}")
        click.echo("seed   val_bpb  tokens/s  steps  peak MB  " + "  ".join(f"{p:>8}" for p in PHASES) + "  overhead")
        done = []
        for run in range(runs):
            home = lab.root / f"run{run}"
            home.mkdir()
            seed = settings.seed + (0 if same_seed else run)
            measured = target.measure(Assignment(lab.root, home, seed, lambda progress: None))
            if measured.value is None:
                raise click.ClickException(f"{measured.failure}: {measured.reason}")
            done.append(measured)
            click.echo(row(measured))
    summary(done)


def row(m: Measurement) -> str:
    spent = [getattr(m.seconds, phase) or 0.0 for phase in PHASES]
    numbers = f"{m.seed:>4}  {m.value:.6f}  {m.tokens_per_second or 0:>8,.0f}  {m.steps or 0:>5}"
    numbers += f"  {m.peak_memory_mb or 0:>7,.0f}"
    overhead = m.seconds.total() - (m.seconds.train or 0.0)
    return numbers + "  " + "  ".join(f"{s:>8.2f}" for s in spent) + f"  {overhead:>8.2f}"


def summary(done: Sequence[Measurement]) -> None:
    values = [m.value for m in done if m.value is not None]
    rates = [m.tokens_per_second for m in done if m.tokens_per_second]
    click.echo(f"val_bpb   {spread(values, '.6f')}")
    click.echo(f"tokens/s  {spread(rates, ',.0f')}")


def spread(values: Sequence[float], form: str) -> str:
    if not values:
        return "-"
    said = f"mean {statistics.fmean(values):{form}}"
    if len(values) > 1:
        said += f", sd {statistics.stdev(values):{form}}, range {max(values) - min(values):{form}}"
    return f"{said} (n = {len(values)})"


def knob_in(text: str) -> tuple[str, Any]:
    """Return name and value of ``NAME=VALUE``; a value that is not a literal is taken as a string."""
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


if __name__ == "__main__":
    main()
