"""Say what a child process is to profile."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

Mode: TypeAlias = Literal["step", "forward"]


@dataclass(frozen=True, slots=True)
class Request:
    """One script to profile, and the sizes of what it is given."""

    script: str
    """Path of the script."""
    mode: Mode
    """A whole training step, or one forward pass of the model."""
    device: str
    vocab_size: int
    seq_len: int
    rows: int = 8
    """Rows of a forward pass; a training step decides that itself."""
    seed: int = 42

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Request:
        return cls(**json.loads(text))
