"""Measure what a fast BLAS gains on this Linux machine: matrix product and training, as ratios within one run.

    python -m bench.blas [--seconds 10]

Three settings take turns: MLX's own BLAS, the preloaded one with one thread, and the preloaded one with a thread for
each core.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from autoresearch_mlx.experiment import Assignment
from autoresearch_mlx.hardware.blas import child_environment, find_blas
from autoresearch_mlx.hardware.machine import describe, read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import SCRIPT, Lab
from autoresearch_mlx.loop.session import preset_text
from autoresearch_mlx.targets.contract import Place
from autoresearch_mlx.targets.corpus.prepare import default_cache
from autoresearch_mlx.targets.pretrain.kind import PretrainKind


@click.command()
@click.option("--seconds", type=float, default=10.0, show_default=True, help="Training time of each run.")
def main(seconds: float) -> None:
    """Print a row for each BLAS: GFLOP/s of a 1024 x 1024 product, tokens/s of the baseline, ratios to the first
    row."""
    machine = read_machine()
    fast = child_environment(find_blas(default_cache(), machine), {})
    if not fast:
        raise click.ClickException(
            "no BLAS is preloaded here: macOS has its own, elsewhere see `autoresearch-mlx doctor`"
        )
    cores = str(machine.cpu_cores or os.cpu_count() or 1)
    rows = {
        "MLX's own": {},
        "preloaded, 1 thread": fast,
        f"preloaded, {cores} threads": {**fast, "OPENBLAS_NUM_THREADS": cores},
    }
    click.echo(f"{describe(machine)}; {seconds:g} s of training each")
    click.echo(f"{'':<22}{'GFLOP/s':>9}{'ratio':>8}{'tokens/s':>11}{'ratio':>8}")
    first: tuple[float, float] | None = None
    for name, environment in rows.items():
        product, training = gflops(environment), tokens_per_second(environment, seconds)
        first = first or (product, training)
        click.echo(f"{name:<22}{product:>9.1f}{product / first[0]:>8.1f}{training:>11,.0f}{training / first[1]:>8.1f}")


def gflops(environment: Mapping[str, str]) -> float:
    command = [sys.executable, "-P", "-m", "autoresearch_mlx.hardware.gflops", "--size", "1024"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["gflops"])


def tokens_per_second(environment: Mapping[str, str], seconds: float) -> float:
    """Return the tokens/s of the checkout's train_mlx.py with this machine's preset, on the standard library's text."""
    with tempfile.TemporaryDirectory() as folder:
        lab, machine = Lab(Path(folder)), read_machine()
        profile = choose_profile(machine)
        settings = load_settings(lab.root, {"data.source": "stdlib", "budget.seconds": seconds}).settings
        place = Place(settings, lab, machine, profile, lambda text: click.echo(text, err=True))
        kind = PretrainKind()
        conditions = kind.settle(place)
        target = kind.build(conditions, place)
        target = replace(target, conditions=replace(target.conditions, environment=environment))
        (lab.root / SCRIPT).write_text(preset_text(asset(SCRIPT).read_text(), profile.knobs))
        home = lab.root / "run"
        home.mkdir()
        measured = target.measure(Assignment(lab.root, home, settings.seed, lambda progress: None))
    if measured.tokens_per_second is None:
        raise click.ClickException(f"{measured.failure}: {measured.reason}")
    return measured.tokens_per_second


if __name__ == "__main__":
    main()
