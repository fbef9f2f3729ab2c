"""Give a training script its data in a fixed order, its clock and its seed, and save the trained weights.

``train_mlx.py`` defines ``build_model`` and ``train`` and ends with ``harness.main(build_model, train)``.  If a
measurement started the script, ``main`` runs the training.  If a user started it (``python train_mlx.py``), ``main``
runs one whole measurement of the script, with training and sealed evaluation.  Then ``main`` prints the same last lines
as karpathy/autoresearch.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

from autoresearch_mlx.trial.serving import Rows
from autoresearch_mlx.trial.spec import FLOPS_PER_PARAMETER, TRAIN_ENV, Events, TrainSpec, count, read_train_spec

BuildModel = Callable[[int, int], nn.Module]
Train = Callable[[Any, Any], Any]

_DISPLAY_SECONDS = 0.25
_FIRST_STEP_BATCHES = 64
"""Number of batches after which the clock starts even if no step was logged.

So a script that logs no steps uses up its budget too.
"""
_AHEAD_BATCHES = 2
"""Number of batches of the second step that a script may load before it logs the first step."""
_PROBE_SECONDS, _PROBE_SIDE = 5.0, 2048
"""Seconds between two speed probes of a GPU, and the number of rows of the probe's matrices.

A probe takes a few milliseconds on a Mac.
"""
_EXIT_FAILED = 3


class TrainingFailed(Exception):
    """Raised when training cannot go on: the loss, or a trained weight, is NaN or infinite."""


class TrainingInvalid(Exception):
    """Raised when the logged steps do not fit the batches that were served."""


class Trial:
    """One training run, as the script sees it.

    The harness sets ``seed``, ``vocab_size`` and ``seq_len``.  ``progress`` is the share of the budget used so far,
    from 0 to 1.  Schedules, for example of learning rates, depend on ``progress`` and not on a number of steps.
    """

    def __init__(self, spec: TrainSpec, events: Events, clock: Callable[[], float] = time.monotonic) -> None:
        self.seed = spec.seed
        self.vocab_size = spec.vocab_size
        self.seq_len = spec.seq_len
        self.progress = 0.0
        self.tokens_served = 0
        self.steps_logged = 0
        self.tokens_logged = 0
        self.last_loss: float | None = None
        self._batches = 0
        self._batch_tokens = 0
        self._counted = 0
        self._first_step = (0, 0)
        self._spec = spec
        self._events = events
        self._clock = clock
        self._rows = Rows(*spec.rows, spec.seq_len + 1)
        self._first_batch: float | None = None
        self._started: float | None = None
        self._late = 0.0
        self._pending: tuple[int, mx.array | float, int] | None = None
        self._shown = (0.0, 0)
        self._probed = 0.0
        self._square: mx.array | None = None

    def batches(self, batch_size: int) -> Iterator[tuple[mx.array, mx.array]]:
        """Yield pairs (inputs, targets), int32 [batch_size, seq_len] each, until the budget (time, tokens, steps) ends.

        The parent process serves each row once per epoch, in an order that depends only on the seed.  The batch size
        only decides how the rows are grouped, so candidates with different batch sizes see the same data.  Raises
        ValueError if ``batch_size`` is not a positive integer.
        """
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size must be a positive integer, not {batch_size!r}")
        while not self._over() and (served := self._rows.take(batch_size)) is not None:
            self._probe()
            if self._rows.share is not None:
                self.progress = min(1.0, self._rows.share)  # the parent takes the machine's speed into account
            rows = served.astype(np.int32)
            self._batches += 1
            self.tokens_served += batch_size * self.seq_len
            self._batch_tokens = batch_size * self.seq_len
            self._counted += self._batch_tokens
            yield mx.array(rows[:, :-1]), mx.array(rows[:, 1:])

    def _probe(self) -> None:
        """Measure the time of a matrix product on the GPU, every ``_PROBE_SECONDS`` between two steps; tell the parent.

        Queued work is finished first, so that nothing else of this process uses the GPU.  On a CPU the parent makes the
        probes.
        """
        now = self._clock()
        if self._spec.device != "gpu" or self._started is None or now - self._probed < _PROBE_SECONDS:
            return
        if self._square is None:
            self._square = mx.ones((_PROBE_SIDE, _PROBE_SIDE), mx.bfloat16)
            mx.eval(self._square @ self._square)  # compiles the kernel
        mx.synchronize()
        began = self._clock()
        mx.eval(self._square @ self._square)
        self._probed = self._clock()
        self._events.send("probe", product_ms=1000 * (self._probed - began))

    def log(self, step: int, loss: mx.array | float, tokens: int) -> None:
        """Report one optimiser step, its loss and the number of tokens that it trained on.

        ``loss`` may be an array that MLX has not computed yet.  The array is read one step later, so that the next step
        is always queued on the GPU while Python waits for this array.  Raises TrainingFailed for a loss that is not
        finite, and TrainingInvalid if the first step reports fewer tokens than were served before it.
        """
        self.steps_logged += 1
        self.tokens_logged += int(tokens)
        if self.steps_logged == 1:
            self._first_step = (self.tokens_served - _AHEAD_BATCHES * self._batch_tokens, self.tokens_logged)
            self._check_first_step()
        previous, self._pending = self._pending, (step, loss, tokens)
        if self._started is None:
            self._settle()
            self._start(self._first_step_ended())
        elif previous is not None:
            self._read(previous)

    def finish(self) -> None:
        """Wait for the last step and check its loss.  Raises TrainingFailed if the loss is not finite."""
        self._settle()

    def check(self) -> None:
        """Raise TrainingInvalid if the logged steps do not fit the served batches."""
        if self.steps_logged == 0 or self.tokens_served == 0:
            what = "asked for no batches" if self.tokens_served == 0 else "logged no steps"
            raise TrainingInvalid(f"the script {what}")
        self._check_count()
        if self.tokens_logged > self.tokens_served:
            served = f"{self.tokens_served:,} tokens were served"
            raise TrainingInvalid(f"{served}, and the logged steps claim {self.tokens_logged:,}")

        self._check_first_step()

    def _check_count(self) -> None:
        if self.tokens_served != self._counted:
            said = f"{self._counted:,} tokens were served"
            raise TrainingInvalid(f"{said}, but the script set trial.tokens_served to {self.tokens_served:,}")

    def _check_first_step(self) -> None:
        """Raise TrainingInvalid if the script may have trained on batches before the clock started."""
        served, claimed = self._first_step
        if served > claimed:
            said = f"more than {served:,} tokens were served before the first step was logged"
            raise TrainingInvalid(f"{said}, and that step claims {claimed:,}: log every step")

    def elapsed(self) -> float:
        """Return the seconds of the budget that are used up.

        The clock starts at the end of the first step.  This step compiles kernels (on a CPU, MLX calls a C++ compiler
        for seconds), and the time for compiling says nothing about the candidate.  Time beyond the allowances for the
        start and the first step counts as used.
        """
        return 0.0 if self._started is None else self._clock() - self._started + self._late

    def _over(self) -> bool:
        """Read the clock before one more batch; return whether the budget is used up."""
        now = self._clock()
        if self._first_batch is None:
            self._first_batch = now
            self._late = max(0.0, now - self._spec.launched - self._spec.start_seconds)
            self._events.send("compile")
        if self._started is None and now - self._first_batch > self._spec.compile_seconds:
            self._start(self._first_batch + self._spec.compile_seconds)
        if self._started is None and self._batches >= _FIRST_STEP_BATCHES:
            self._start(now)
        if self._spec.steps is not None:
            self.progress = min(1.0, self.steps_logged / self._spec.steps)
            return self.steps_logged >= self._spec.steps
        if self._spec.tokens is not None:
            self._check_count()
            self.progress = min(1.0, self.tokens_served / self._spec.tokens)
            return False  # the parent counts the budget too, and stops handing out rows
        self.progress = min(1.0, self.elapsed() / self._spec.budget_seconds)
        return self.elapsed() >= self._spec.budget_seconds

    def _first_step_ended(self) -> float:
        """Return the time at which the budget begins: now, or the earlier end of the first step's allowance."""
        now = self._clock()
        return now if self._first_batch is None else min(now, self._first_batch + self._spec.compile_seconds)

    def _start(self, at: float) -> None:
        self._started = at
        self._events.send("train", tokens=self.tokens_served)

    def _settle(self) -> None:
        if self._pending is not None:
            self._read(self._pending)
            self._pending = None

    def _read(self, logged: tuple[int, mx.array | float, int]) -> None:
        step, loss, tokens = logged
        value = float(np.array(loss, dtype=np.float64))
        if not math.isfinite(value):
            raise TrainingFailed(f"the loss is {value} at step {step}")
        self.last_loss = value
        self._show(step, value, tokens)

    def _show(self, step: int, loss: float, tokens: int) -> None:
        now = self._clock()
        since, first = self._shown
        if now - since < _DISPLAY_SECONDS:
            return
        rate = (step - first) * tokens / (now - since) if since and step > first else None
        self._shown = (now, step)
        self._events.send("step", step=step, loss=loss, tokens_per_second=rate, tokens=self.tokens_served)


def main(build_model: BuildModel, train: Train) -> None:
    """Run the training for a measurement; if the user started the script, make one whole measurement instead.

    ``build_model(vocab_size, seq_len)`` returns an mlx.nn.Module that maps int32 tokens [B, T] to logits
    [B, T, vocab_size].  ``train(model, trial)`` trains this model until ``trial.batches`` ends.
    """
    path = os.environ.get(TRAIN_ENV)
    if path is None:
        script = str(Path(sys.argv[0]).resolve())
        arguments = [sys.executable, "-P", "-m", "autoresearch_mlx.targets.pretrain.alone", script, *sys.argv[1:]]
        os.execv(sys.executable, arguments)
    _train(build_model, train, read_train_spec(path), Events())


def _train(build_model: BuildModel, train: Train, spec: TrainSpec, events: Events) -> None:
    set_device(spec.device, spec.memory_limit_bytes)
    mx.random.seed(spec.seed)
    model = build_model(spec.vocab_size, spec.seq_len)
    built = sizes(dict(tree_flatten(model.parameters())), spec)
    events.send("sized", **built)
    trial = Trial(replace(spec, tokens=tokens_for(spec, built["matrix_params"])), events)
    try:
        train(model, trial)
        trial.finish()
        weights = dict(tree_flatten(model.parameters()))
        mx.eval(weights)
        events.send("trained", steps=trial.steps_logged, tokens=trial.tokens_served, loss=trial.last_loss)
        trial.check()
        _check(weights)
        _check_size(built, sizes(weights, spec), spec)
    except (TrainingFailed, TrainingInvalid) as failure:
        events.send("invalid" if isinstance(failure, TrainingInvalid) else "failed", reason=str(failure))
        raise SystemExit(_EXIT_FAILED) from failure
    mx.save_safetensors(spec.weights, weights)
    events.send("saved", peak_memory_mb=round(mx.get_peak_memory() / 2**20, 1) or None)


def sizes(weights: dict[str, mx.array], spec: TrainSpec) -> dict[str, int]:
    """Count the weights, the weights in matrix products, and the tables (see ``spec.count``)."""
    return count({name: w.shape for name, w in weights.items()}, spec.vocab_size, spec.tables)


def tokens_for(spec: TrainSpec, matrix_params: int) -> int | None:
    """Return the number of tokens after which training ends, or None if the budget is a time or a number of steps.

    For a budget of operations, the number is computed from ``matrix_params``.
    """
    if spec.flops is None:
        return spec.tokens
    return max(1, math.ceil(spec.flops / (FLOPS_PER_PARAMETER * max(matrix_params, 1))))


def _check_size(built: dict[str, int], trained: dict[str, int], spec: TrainSpec) -> None:
    """Raise TrainingInvalid if the model's size changed under a budget of operations, which depends on the size."""
    if spec.flops is not None and built["matrix_params"] != trained["matrix_params"]:
        sizes = f"{built['matrix_params']:,} matrix parameters, and ended with {trained['matrix_params']:,}"
        raise TrainingInvalid(f"the model was built with {sizes}: the budget of FLOPs counts the model as built")


def _check(weights: dict[str, mx.array]) -> None:
    bad = [name for name, w in weights.items() if not mx.all(mx.isfinite(w)).item()]
    if bad:
        raise TrainingFailed(f"{len(bad)} of {len(weights)} weights are not finite; the first is {bad[0]}")


def set_device(device: str, memory_limit_bytes: int | None) -> None:
    """Choose MLX's device and memory limits before anything is allocated.

    The cache limit applies to the freed buffers that MLX keeps for reuse.  Without a cache limit, these buffers count
    against the memory limit until MLX is short of memory.
    """
    mx.set_default_device(mx.gpu if device == "gpu" else mx.cpu)
    if memory_limit_bytes is not None:
        mx.set_memory_limit(memory_limit_bytes)
        mx.set_cache_limit(memory_limit_bytes // 4)
