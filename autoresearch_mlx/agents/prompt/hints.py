"""What won and lost on an H100, as a hint for a run on another machine."""

from __future__ import annotations

from collections.abc import Sequence

from autoresearch_mlx import terms
from autoresearch_mlx.compare import catalog
from autoresearch_mlx.compare.effects import Effect, effects, from_reference
from autoresearch_mlx.compare.log import METRIC
from autoresearch_mlx.compare.summary import best_wins
from autoresearch_mlx.experiment import KnobChanges
from autoresearch_mlx.lab.source import literal

MOST = 6


def h100(axis: str | None, metric: str) -> str:
    """The H100's runs of this axis (or of its family), else its best axes; empty for another metric.

    Raises LabError when the installation lacks the table, TableError when that is malformed.
    """
    if metric != METRIC:
        return ""
    reference = catalog.h100()
    found = effects([from_reference(run) for run in reference.runs], "min")
    chosen = _of_axis(found, axis) if axis is not None else best_wins(found)[:MOST]
    lines = [f"- {_told(effect)}" for effect in chosen]
    return "\n".join([_WARNING, *lines]) if lines else ""


_WARNING = (
    "ANOTHER MACHINE: an H100 with 300 s a run, about a thousand steps of half a million tokens."
    " Only directions may carry over, and some reverse on a small machine."
)


def _of_axis(found: Sequence[Effect], axis: str) -> list[Effect]:
    same = [e for e in found if e.run.axis == axis]
    family = [e for e in found if e.run.axis.split(".")[0] == axis.split(".")[0]]
    return (same or family)[:MOST]


def _told(effect: Effect) -> str:
    run = effect.run
    what = _changes(run.changes) or "change of code"
    gain = f"gain {terms.gain(effect.gain)}" if effect.gain is not None else "no value"
    return f"{run.axis}: {what}: {gain}, {run.status} ({run.note})"


def _changes(changes: KnobChanges) -> str:
    return ", ".join(f"{name} {_value(was)} -> {_value(now)}" for name, (was, now) in changes.items())


def _value(value: object) -> str:
    return "?" if value is None else literal(value)
