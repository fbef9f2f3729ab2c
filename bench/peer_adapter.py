"""Run the ``train.py`` of trevin-creator/autoresearch-mlx and of its forks on our rows.

The script trains when it is imported, and takes data, tokenizer and evaluation from a module ``prepare``.  This file
replaces that module with one that hands out our rows in our order and scores the model with our count of bytes.
Nothing of the peer's is copied: the script is read from the checkout, its constants get our sizes, and on a CPU float32
takes the place of bfloat16, whose products MLX computes there about 50 times more slowly.

An adapter for another peer is a file like this one with a function ``train(job, sizes)``.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from autoresearch_mlx.lab.source import read_knobs, set_knobs
from autoresearch_mlx.trial.serving import order
from bench.trained import Job, Ran, evaluate


def train(job: Job, sizes: Mapping[str, Any]) -> Ran:
    """Run the peer's training for ``job.seconds`` of processor time; its clock shows processor time."""
    import mlx.core as mx

    from autoresearch_mlx.trial.harness import set_device

    set_device(job.device, job.memory_limit_bytes)
    path = Path(job.peer) / "train.py"
    text = path.read_text(encoding="utf-8")
    text = set_knobs(text, {name: value for name, value in sizes.items() if name in read_knobs(text)})
    text = text.replace("mx.random.seed(42)", f"mx.random.seed({job.seed})")
    if job.device == "cpu":
        text = text.replace("mx.bfloat16", "mx.float32")
    scored: list[float] = []
    sys.modules["prepare"] = _prepare(job, scored)
    time.time = time.process_time
    found: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.redirect_stdout(sys.stderr):
        exec(compile(text, str(path), "exec"), found)
    mx.synchronize()
    seconds, steps = float(found["total_training_time"]), int(found["step"])
    tokens = (steps - int(found["STARTUP_EXCLUDE_STEPS"])) * int(found["TOTAL_BATCH_SIZE"])
    return Ran(scored[-1], steps, tokens, seconds, time.process_time() - seconds)


def _prepare(job: Job, scored: list[float]) -> ModuleType:
    """Return the module that replaces the peer's ``prepare``."""
    import mlx.core as mx

    rows = np.load(job.train_rows, mmap_mode="r")

    class Tokenizer:
        @classmethod
        def from_directory(cls) -> Tokenizer:
            return cls()

        def get_vocab_size(self) -> int:
            return job.vocab_size

    def make_dataloader(tokenizer: object, batch_size: int, seq_len: int, split: str) -> Iterator[tuple[Any, Any, int]]:
        numbers = order(job.seed, len(rows))
        while True:
            batch = rows[[next(numbers) for _ in range(batch_size)]].astype(np.int32)
            yield mx.array(batch[:, :-1]), mx.array(batch[:, 1:]), 1

    def evaluate_bpb(model: Any, tokenizer: object, batch_size: int) -> float:
        scored.append(evaluate(job, model) if job.evaluate else math.nan)
        return scored[-1]

    module = ModuleType("prepare")
    vars(module).update(
        MAX_SEQ_LEN=job.seq_len,
        TIME_BUDGET=job.seconds,
        Tokenizer=Tokenizer,
        make_dataloader=make_dataloader,
        evaluate_bpb=evaluate_bpb,
    )
    return module
