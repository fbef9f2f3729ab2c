"""Measure what the loop itself costs: ``python -m bench.loop [--experiments 500] [--rows 10000]``

The real command runs one long session on a program that takes milliseconds, and is watched from outside.  The benchmark
watches the memory and the open files of the loop's process as the night goes on.  The benchmark also measures what an
experiment takes (git, ledger, judging, child processes) besides the measured program and the optimiser's thinking.

Then the whole command ``status`` is timed on a ledger of ``--rows`` experiments, each as a training run writes it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

VALLEY = """\
A = 3.0  # knob: lin 0 10
B = 2.0  # knob: lin 0 10
C = 0.01  # knob: log 0.0001 1
D = 4  # knob: int 1 16
"""
MEASURE = """\
import math, os, random, sys
sys.path.insert(0, ".")
import valley as v
noise = random.Random(f"{os.environ['AUTORESEARCH_SEED']} {v.A} {v.B} {v.C} {v.D}").gauss(0, 0.02)
valley = (v.A - 7) ** 2 / 20 + (v.B - 5) ** 2 / 30 + math.log10(v.C) ** 2 + abs(v.D - 9) / 20
print(f"METRIC loss={valley + noise:.6f}")
"""
LAB = """\
[target]
kind = "command"
editable = ["valley.py"]
metric = "loss"
run = "{python} -S -E -B measure.py"
"""
WARM = 50
"""Number of experiments after which memory should stay constant."""


@dataclass(frozen=True, slots=True)
class Look:
    """The loop's process at the moment when an experiment was logged."""

    at: float
    memory_mb: float
    files: int
    experiment: Mapping[str, Any]

    @property
    def own(self) -> float:
        """Seconds of this experiment that belong to the agent or to the measured program."""
        ran = sum(m["seconds"]["train"] or 0.0 for m in self.experiment["measurements"])
        asked: float = self.experiment["seconds"].get("propose", 0.0)
        return ran + asked


def watch(process: subprocess.Popen[bytes], ledger: Path) -> Iterator[Look]:
    """Yield a snapshot of the process for each experiment, milliseconds after the ledger gets the experiment's line."""
    seen, at, loop = b"", 0, psutil.Process(process.pid)
    while process.poll() is None:
        if ledger.exists() and (size := ledger.stat().st_size) > at:
            with ledger.open("rb") as file:
                file.seek(at)
                seen += file.read(size - at)
            at = size
            *lines, seen = seen.split(b"\n")
            for event in map(json.loads, lines):
                if event["event"] == "finished":
                    yield Look(time.monotonic(), loop.memory_info().rss / 2**20, loop.num_fds(), event)
        time.sleep(0.002)


def lab(folder: Path) -> Path:
    folder.mkdir()
    for name, text in (("valley.py", VALLEY), ("measure.py", MEASURE), ("lab.toml", LAB.format(python=sys.executable))):
        (folder / name).write_text(text)
    author = {f"GIT_{who}_{what}": "bench@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for arguments in (["init", "--quiet"], ["add", "-A"], ["commit", "--quiet", "-m", "start"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True, env={**os.environ, **author})
    return folder


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "autoresearch_mlx", *arguments]


def night(folder: Path, experiments: int) -> list[Look]:
    order = command("run", "--agent", "knobs", "--tag", "night", "--experiments", str(experiments))
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(order, cwd=folder, stdout=said, stderr=said)
        looks = list(watch(process, folder / ".autoresearch" / "night" / "ledger.jsonl"))
    if process.returncode != 0:
        raise SystemExit((folder / "said.txt").read_text())
    return looks


def tell_night(looks: Sequence[Look]) -> None:
    spans = list(pairwise(looks))
    overheads = [1000 * (b.at - a.at - b.own) for a, b in spans]
    programs = [1000 * b.own for _, b in spans]
    print(f"{len(looks) - 1} experiments in {looks[-1].at - looks[0].at:.1f} s")
    print(f"an experiment: agent and program {statistics.median(programs):.0f} ms (median),")
    deciles = statistics.quantiles(overheads, n=10)
    print(f"  all else {statistics.median(overheads):.0f} ms (median; 10 % take over {deciles[-1]:.0f} ms)")
    first, last = statistics.median(overheads[:WARM]), statistics.median(overheads[-WARM:])
    print(f"  of the first {WARM} {first:.0f} ms, of the last {WARM} {last:.0f} ms")
    after = looks[WARM:] or looks
    memory, files = [look.memory_mb for look in after], [look.files for look in after]
    grown = memory[-1] - memory[0]
    print(f"memory after {WARM} experiments {memory[0]:.1f} MB, at the end {memory[-1]:.1f} MB ({grown:+.1f})")
    print(f"open files {min(files)} to {max(files)}")


def long_ledger(folder: Path, rows: int) -> Path:
    """Make a session of ``rows`` experiments, with curves and texts as long as those of training runs."""
    rng = random.Random(7)
    session = {"tag": "long", "target": "pretrain", "metric": "val_bpb", "direction": "min", "conditions": {}}
    (folder / ".autoresearch" / "long").mkdir(parents=True)
    path = folder / ".autoresearch" / "long" / "ledger.jsonl"
    begun = {"schema": 1, "event": "started", "base": "0" * 40, "time": "2026-01-01T00:00:00+00:00"}
    with path.open("w") as file:
        file.write(json.dumps({"schema": 1, "event": "session", **session}) + "\n")
        for number in range(rows + 1):
            file.write(json.dumps({**begun, "number": number}) + "\n")
            file.write(json.dumps({"schema": 1, "event": "finished", **_row(number, rng)}) + "\n")
    return path


def _row(number: int, rng: random.Random) -> dict[str, Any]:
    runs = 3 if number % 10 == 0 else 1
    return {
        "number": number,
        "status": "keep" if number % 10 == 0 else "discard",
        "value": 2 - number / 1e5 + rng.gauss(0, 0.01),
        "gain": rng.gauss(0, 0.01),
        "commit": f"{number:040x}",
        "base": "0" * 40,
        "ref": f"refs/autoresearch/long/{number}",
        "title": "MATRIX_LR 0.04 -> 0.0767",
        "axis": "lr.matrix",
        "knobs": {"MATRIX_LR": [0.04, rng.random()]},
        "agent": "knobs",
        "reason": "gain 0.004100 +- 0.001800 (2.3 sigma, 2 runs each): keep",
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:05:00+00:00",
        "rationale": "a step along the line through the last two keeps, chosen by the model of all measurements",
        "fingerprint": f"{number:064x}",
        "seconds": {"propose": 0.02, "commit": 0.02, "measure": 22.1, "settle": 0.01},
        "talk": {"expected": rng.random(), "uncertain": rng.random(), "turn": "knobs"},
        "effect": {"gain": 0.004, "low": -0.001, "high": 0.009, "z": 2.3, "error": 0.0018, "raw": 0.005},
        "measurements": [_run(number, seed, rng) for seed in range(42, 42 + runs)],
    }


def _run(number: int, seed: int, rng: random.Random) -> dict[str, Any]:
    return {
        "value": 2 - number / 1e5 + rng.gauss(0, 0.01),
        "seed": seed,
        "failure": None,
        "reason": "",
        "seconds": {"start": 0.81, "compile": 0.31, "train": 20.02, "evaluate": 1.21},
        "steps": 101,
        "tokens": 206848,
        "tokens_per_second": 10214.3,
        "peak_memory_mb": 412.3,
        "machine": {
            "chip": "a chip",
            "system": "Darwin",
            "device": "gpu",
            "gpu": "a GPU",
            "gpu_cores": 16,
            "memory_gb": 36.0,
            "mlx": "0.32.4",
            "python": "3.13.0",
            "blas": None,
            "sandbox": "sandbox-exec",
            "power": "mains",
            "battery_percent": 100,
            "battery_c": 30.5,
            "low_power_mode": False,
            "thermal": "nominal",
            "load": 1.9,
            "thermal_level": 0,
            "temperature_c": None,
            "cpu_speed_percent": 100,
            "memory_pressure": "normal",
            "memory_free_mb": 18123.0,
            "swap_used_mb": 0.0,
            "lid_closed": False,
            "display_on": False,
            "gpu_watts": None,
            "gpu_users": None,
            "gpu_busy_percent": 3.0,
            "speed_before": 9.1,
            "speed_after": 9.0,
        },
        "key": "0123456789ab",
        "log": f"runs/{number:04d}-1/log.txt",
        "curve": [[round(at / 20, 4), round(7 - 3 * at / 20 + rng.gauss(0, 0.1), 4)] for at in range(21)],
        "epoch": 0,
        "tainted": False,
        "extra": {"loss": 4.1, "num_params": 1234567, "matrix_params": 234567},
    }


def tell_status(folder: Path, rows: int, times: int = 7) -> None:
    path = long_ledger(folder, rows)
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(command("status", "--tag", "long"), cwd=folder, check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    size = path.stat().st_size / 1e6
    print(f"status with {rows:,} experiments ({size:.0f} MB): {statistics.median(seconds):.2f} s (median of {times})")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.loop", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--experiments", type=int, default=500)
    parser.add_argument("--rows", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here = lab(Path(folder) / "lab")
        tell_night(night(here, options.experiments))
        tell_status(here, options.rows)


if __name__ == "__main__":
    main()
