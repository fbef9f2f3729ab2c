"""Everything about a training measurement that the edited file does not decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoresearch_mlx.trial.spec import Device


@dataclass(frozen=True, slots=True)
class Conditions:
    """Data, clock, device and surroundings of a run."""

    script: str
    """The training script, relative to the lab."""
    train_rows: Path
    val_rows: Path
    token_bytes: Path
    vocab_size: int
    seq_len: int
    eval_rows: int
    device: Device
    budget_seconds: float
    compile_seconds: float
    evaluate_seconds: float
    memory_limit_bytes: int | None = None
    steps: int | None = None
    """Train exactly so many optimiser steps instead of a time."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the children's environment: the fast BLAS on Linux."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """Recorded with each measurement."""
