"""Start a child process of a measurement in the sandbox, with a temporary folder and limits that the parent watches.

    child = confined(conditions, assignment, command, training_permissions(conditions, assignment))
    ended = run_child(child.command, environment=child.environment, watch=child.watch, ...)
    failure = why_killed(ended, log)

Make the permissions only after the files that they name exist, because paths that do not exist are dropped.
``confined`` calls ``watched`` and ``inside``.  The evaluation calls these two functions itself, because in an
evaluation the evaluator starts the confined processes.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from autoresearch_mlx.experiment import Assignment, Failure
from autoresearch_mlx.trial.autopsy import tail_of
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.runner import Ended, child_process_environment
from autoresearch_mlx.trial.sandbox.detect import refused
from autoresearch_mlx.trial.sandbox.limits import MARKER, Limits, Watch
from autoresearch_mlx.trial.sandbox.permissions import MOST_PROCESSES, Permissions, private_tmp, without_secrets

_HARD_SHARE = 1.25
"""Ratio of the kernel's memory limit to the limit that the parent watches.

The parent reads the memory ten times a second, and can say why it killed a child.  The kernel's limit also stops a
child that allocates much between two readings, but gives no reason.
"""


class Confined(NamedTuple):
    """The values that ``run_child`` needs to start and watch a child."""

    command: list[str]
    environment: dict[str, str]
    watch: Watch


def confined(
    conditions: Conditions, assignment: Assignment, command: Sequence[str], permissions: Permissions
) -> Confined:
    """Return the command, the environment and the watch for a child that runs under ``permissions``.

    Without a sandbox, the command is unchanged.  The environment never contains variables with keys or tokens.  Raises
    OSError if no temporary folder can be made in the run folder.
    """
    mark, watch = watched(conditions, assignment)
    environment = {
        **without_secrets(child_process_environment(conditions.environment)),
        **private_tmp(assignment.folder),
        **mark,
    }
    return Confined(inside(conditions, command, permissions), environment, watch)


def watched(conditions: Conditions, assignment: Assignment) -> tuple[dict[str, str], Watch]:
    """Return an environment variable that marks the processes of one child, and a watch that looks for this mark."""
    marker = uuid.uuid4().hex
    limits = replace(conditions.limits, folder=assignment.folder, processes=MOST_PROCESSES)
    return {MARKER: marker}, Watch(limits, marker)


def inside(conditions: Conditions, command: Sequence[str], permissions: Permissions) -> list[str]:
    """Return a command that runs ``command`` in the sandbox and under the kernel's limits.

    Without a sandbox, the command is returned unchanged.
    """
    if conditions.sandbox is None:
        return list(command)
    return conditions.sandbox.wrap(command, _with_limits(permissions, conditions.limits))


def why_killed(ended: Ended, log: Path) -> tuple[Failure, str] | None:
    """Return the status and the reason if the parent killed the child, or if the child could not enter the sandbox.

    Otherwise return None.
    """
    if ended.killed is not None:
        return "timeout", ended.killed
    if ended.exceeded is not None:
        return "crash", f"{ended.exceeded}; killed"
    if (why := refused(ended.returncode, tail_of(log))) is not None:
        return "crash", why
    return None


def _with_limits(permissions: Permissions, limits: Limits) -> Permissions:
    """Return the permissions with the limits that the kernel can enforce.

    On a GPU the kernel sets no memory limit, because such a limit counts all mapped memory, and the GPU's driver maps
    far more than it uses.
    """
    memory = None if permissions.gpu or limits.memory_bytes is None else int(_HARD_SHARE * limits.memory_bytes)
    largest = [size for size in (permissions.file_bytes, limits.folder_bytes) if size is not None]
    return replace(permissions, memory_bytes=memory, file_bytes=min(largest, default=None))
