"""The sealed evaluator: its own process, its own rows, its own arithmetic.

It loads the saved weights into a model that the edited file builds, asks it for logits from inputs
alone, and computes bits per byte here: float32 log-softmax over the vocabulary, weighted by the raw
bytes of each target token (special tokens weigh 0), so that

    val_bpb = sum of nats over targets of weight > 0  /  (ln 2 x sum of their bytes).

The same pass probes that the model is a causal language model: the right shape, finite logits, no
look-ahead, no memory between calls, no dependence on the order of rows.  A failed probe makes the
measurement invalid and names itself.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from autoresearch_mlx.trial.harness import set_device
from autoresearch_mlx.trial.spec import EvalSpec, Events, read_eval_spec

_LOGITS_BYTES = 256 * 2**20
"""Logits of one forward pass stay below this; larger ones break small Metal buffers and caches."""
_TOLERANCE = {mx.float32: 2e-3, mx.bfloat16: 0.15, mx.float16: 0.05}
"""Largest difference between two logits that should be equal, by the type in which the model computed."""

# Held by name before any edited code runs.
_logsumexp, _take, _eval, _array = mx.logsumexp, mx.take_along_axis, mx.eval, mx.array


class Invalid(Exception):
    """The model is not what it must be; the text names the probe."""


Model = Callable[[mx.array], mx.array]
Rows = np.ndarray[Any, np.dtype[np.uint16]]


def main(spec_path: str) -> None:
    spec, events = read_eval_spec(spec_path), Events()
    set_device(spec.device, spec.memory_limit_bytes)
    try:
        model = load(spec)
        events.send("evaluate")
        probe(model, spec)
        value = bits_per_byte(model, spec)
    except Invalid as failure:
        events.send("invalid", reason=str(failure))
        raise SystemExit(0) from None
    events.send("evaluated", value=value, peak_memory_mb=mx.get_peak_memory() / 2**20 or None)


def load(spec: EvalSpec) -> Model:
    """The edited file's model with the trained weights.  Raises Invalid when they do not fit."""
    path = Path(spec.script)
    found = importlib.util.spec_from_file_location("train_mlx", path)
    if found is None or found.loader is None:
        raise Invalid(f"{path.name} cannot be imported")
    module = importlib.util.module_from_spec(found)
    sys.modules["train_mlx"] = module
    found.loader.exec_module(module)
    mx.random.seed(spec.seed)
    model = module.build_model(spec.vocab_size, spec.seq_len)
    try:
        model.load_weights(spec.weights, strict=True)
    except ValueError as error:
        raise Invalid(f"weights: the trained weights do not fit build_model: {error}") from None
    model.eval()
    return model


def rows_of(spec: EvalSpec) -> Rows:
    rows: Rows = np.load(spec.rows, mmap_mode="r", allow_pickle=False)
    return rows[: spec.row_count]


def bits_per_byte(model: Model, spec: EvalSpec) -> float:
    """Score all rows.  Raises Invalid for logits of a wrong shape or that are not finite."""
    weight = np.load(spec.token_bytes, allow_pickle=False)
    nats, total_bytes = 0.0, 0
    for block in _blocks(rows_of(spec), spec):
        targets = block[:, 1:].astype(np.int32)
        losses = np.asarray(_losses(_logits(model, block[:, :-1], spec), _array(targets)), dtype=np.float64)
        counted = weight[targets] > 0
        nats += float(losses[counted].sum())
        total_bytes += int(weight[targets].sum())
    value = nats / (math.log(2) * total_bytes)
    if not math.isfinite(value):
        raise Invalid(f"finite: val_bpb is {value}")
    return value


def _blocks(rows: Rows, spec: EvalSpec) -> Iterator[Rows]:
    size = max(1, _LOGITS_BYTES // (4 * spec.seq_len * spec.vocab_size))
    for start in range(0, len(rows), size):
        yield np.asarray(rows[start : start + size])


def _logits(model: Model, inputs: np.ndarray[Any, Any], spec: EvalSpec) -> mx.array:
    logits = model(_array(inputs.astype(np.int32)))
    expected = (*inputs.shape, spec.vocab_size)
    if not isinstance(logits, mx.array) or logits.shape != expected:
        shape = getattr(logits, "shape", type(logits).__name__)
        raise Invalid(f"shape: logits are {shape}, expected {expected}")
    return logits


def _losses(logits: mx.array, targets: mx.array) -> mx.array:
    """Nats of each target, float32 [B, T]."""
    wide = logits.astype(mx.float32)
    losses = _logsumexp(wide, axis=-1) - _take(wide, targets[..., None], axis=-1)[..., 0]
    _eval(losses)
    return losses


def probe(model: Model, spec: EvalSpec) -> None:
    """Check on a few held-out rows what makes a score meaningful.  Raises Invalid with the probe's name."""
    rows = np.array(rows_of(spec)[:4, :-1])
    rng = np.random.default_rng(spec.seed)
    cut = int(rng.integers(1, spec.seq_len - 1)) if spec.seq_len > 2 else 1
    first = _settled(_logits(model, rows, spec))
    changed = rows.copy()
    changed[:, cut:] = rng.integers(0, spec.vocab_size, size=changed[:, cut:].shape)
    ahead = _settled(_logits(model, changed, spec))
    again = _settled(_logits(model, rows, spec))
    turned = _settled(_logits(model, rows[::-1].copy(), spec))
    tolerance = _TOLERANCE.get(_computed_in(model), 2e-3)
    _same(first, again, tolerance, "repeat: the same input gives other logits the second time")
    _same(first[:, :cut], ahead[:, :cut], tolerance, f"causality: tokens from position {cut} on change earlier logits")
    _same(first, turned[::-1], tolerance, "rows: the order of rows in a batch changes the logits")


def _computed_in(model: Any) -> mx.Dtype:
    """The coarsest type a model may have computed in: its stream's, else float32 on CPU and bfloat16 on GPU."""
    on_gpu = mx.default_device() == mx.Device(mx.gpu)
    return mx.bfloat16 if on_gpu else mx.float32


def _settled(logits: mx.array) -> np.ndarray[Any, Any]:
    values = np.array(logits.astype(mx.float32))
    if not np.isfinite(values).all():
        raise Invalid(f"finite: {int((~np.isfinite(values)).sum())} of {values.size} logits are not finite")
    return values


def _same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], tolerance: float, what: str) -> None:
    difference = float(np.abs(a - b).max())
    if difference > tolerance:
        raise Invalid(f"{what} (by {difference:.4g}, allowed {tolerance:.4g})")


if __name__ == "__main__":
    main(sys.argv[1])
