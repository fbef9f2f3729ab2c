"""What the parent hands to its children, and the line of events that comes back.

Specs travel as a JSON file whose path stands in the environment; events come back as JSON lines on a
pipe whose descriptor stands there too.  Standard output stays the script's own and is only logged.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

FLOPS_PER_PARAMETER = 6
"""Of training, for each matrix parameter and token: multiply and add, once forward and twice backward."""
_LONGEST_HEADER = 2**24
"""Bytes; the names and shapes of some hundred thousand weights."""


def count(shapes: Mapping[str, Sequence[int]], vocab_size: int) -> dict[str, int]:
    """Number of weights, and of those that stand in matrix products: tables of embeddings are looked up.

    A table is what is called one and has a row for each token.  Where every matrix with that many rows is called so,
    the smallest of them gives the logits too (tied weights), and is counted.
    """
    tables = {name: math.prod(shape) for name, shape in shapes.items() if _is_table(name, shape, vocab_size)}
    products = {name: math.prod(shape) for name, shape in shapes.items() if len(shape) >= 2 and name not in tables}
    gives_logits = any(vocab_size <= max(shapes[name]) for name in products)
    tied = 0 if gives_logits else min(tables.values(), default=0)
    return {"num_params": sum(map(math.prod, shapes.values())), "matrix_params": sum(products.values()) + tied}


def _is_table(name: str, shape: Sequence[int], vocab_size: int) -> bool:
    return len(shape) == 2 and shape[0] >= vocab_size and ("wte" in name or "embedding" in name)


def shapes_of(weights: Path) -> dict[str, tuple[int, ...]]:
    """The shapes in a safetensors file, from its header.  Raises ValueError when it has none; OSError."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LONGEST_HEADER:
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("a header that is no object")
    found = {name: each.get("shape") for name, each in header.items() if name != "__metadata__"}
    if not all(isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape) for shape in found.values()):
        raise ValueError("a weight without a shape")
    return {name: tuple(shape) for name, shape in found.items()}


TRAIN_ENV = "AUTORESEARCH_TRAIN_SPEC"
EVENTS_ENV = "AUTORESEARCH_EVENTS_FD"
WEIGHTS = "weights.safetensors"
"""In the folder of a run."""

Device = Literal["cpu", "gpu"]


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """One training run.  ``steps`` set: train exactly that many optimiser steps, not a time.

    ``tokens`` or ``flops`` set: until so many tokens were served, or so many operations spent on them.
    """

    rows: str
    """Path of the training rows: uint16 [n, seq_len + 1]."""
    vocab_size: int
    seq_len: int
    seed: int
    budget_seconds: float
    compile_seconds: float
    """Allowance for the first step, which compiles; beyond it the budget runs."""
    weights: str
    """Where the trained weights go, as safetensors."""
    device: Device
    steps: int | None = None
    memory_limit_bytes: int | None = None
    tokens: int | None = None
    flops: float | None = None
    """Of training, 6 for each matrix parameter and token."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The process that answers with logits: what it loads, and the size of one call.  It knows of no rows."""

    script: str
    weights: str
    vocab_size: int
    seq_len: int
    seed: int
    device: Device
    rows_per_call: int
    """Most rows of one call."""
    memory_limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class EvalSpec:
    """One sealed evaluation of saved weights on held-out rows."""

    rows: str
    """Path of the held-out rows: uint16 [n, seq_len + 1]."""
    row_count: int
    """The first ``row_count`` rows are scored, whatever the batch size."""
    token_bytes: str
    """Path of int32 [vocab_size]: raw bytes of each token, 0 for special tokens."""
    vocab_size: int
    seq_len: int
    device: Device
    rows_per_call: int
    model: list[str]
    """Command of the model's process; descriptors are added to it."""
    witness: list[str]
    """The same for the second copy, which sees only what the probes need."""
    model_environment: dict[str, str]
    witness_environment: dict[str, str]


def write_spec(spec: TrainSpec | EvalSpec, path: Path) -> None:
    """A new file; whatever an earlier child put in its place is removed, never followed.  Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "w") as file:
        file.write(json.dumps(asdict(spec), indent=1) + "\n")


def read_train_spec(path: str) -> TrainSpec:
    return TrainSpec(**json.loads(Path(path).read_text()))


def read_eval_spec(path: str) -> EvalSpec:
    return EvalSpec(**json.loads(Path(path).read_text()))


class Events:
    """The child's end of the pipe.  Without a pipe the lines go nowhere."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._fd = int(environment[EVENTS_ENV]) if EVENTS_ENV in environment else None

    def send(self, event: str, **fields: Any) -> None:
        """One line, atomic for lines under 4 KB.  A vanished parent ends this process at once."""
        if self._fd is None:
            return
        try:
            os.write(self._fd, (json.dumps({"event": event, **fields}) + "\n").encode())
        except BrokenPipeError:
            os._exit(70)
