"""Past failures worth knowing before the next edit: why, what had changed, and the end of the log.

A log is only shown beside the code that wrote it: a model that reads a traceback of code which is no
longer there goes and mends it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoresearch_mlx.agents.prompt.foreign import block, cell, phrase, tail, tame
from autoresearch_mlx.compare.effects import axis_of_experiment
from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.experiment import Context, Experiment

MOST = 2
_TOLD = frozenset({"crash", "timeout", "invalid"})
_LOG_LINES = 15
_DIFF_LINES = 60
_WIDTH = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed experiment as text; ``diff`` and ``log`` are empty where there is nothing to show."""

    head: str
    diff: str
    log: str


def nearest(context: Context, axis: str | None) -> tuple[Failure, ...]:
    """The newest failures of this axis, then of its family (``lr.matrix``, ``lr.scalar``), else of all; newest last."""
    failed = [e for e in context.history.experiments if e.status in _TOLD and e.number > 0]
    if axis is not None:
        failed = _of_axis(failed, axis)
    return tuple(_failure(e, context) for e in failed[-MOST:])


def _of_axis(failed: Sequence[Experiment], axis: str) -> list[Experiment]:
    same = [e for e in failed if axis_of_experiment(e) == axis]
    family = axis.split(".")[0]
    kin = [e for e in failed if e not in same and axis_of_experiment(e).split(".")[0] == family]
    return [*kin, *same]


def _failure(e: Experiment, context: Context) -> Failure:
    head = f"Experiment {e.number} ({e.status}, axis {cell(axis_of_experiment(e), 24)}): {phrase(e.title)}"
    diff = _diff(e, context)
    log = tail(context.log_tail(e), _LOG_LINES, _WIDTH) if diff else ""
    return Failure(f"{head}\nReason: {phrase(e.reason, 400)}", diff, log)


def _diff(e: Experiment, context: Context) -> str:
    """What the experiment changed; its first lines when it changed much.  Empty when `gc` has let it go."""
    if e.commit is None or e.base is None:
        return ""
    try:
        lines = _unified(context.read(e.base), context.read(e.commit))
    except WorkspaceError:
        return ""
    more = len(lines) - _DIFF_LINES
    shown = lines[:_DIFF_LINES] + ([f"({more} more lines)"] if more > 0 else [])
    return "\n".join(tame(line[:_WIDTH]) for line in shown)


def _unified(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    for path in sorted({*before, *after}):
        old, new = before.get(path, ""), after.get(path, "")
        if old != new:
            lines += difflib.unified_diff(old.splitlines(), new.splitlines(), path, path, n=2, lineterm="")
    return lines


def render(failures: Sequence[Failure], code: bool, logs: bool) -> str:
    """All of them; without their code there is no log either."""
    return "\n\n".join(_render(failure, code, code and logs) for failure in failures)


def _render(failure: Failure, code: bool, log: bool) -> str:
    parts = [failure.head]
    if code and failure.diff:
        parts.append(f"It had changed this (the file above does not have it):\n{block(failure.diff, 'diff')}")
    if log and failure.log:
        parts.append(f"The end of its log:\n{block(failure.log, 'text')}")
    return "\n".join(parts)
