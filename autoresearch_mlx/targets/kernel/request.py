"""Define the requests to child processes that profile a script, take out a function, or time steps."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Mode: TypeAlias = Literal["step", "forward"]


@dataclass(frozen=True, slots=True)
class Request:
    """A request to profile a script, with the sizes of its inputs."""

    script: str
    """Path of the script."""
    mode: Mode
    """Whether to profile a whole training step or one forward pass of the model."""
    device: str
    vocab_size: int
    seq_len: int
    rows: int = 8
    """Number of rows of a forward pass; a training step uses the number of rows that the script sets."""
    seed: int = 42

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Request:
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class TakeOut:
    """A request to take one function out of a script or of a starter's reference."""

    name: str
    """Name of the task."""
    function: str
    reference: str
    """Path of reference.py, which defines the function."""
    script: str
    """Path of the script that calls the function, or an empty string for a starter."""
    device: str
    vocab_size: int
    seq_len: int
    arguments: list[list[Any]]
    """Parameters in order, each with [shape, number type] or {"constant": value}."""
    outputs: int
    differentiated: bool
    seed: int = 42

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TakeOut:
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Steps:
    """A request to time the steps of two versions of a script in alternation."""

    plain: str
    """Path of the script without the kernels."""
    changed: str
    """Path of the script with the kernels."""
    functions: list[str]
    """Functions that have a kernel in ``changed``."""
    device: str
    vocab_size: int
    seq_len: int
    pairs: int
    block_seconds: float
    """Smallest total time, in seconds, of the steps that are timed in one block."""
    seed: int = 42

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Steps:
        return cls(**json.loads(text))
