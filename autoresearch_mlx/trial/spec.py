"""Define how the parent instructs its children, how they report events, and how weights are counted.

The instructions are a specification: a JSON file, whose path the child gets in its environment or as an argument.
Events are lines of JSON on a pipe, whose descriptor is in the environment.  The script may print anything on standard
output, which is logged and not read.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

FLOPS_PER_PARAMETER = 6
"""Operations that training needs for each matrix parameter and token.

The six operations are a multiplication and an addition in the forward pass, and two of each in the backward pass.
"""
_TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_MOST_NOTED = 100
"""Longest note (__metadata__) in a file of weights, in bytes; MLX writes about twenty bytes."""
_LONGEST_HEADER = 2**24
"""Longest header of a safetensors file that is read, in bytes: enough for the names and shapes of about a hundred
thousand arrays."""


def count(shapes: Mapping[str, Sequence[int]], vocab_size: int, tables: int | None = None) -> dict[str, int]:
    """Return three counts: all weights (``num_params``), the weights in matrix products (``matrix_params``), and
    ``tables``.

    A model looks up rows of an embedding table and does not multiply by it, so ``matrix_params`` does not count tables.
    A table is a matrix that has a row for each token, and "wte" or "embedding" in its name.  The script chooses the
    names, so two rules limit what a name can do.  First, at most ``tables`` tables are left out, the smallest first;
    None means any number.  Second, some matrix must produce the logits.  If no other matrix is as wide as the
    vocabulary and as large as the smallest table, this table counts as a matrix (tied weights).

    Vectors may be a matrix that was stored flat, or row by row.  So vectors count as matrices if they have, together,
    more weights than the vocabulary has tokens, and more than a fiftieth of the matrices' weights.
    """
    named = {name: math.prod(shape) for name, shape in shapes.items() if _is_table(name, shape, vocab_size)}
    products = {name: math.prod(shape) for name, shape in shapes.items() if name not in named and len(shape) >= 2}
    vectors = {name: math.prod(shape) for name, shape in shapes.items() if len(shape) < 2}
    if sum(vectors.values()) > max(vocab_size, sum(products.values()) / 50):
        products |= vectors
    least = min(named.values(), default=0)
    head = any(vocab_size <= max(shapes[name], default=1) and size >= least for name, size in products.items())
    sizes = sorted(named.values())
    looked_up = sizes if head else sizes[1:]
    free = looked_up if tables is None else looked_up[:tables]
    return {
        "num_params": sum(map(math.prod, shapes.values())),
        "matrix_params": sum(products.values()) + sum(sizes) - sum(free),
        "tables": len(free),
    }


def _is_table(name: str, shape: Sequence[int], vocab_size: int) -> bool:
    return len(shape) == 2 and shape[0] >= vocab_size and ("wte" in name or "embedding" in name)


def not_weights(weights: Path) -> str | None:
    """Return a sentence if a safetensors file contains anything besides weights of a float type, else None.

    The model process reads this file, so anything else in the file, such as rows, would reach the edited code.  Raises
    ValueError if the header is not valid, and OSError if the file cannot be read.
    """
    found = _header(weights)
    odd = {dtype for dtype, _ in found.values()} - _TYPES.keys()
    if odd:
        return f"the saved weights are of type {', '.join(sorted(odd))}: weights must be float32, float16 or bfloat16"
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    noted = len(json.dumps(header.get("__metadata__", {})))
    held = sum(_BYTES[dtype] * math.prod(shape) for dtype, shape in found.values())
    extra = weights.stat().st_size - 8 - length - held
    if noted > _MOST_NOTED or extra:
        return f"the file of weights holds {noted + max(extra, 0):,} bytes besides the weights"
    return None


def not_plain(weights: Path) -> str | None:
    """Return a sentence if a file of weights must not be opened, or None for a regular file with a single name.

    Instead of this file, the edited script can make a pipe, which has no end, or a link to another file.  Raises
    OSError if the file does not exist.
    """
    found = weights.lstat()
    plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    return None if plain else f"{weights.name} is not a regular file with a single name"


def shapes_of(weights: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array in a safetensors file, by name.

    Raises OSError, and ValueError if the file has no valid header.
    """
    return {name: shape for name, (_, shape) in _header(weights).items()}


def type_of_most(weights: Path) -> str:
    """Return the number type of most weights in a safetensors file: float32, float16 or bfloat16.

    Returns float32 if most weights have another type.  Raises OSError, and ValueError if the file has no valid header.
    """
    held: dict[str, int] = {}
    for dtype, shape in _header(weights).values():
        held[dtype] = held.get(dtype, 0) + math.prod(shape)
    return _TYPES.get(max(held, key=lambda dtype: held[dtype], default=""), "float32")


def _header(weights: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return the type and the shape of each array in a safetensors file, by name.  Raises ValueError, OSError."""
    if (why := not_plain(weights)) is not None:
        raise ValueError(why)
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LONGEST_HEADER:
            raise ValueError(f"the header would be {length} bytes long, and at most {_LONGEST_HEADER} are read")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("the header is not a JSON object")
    found = {}
    for name, each in header.items():
        if name == "__metadata__":
            continue
        shape = each.get("shape") if isinstance(each, dict) else None
        if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("the header has a weight without a valid shape")
        found[name] = str(each.get("dtype")), tuple(shape)
    return found


TRAIN_ENV = "AUTORESEARCH_TRAIN_SPEC"
EVENTS_ENV = "AUTORESEARCH_EVENTS_FD"
WEIGHTS = "weights.safetensors"
"""Name of the file with the trained weights in a run folder."""

Device = Literal["cpu", "gpu"]


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """The instructions for one training child.

    The child trains for ``budget_seconds``, unless ``steps``, ``tokens`` or ``flops`` sets another budget: a number
    of optimiser steps, of tokens served, or of operations.
    """

    rows: tuple[int, int]
    """Two inherited descriptors, one to request training rows and one to read them from (see :mod:`serving`)."""
    vocab_size: int
    seq_len: int
    seed: int
    budget_seconds: float
    compile_seconds: float
    """Seconds that the first step, which compiles, may take before the budget begins to run."""
    launched: float
    """Time at which the parent started the child, by ``time.monotonic``, which all processes of a machine share."""
    start_seconds: float
    """Seconds that the child may take until it asks for its first batch; a longer time shortens the budget."""
    weights: str
    """Path to which the trained weights are saved, in safetensors format."""
    device: Device
    steps: int | None = None
    memory_limit_bytes: int | None = None
    tokens: int | None = None
    flops: float | None = None
    """Number of operations to train for, counted as 6 per matrix parameter and token."""
    tables: int | None = None
    """Largest number of matrices that count as tables, or None for any number (see ``count``)."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The instructions for a process that answers with logits.  They do not name a file of rows."""

    script: str
    weights: str
    vocab_size: int
    seq_len: int
    seed: int
    device: Device
    rows_per_call: int
    """Largest number of rows of one call."""
    memory_limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class EvalSpec:
    """One sealed evaluation of saved weights on held-out rows."""

    rows: str
    """Path of the held-out rows, uint16 [n, seq_len + 1]."""
    row_count: int
    """Number of rows that are scored; they are the first rows of the file."""
    tails: str
    """Path of the training rows, uint16 [n, seq_len + 1], whose text replaces the ends of cut rows."""
    token_bytes: str
    """Path of an array, int32 [vocab_size]: the number of raw bytes of each token, 0 for special tokens."""
    vocab_size: int
    seq_len: int
    device: Device
    rows_per_call: int
    models: list[list[str]]
    """Commands of the two model processes, which differ only in the names of folders.

    The evaluator appends the numbers of inherited descriptors to each command.
    """
    environments: list[dict[str, str]]
    weights_type: str
    """Number type of most of the weights: float32, float16 or bfloat16."""
    answer_seconds: float = 60.0
    """Seconds after which a model process counts as hung, if it neither answers nor computes."""
    samples: dict[str, str] = field(default_factory=dict)
    """For an audit: name -> path of each further set of rows, of which the audit scores a random sample."""
    draw: int = 0
    """Seed of an audit's samples; two audits with the same seed score the same rows."""
    rows_out: str = ""
    """Path of an audit's npz file: for each set of rows, an array float64 [2, n] with each row's bits and bytes."""


def write_spec(spec: TrainSpec | EvalSpec, path: Path) -> None:
    """Write a specification to a new file.  Raises OSError.

    Anything that an earlier child made at ``path`` is removed first.  A link is removed, and the file that it leads to
    stays.
    """
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
    """The child's end of the event pipe.  Without a pipe, events are dropped."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._fd = int(environment[EVENTS_ENV]) if EVENTS_ENV in environment else None

    def send(self, event: str, **fields: Any) -> None:
        """Send one event as a line of JSON; if the parent has ended, end this process at once.

        A write of up to PIPE_BUF bytes (4,096 on Linux) is atomic, pipe(7), so the lines of two threads do not mix.
        """
        if self._fd is None:
            return
        try:
            os.write(self._fd, (json.dumps({"event": event, **fields}) + "\n").encode())
        except BrokenPipeError:
            os._exit(70)
