"""Measure train_mlx.py under many settings of its knobs on this CPU, for a landscape made of real runs.

    python -m bench.cpu_trials --runs 320 --out data/cpu_trials.tsv

Each run trains on the text of Python's standard library for as many steps as fit into 5 s on a quiet processor, and is
scored on the profile's validation rows.  The number of steps is settled before the runs: the fastest of several steps
of each shape is timed in processor time, so a busy machine changes neither the steps nor the values.  The first rows
are runs of the shipped file with different seeds, which show the noise.  The next rows change one knob each.  In all
other rows each knob is changed with a chance of one half, to a value from a Latin hypercube (McKay et al. 1979).  Rows
that are already in the table are kept, so the script continues after an interruption.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from autoresearch_mlx.agents.knobs.space import Dimension, read_space
from autoresearch_mlx.hardware.machine import describe, read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import SCRIPT, Lab
from autoresearch_mlx.lab.source import set_knobs
from autoresearch_mlx.loop.session import preset_text
from autoresearch_mlx.targets.contract import Place
from autoresearch_mlx.targets.pretrain.kind import PretrainKind
from autoresearch_mlx.trial.scoring import bits_per_byte, score
from bench.fitted import CPU_KNOBS

SECONDS = 5.0
SEEDS = 8
"""Number of runs of the shipped file, each with a different seed."""
REACH = 0.4
"""Largest change of a knob in the random rows, as a share of the knob's range."""
SIZES = ("DEPTH", "ASPECT_RATIO", "HEAD_DIM", "TOTAL_BATCH_SIZE", "DEVICE_BATCH_SIZE", "MLP_RATIO")
"""Knobs on which the time of a step depends."""
TIMED_STEPS = 5
ROWS_PER_CALL = 8
SCORED_ROWS = 64
"""Number of validation rows that score a run: a third of the profile's, which saves a quarter of the time."""


@dataclass(frozen=True, slots=True)
class Where:
    """The data that the child process needs: the script's text and the rows."""

    text: str
    train: str
    val: str
    token_bytes: str
    vocab_size: int
    seq_len: int
    eval_rows: int
    words: str


class Steps:
    """A trial for ``train``: rows in the order of the file, for a fixed number of optimiser steps."""

    def __init__(self, rows: Any, steps: int, where: Where, clock: Callable[[], float] = time.process_time) -> None:
        self.seq_len, self.vocab_size, self.seed = where.seq_len, where.vocab_size, 0
        self.progress = 0.0
        self.seconds: list[float] = []
        self._rows, self._steps, self._clock, self._done, self._at = rows, steps, clock, 0, 0
        self._began = clock()

    def batches(self, batch_size: int) -> Iterator[tuple[Any, Any]]:
        import mlx.core as mx

        while self._done < self._steps:
            self.progress = self._done / self._steps
            taken = np.take(self._rows, range(self._at, self._at + batch_size), axis=0, mode="wrap").astype(np.int32)
            self._at += batch_size
            yield mx.array(taken[:, :-1]), mx.array(taken[:, 1:])

    def log(self, step: int, loss: Any, tokens: int) -> None:
        float(loss.item())
        now = self._clock()
        self.seconds.append(now - self._began)
        self._began, self._done = now, self._done + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=320)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        measure(Where(**json.loads(args.child)), args.runs, args.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        lab, machine = Lab(Path(folder)), read_machine()
        profile = choose_profile(machine)
        settings = load_settings(lab.root, {"data.source": "stdlib", "hardware.profile": "cpu"}).settings
        place = Place(settings, lab, machine, profile, lambda text: print(text, file=sys.stderr))
        kind = PretrainKind()
        c = kind.build(kind.settle(place), place).conditions
        text = preset_text(asset(SCRIPT).read_text(), profile.knobs)
        where = Where(
            text,
            str(c.train_rows),
            str(c.val_rows),
            str(c.token_bytes),
            c.vocab_size,
            c.seq_len,
            min(SCORED_ROWS, c.eval_rows),
            describe(machine),
        )
        child = [sys.executable, "-m", "bench.cpu_trials", "--runs", str(args.runs), "--out", str(args.out)]
        # The fast BLAS must be loaded before MLX, so a child process makes the runs.
        environment = {**os.environ, **c.environment}
        subprocess.run([*child, "--child", json.dumps(asdict(where))], env=environment, check=True)


def measure(where: Where, runs: int, out: Path) -> None:
    """Make the runs that the table lacks, and append each to it."""
    import mlx.core as mx

    mx.set_default_device(mx.cpu)
    mx.disable_compile()
    rows = np.load(where.train, mmap_mode="r", allow_pickle=False)
    names = [row.name for row in CPU_KNOBS.rows]
    if not out.exists():
        out.write_text("\t".join(["run", "seed", *names, "steps", "val_bpb", "memory_gb", "status"]) + "\n")
    there = len([line for line in out.read_text().splitlines() if line and not line.startswith("#")]) - 1
    pace: dict[tuple[Any, ...], float] = {}
    for number, (seed, values) in enumerate(design(where.text, runs)):
        if number < there:
            continue
        size = tuple(values[name] for name in SIZES)
        if size not in pace:
            probe = Steps(rows, TIMED_STEPS, where)
            train(script(where.text, values), where, probe, 0)
            pace[size] = min(probe.seconds[1:])
        steps = max(2, round(SECONDS / pace[size]))
        gc.collect()
        mx.clear_cache()
        mx.reset_peak_memory()
        module = script(where.text, values)
        model = train(module, where, Steps(rows, steps, where), seed)
        memory = mx.get_peak_memory() / 1e9
        value = scored(model, where)
        status = "ok" if math.isfinite(value) else "fail"
        cells = [number, seed, *(values[name] for name in names), steps]
        ending = [f"{value:.6f}", f"{memory:.4f}", status] if status == "ok" else ["", "", status]
        with out.open("a") as file:
            file.write("\t".join([*map(str, cells), *ending]) + "\n")


def design(text: str, runs: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield seed and knobs of each run."""
    dimensions = {d.name: d for d in read_space({SCRIPT: text})}
    chosen = [dimensions[row.name] for row in CPU_KNOBS.rows]
    start = {d.name: d.value for d in chosen}
    fixed = [(seed, start) for seed in range(SEEDS)]
    fixed += [(0, {**start, d.name: value}) for d in chosen for value in _alone(d)]
    yield from fixed[:runs]
    rng = np.random.default_rng(0)
    rest = max(0, runs - len(fixed))
    # Each run gets one stratum of each knob, and each knob has its own order of strata.  There are always 1000
    # strata, so that the design stays the same when `runs` changes.
    strata = np.array([rng.permutation(1000) for _ in chosen]).T[:rest]
    moved = rng.random((1000, len(chosen)))[:rest] < 0.5
    for places, which in zip((strata + 0.5) / 1000, moved, strict=True):
        yield (
            0,
            {
                d.name: _placed(d, place) if move else d.value
                for d, place, move in zip(chosen, places, which, strict=True)
            },
        )


def _alone(d: Dimension) -> list[Any]:
    if d.range.kind == "choice":
        return [option for option in d.range.choices if option != d.value]
    step = max(0.25, d.tick)
    here = d.unit(d.value)
    return [v for v in dict.fromkeys((d.at(here - step), d.at(here + step))) if v != d.value]


def _placed(d: Dimension, place: float) -> Any:
    if d.range.kind == "choice":
        return d.range.choices[int(place * len(d.range.choices))]
    here = d.unit(d.value)
    low, high = max(0.0, here - REACH), min(1.0, here + REACH)
    return d.at(low + (high - low) * place)


def script(text: str, values: Mapping[str, Any]) -> ModuleType:
    """Import the script with these knobs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SCRIPT
        path.write_text(set_knobs(text, dict(values)))
        found = importlib.util.spec_from_file_location("train_mlx", path)
        assert found is not None and found.loader is not None
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
    return module


def train(module: ModuleType, where: Where, trial: Steps, seed: int) -> Any:
    import mlx.core as mx

    mx.random.seed(seed)
    model = module.build_model(where.vocab_size, where.seq_len)
    module.train(model, trial)
    mx.eval(model.parameters())
    return model


def scored(model: Any, where: Where) -> float:
    """Return the bits per byte on the validation rows, or NaN if they are not finite."""
    import mlx.core as mx

    rows = np.load(where.val, mmap_mode="r", allow_pickle=False)[: where.eval_rows].astype(np.int32)
    weight = np.load(where.token_bytes, allow_pickle=False)
    model.eval()
    nats = 0.0
    for at in range(0, len(rows), ROWS_PER_CALL):
        part = rows[at : at + ROWS_PER_CALL]
        logits = np.array(model(mx.array(part[:, :-1])))
        losses = score(logits, "float32", part[:, 1:]).nats
        nats += float(losses[weight[part[:, 1:]] > 0].sum(dtype=np.float64))
    return bits_per_byte(nats, rows[:, 1:], weight) if math.isfinite(nats) else math.nan


if __name__ == "__main__":
    main()
