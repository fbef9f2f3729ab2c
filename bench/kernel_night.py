"""Run a night on one function of a training step, and measure what it brings to the whole step:

    .venv/bin/python -m bench.kernel_night [--experiments 12] [--agent knobs] [--processes 5] [--keep DIR]

The lab is a copy of ``examples/kernel``, whose loss is slow on purpose, and the candidates are compositions of MLX
functions.  The script extracts the loss, runs the night, and then calls ``certify``, which times a shape that no
candidate has met, and ``kernel verify``, which times the step with the kept kernel and without it in alternation.  The
script ends with an error unless a kept kernel beats the fastest version of the reference and the held-out shape agrees.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "kernel"


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=12)
    parser.add_argument("--agent", default="knobs")
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="Folder for the lab; default: a temporary one.")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        lab = (wanted.keep or Path(made)).resolve() / "lab"
        shutil.copytree(EXAMPLE, lab, ignore=shutil.ignore_patterns("__pycache__", ".autoresearch"))
        night(lab, wanted.experiments, wanted.agent, wanted.processes)


def night(lab: Path, experiments: int, agent: str, processes: int) -> None:
    kernel_lab = Path(json.loads(called(lab, "kernel", "extract", "f1", "--json"))["folder"])
    began = time.monotonic()
    called(kernel_lab, "run", "--experiments", str(experiments), "--agent", agent, "--tag", "night")
    print(f"night: {experiments} experiments in {time.monotonic() - began:.0f} s")
    print(called(kernel_lab, "log"))
    certificate = json.loads(called(kernel_lab, "certify", "--json"))
    (step,) = json.loads(called(lab, "kernel", "verify", "--processes", str(processes), "--json"))
    head = json.loads(called(kernel_lab, "status", "--json"))["incumbent"]
    print(f"function: {math.exp(head['value']):.3f} times as fast as the fastest version of the reference")
    print(f"held-out shape: experiment {certificate['head']} against 0: {certificate['words']}")
    print(f"whole step: {step['words']}")
    print(json.dumps({"incumbent": head, "certificate": certificate, "step": step}, indent=1))
    if head["number"] == 0 or head["value"] <= 0:
        sys.exit("no kept kernel beats the fastest version of the reference")
    if not certificate["certified"]:
        sys.exit("the held-out shape does not agree")


def called(where: Path, *arguments: str) -> str:
    """Run ``autoresearch-mlx`` in a folder and return its standard output; its messages go to stderr."""
    command: list[Any] = [sys.executable, "-m", "autoresearch_mlx", *arguments]
    return subprocess.run(command, cwd=where, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main()
