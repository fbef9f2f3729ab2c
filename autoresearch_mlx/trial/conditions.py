"""Everything about a training measurement that the edited file does not decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from autoresearch_mlx.trial.sandbox.detect import Sandbox
from autoresearch_mlx.trial.sandbox.limits import Limits
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
    """Of training; with a budget of tokens or operations, the most that a run may take."""
    compile_seconds: float
    evaluate_seconds: float
    memory_limit_bytes: int | None = None
    hidden_rows: Path | None = None
    """Rows that no search ever scores; for certification."""
    split: Literal["val", "hidden"] = "val"
    """Which rows the evaluation scores."""
    steps: int | None = None
    """Train exactly so many optimiser steps instead of a time."""
    budget_tokens: int | None = None
    """Train on so many tokens, however long that takes."""
    budget_flops: float | None = None
    """Train for so many operations, 6 for each matrix parameter and token."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the children's environment: the fast BLAS on Linux."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """Recorded with each measurement."""
    sandbox: Sandbox | None = None
    """What confines both children; None: nothing does."""
    limits: Limits = field(default_factory=Limits)
    """Memory and disk that a run may use, watched by the parent with a sandbox and without."""

    def scored_rows(self) -> Path:
        """The rows of ``split``.  Raises ValueError when they are the hidden ones and there are none."""
        if self.split == "val":
            return self.val_rows
        if self.hidden_rows is None:
            raise ValueError("these conditions name no hidden rows")
        return self.hidden_rows
