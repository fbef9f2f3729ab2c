"""Measure a script once, when the user starts ``python train_mlx.py``, and print the same closing lines as upstream.

    python -P -m autoresearch_mlx.targets.pretrain.alone PATH/train_mlx.py

The closing lines go to stdout, and progress goes to stderr.  ``val_bpb`` comes from the sealed evaluator.  Values
that were not measured are left out.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from autoresearch_mlx.errors import AutoresearchError
from autoresearch_mlx.experiment import Assignment, Measurement, Progress
from autoresearch_mlx.hardware.calibration import Peak, Product
from autoresearch_mlx.hardware.doctor_lines import mfu_percent
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import read_knobs
from autoresearch_mlx.targets.confine import confine
from autoresearch_mlx.targets.contract import Place
from autoresearch_mlx.targets.pretrain.kind import PretrainKind
from autoresearch_mlx.targets.pretrain.peak import run_probe, table_beside
from autoresearch_mlx.targets.pretrain.target import Pretrain
from autoresearch_mlx.trial.autopsy import tail_of

RUN = "run"
"""Name of the run folder, beside the copy of the script."""


def main(script: Path) -> int:
    """Measure ``script`` once; return the exit code: 0 if there is a score, else 1."""
    began = time.monotonic()
    try:
        target = target_of(script)
    except AutoresearchError as error:
        print(f"error: {error}\nhint: {error.hint}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(target, script, Path(folder))
        if measured.value is None:
            said = tail_of(Path(folder) / RUN / "log.txt")
            print(f"{said}\n{measured.failure}: {measured.reason}", file=sys.stderr)
            return 1
    peak = peak_of(target)
    if peak is not None:
        _say(f"mfu_percent is a share of {peak.words}")
    for line in trailer(measured, time.monotonic() - began, _depth(script), peak):
        print(line)
    return 0


def target_of(script: Path) -> Pretrain:
    """Build the target under the conditions of the script's lab.  Raises AutoresearchError."""
    lab = Lab(script.parent)
    settings = load_settings(lab.root, {"target.editable": (script.name,)}).settings
    machine = read_machine()
    place = Place(settings, lab, machine, choose_profile(machine, settings.hardware.profile), _say)
    kind = PretrainKind()
    conditions = kind.settle(place)
    _say(f"{conditions.budget.in_words()} on the {conditions.device}")
    return confine(kind.build(conditions, place), settings.sandbox, (), _say)


def measure(target: Pretrain, script: Path, folder: Path) -> Measurement:
    """Measure a copy of the script once.  The copy lies in another folder, so that files that the script writes
    beside itself do not reach the lab."""
    tree, run = folder / "tree", folder / RUN
    tree.mkdir()
    run.mkdir()
    shutil.copy(script, tree)
    return target.measure(Assignment(tree, run, seed=42, watch=_Steps()))


def trailer(m: Measurement, total_seconds: float, depth: object, peak: Peak | None) -> list[str]:
    """Return the closing lines, ``key: value``, that upstream prints and that upstream's tools read."""
    rate, matrix = m.tokens_per_second, m.extra.get("matrix_params")
    mfu = mfu_percent(matrix, rate, peak.gflops) if rate and matrix and peak else None
    figures = {
        "val_bpb": _fixed(m.value, 6),
        "training_seconds": _fixed(m.seconds.train, 1),
        "total_seconds": _fixed(total_seconds, 1),
        "peak_vram_mb": _fixed(m.peak_memory_mb, 1),
        "mfu_percent": _fixed(mfu, 2),
        "total_tokens_M": _fixed(m.tokens / 1e6 if m.tokens else None, 2),
        "num_steps": m.steps,
        "num_params_M": _fixed(m.extra["num_params"] / 1e6 if "num_params" in m.extra else None, 1),
        "depth": depth,
    }
    return ["---", *(f"{key + ':':<18}{value}" for key, value in figures.items() if value is not None)]


def peak_of(target: Pretrain) -> Peak | None:
    """Return the highest speed of a matrix product, from the calibration or else measured now.

    Returns None if MLX does not work.
    """
    if target.peak is not None:
        return target.peak
    conditions = target.conditions
    dtype = "bfloat16" if conditions.device == "gpu" else "float32"
    try:
        found = Product(dtype, 1024, float(run_probe(conditions.environment, 1024, dtype)["gflops"]))
    except (OSError, ValueError, KeyError, subprocess.SubprocessError):
        return None
    return Peak(found.gflops, f"{found.words()}, measured now{table_beside(read_machine(), dtype)}")


class _Steps:
    """Prints a line about the training every two seconds."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        if progress.step is None or progress.loss is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 2.0
        left = f", {progress.seconds_left:.0f} s left" if progress.seconds_left is not None else ""
        _say(f"step {progress.step}: loss {progress.loss:.4f}{left}")


def _depth(script: Path) -> object:
    knob = read_knobs(script.read_text()).get("DEPTH")
    return knob.value if knob else None


def _fixed(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]).resolve()))
    except KeyboardInterrupt:
        sys.exit(130)
