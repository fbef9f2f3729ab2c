"""Return the permissions of each child of a measurement."""

from __future__ import annotations

from pathlib import Path

from autoresearch_mlx.experiment import Assignment
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.sandbox.permissions import (
    MOST_PROCESSES,
    Permissions,
    package,
    preloaded,
    python_paths,
    real,
)
from autoresearch_mlx.trial.spec import WEIGHTS

_FILE_BYTES = 16 * 2**30
"""Largest file that a child may write, in bytes: room for four billion float32 weights."""


def training_permissions(conditions: Conditions, assignment: Assignment) -> Permissions:
    """Return the permissions of the training child: it may read its worktree and write to its run folder.

    The child may not read the file of training rows, because the parent process sends the rows.
    """
    gpu = conditions.device == "gpu"
    return Permissions(
        read=real([*python_paths(), *preloaded(conditions.environment), assignment.tree]),
        closed=_closed(conditions, assignment),
        write=real([assignment.folder]),
        listed=real([package().parent]),
        gpu=gpu,
        processes=1 if gpu else MOST_PROCESSES,
        file_bytes=_FILE_BYTES,
    )


def evaluation_permissions(conditions: Conditions, assignment: Assignment, tmp: Path) -> Permissions:
    """Return the permissions of a model process: it may read its worktree and the weights, but no file of rows.

    The process may write only to its temporary folder ``tmp``.  It receives inputs and sends logits through inherited
    descriptors, which need no permission.
    """
    gpu = conditions.device == "gpu"
    weights = assignment.folder / WEIGHTS
    return Permissions(
        read=real([*python_paths(), *preloaded(conditions.environment), assignment.tree, weights]),
        closed=_closed(conditions, assignment),
        write=(tmp.resolve(),),
        listed=real([package().parent]),
        gpu=gpu,
        processes=1 if gpu else MOST_PROCESSES,
        file_bytes=_FILE_BYTES,
    )


def _closed(conditions: Conditions, assignment: Assignment) -> tuple[Path, ...]:
    """Return the paths of the held-out text and of its copies in the worktree."""
    return real([*conditions.closed, *(assignment.tree / name for name in conditions.closed_in_tree)])
