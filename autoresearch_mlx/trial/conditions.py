"""Define the conditions of a training measurement, which are everything that the edited file does not decide."""

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
    """The fixed part of a training measurement: data, budget, device, time limits and sandbox.

    Each file of rows holds a uint16 array [n, seq_len + 1] in numpy's format.
    """

    script: str
    """Path of the training script, relative to the lab."""
    train_rows: Path
    val_rows: Path
    token_bytes: Path
    """Path of an array, int32 [vocab_size]: the number of raw bytes of each token, 0 for special tokens."""
    vocab_size: int
    seq_len: int
    eval_rows: int
    """Number of held-out rows that the evaluation scores."""
    device: Device
    budget_seconds: float
    """Seconds of training, or the longest time for training if the budget is in tokens or operations."""
    compile_seconds: float
    """Seconds that the first optimiser step, which compiles, may take before the budget begins to run."""
    evaluate_seconds: float
    """Seconds that the evaluation may take."""
    answer_seconds: float = 60.0
    """Seconds after which a model process of the evaluation counts as hung, if it neither answers nor computes."""
    memory_limit_bytes: int | None = None
    """Limit in bytes that is set for MLX's memory; with None, MLX keeps its own limit."""
    hidden_rows: Path | None = None
    """Path of the rows with which ``certify`` scores a model; experiments do not use these rows."""
    split: Literal["val", "hidden"] = "val"
    """Name of the rows that the evaluation scores."""
    steps: int | None = None
    """Number of optimiser steps after which training ends, instead of a time."""
    budget_tokens: int | None = None
    """Number of tokens after which training ends, instead of a time."""
    budget_flops: float | None = None
    """Number of operations (FLOPs) after which training ends, instead of a time.

    A token costs 6 operations for each matrix parameter.
    """
    closed: tuple[Path, ...] = ()
    """Files and folders with the text of held-out rows; the sandbox does not let the children read them."""
    closed_in_tree: tuple[str, ...] = ()
    """Copies in the worktree of the files in ``closed``, as paths relative to the worktree."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables added to the children's environment, such as those that preload a fast BLAS on Linux."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """Facts about the machine that are recorded with each measurement."""
    sandbox: Sandbox | None = None
    """The sandbox that confines the children; None runs them unconfined."""
    limits: Limits = field(default_factory=Limits)
    """Limits on what a run may use, which the parent watches with and without a sandbox."""

    def scored_rows(self) -> Path:
        """Return the path of the rows that ``split`` names.  Raises ValueError if there are no hidden rows."""
        if self.split == "val":
            return self.val_rows
        if self.hidden_rows is None:
            raise ValueError("these conditions name no hidden rows")
        return self.hidden_rows
