"""How a child of a measurement starts: in the sandbox, with its own temporary folder, watched by the parent.

    room = confined(conditions, assignment, command, training_permissions(conditions, assignment))
    ended = run_child(room.command, environment=room.environment, watch=room.watch, ...)
    failure = why_killed(ended, log)

The permissions is made after the files that it names: what does not exist yet is dropped from it.  ``watched`` and
``inside`` are the two halves, for the evaluation: there our own scorer starts the processes that are confined.
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
"""The kernel's own limit lies above the watched one: most of what eats memory is then killed with a reason, and
what eats it faster than the parent looks is refused."""


class Confined(NamedTuple):
    """What ``run_child`` takes."""

    command: list[str]
    environment: dict[str, str]
    watch: Watch


def confined(
    conditions: Conditions, assignment: Assignment, command: Sequence[str], permissions: Permissions
) -> Confined:
    """A child's command, environment and watch under ``permissions``; without a sandbox the command stays as it is.

    Keys and tokens are left out of the environment in any case.  Raises OSError when no temporary folder can be
    made in the run folder.
    """
    mark, watch = watched(conditions, assignment)
    environment = {
        **without_secrets(child_process_environment(conditions.environment)),
        **private_tmp(assignment.folder),
        **mark,
    }
    return Confined(inside(conditions, command, permissions), environment, watch)


def watched(conditions: Conditions, assignment: Assignment) -> tuple[dict[str, str], Watch]:
    """A watch over one child of a run, and the variable by which its processes are known."""
    marker = uuid.uuid4().hex
    limits = replace(conditions.limits, folder=assignment.folder, processes=MOST_PROCESSES)
    return {MARKER: marker}, Watch(limits, marker)


def inside(conditions: Conditions, command: Sequence[str], permissions: Permissions) -> list[str]:
    """The command in the sandbox, with what the kernel enforces of the limits; unchanged without a sandbox."""
    if conditions.sandbox is None:
        return list(command)
    return conditions.sandbox.wrap(command, _with_limits(permissions, conditions.limits))


def why_killed(ended: Ended, log: Path) -> tuple[Failure, str] | None:
    """A status and a sentence for a child that the parent killed, or that did not get into the sandbox."""
    if ended.killed is not None:
        return "timeout", ended.killed
    if ended.exceeded is not None:
        return "crash", f"{ended.exceeded}; killed"
    if (why := refused(ended.returncode, tail_of(log))) is not None:
        return "crash", why
    return None


def _with_limits(permissions: Permissions, limits: Limits) -> Permissions:
    """What the kernel enforces of the limits.  A GPU's driver maps far more than it uses, so memory is not in it."""
    memory = None if permissions.gpu or limits.memory_bytes is None else int(_HARD_SHARE * limits.memory_bytes)
    largest = [size for size in (permissions.file_bytes, limits.folder_bytes) if size is not None]
    return replace(permissions, memory_bytes=memory, file_bytes=min(largest, default=None))
