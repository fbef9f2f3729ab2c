"""Load a training script and run its ``train`` on random batches, without a corpus, a clock or a scorer."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import mlx.core as mx
import numpy as np

Batch = tuple[mx.array, mx.array]


class ScriptFailed(Exception):
    """Raised when the script cannot be profiled; the message tells the script's author why."""


def load(path: Path, name: str = "profiled_script") -> ModuleType:
    """Import a script as a module called ``name``.  Raises ScriptFailed if the script cannot be imported."""
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise ScriptFailed(f"{path.name} is not a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except Exception as error:
        raise ScriptFailed(f"{path.name} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def needs(module: ModuleType, *names: str) -> None:
    """Raise ScriptFailed if the script lacks one of these functions."""
    if missing := [name for name in names if not callable(getattr(module, name, None))]:
        raise ScriptFailed(f"the script has no {' and no '.join(f'{name}()' for name in missing)}")


def tokens(rows: int, seq_len: int, vocab_size: int, seed: int) -> Batch:
    """Return random inputs and targets, int32 [rows, seq_len] each."""
    drawn = np.random.default_rng(seed).integers(0, vocab_size, (2, rows, seq_len), dtype=np.int32)
    return mx.array(drawn[0]), mx.array(drawn[1])


def now() -> float:
    """Return a clock's reading in seconds; on a CPU the clock counts processor time, which other programs disturb
    less."""
    return time.process_time() if mx.default_device() == mx.Device(mx.cpu) else time.perf_counter()


class Steps:
    """An object to pass to ``train`` in place of the harness's trial; it serves batches until ``steps`` steps are
    logged.

    ``between`` is called before each step with the step's number, for example to wait for queued work and read a clock.
    """

    def __init__(
        self,
        vocab_size: int,
        seq_len: int,
        steps: int,
        served: Iterator[Batch] | None = None,
        between: Callable[[int], None] = lambda step: None,
        seed: int = 42,
    ) -> None:
        self.seed, self.vocab_size, self.seq_len = seed, vocab_size, seq_len
        self.progress = 0.5
        """Value of ``progress`` in the middle of a run, when every schedule is active."""
        self.tokens_served = 0
        self.losses: list[Any] = []
        self.shapes: list[tuple[int, int]] = []
        """Shape of each batch that was served."""
        self.batches_of_step = 0
        self._steps, self._served, self._between = steps, served, between

    def batches(self, batch_size: int) -> Iterator[Batch]:
        step = -1
        while len(self.losses) < self._steps:
            if step != len(self.losses):
                step = len(self.losses)
                self._between(step)
            shape = (batch_size, self.seq_len)
            batch = next(self._served) if self._served is not None else self._drawn(batch_size)
            self.shapes.append(shape)
            self.tokens_served += batch_size * self.seq_len
            yield batch
        self._between(len(self.losses))

    def log(self, step: int, loss: Any, tokens: int) -> None:
        self.losses.append(loss)

    def _drawn(self, rows: int) -> Batch:
        return tokens(rows, self.seq_len, self.vocab_size, self.seed + len(self.shapes))


class Clock:
    """Times steps.  All queued work is finished before each step, so that a step's time includes all of its work."""

    def __init__(self, model: Any) -> None:
        self.seconds: list[float] = []
        self._model, self._began = model, 0.0

    def __call__(self, step: int) -> None:
        mx.eval(self._model.parameters())
        mx.synchronize()
        ended = now()
        if step:
            self.seconds.append(ended - self._began)
        self._began = now()
