"""The axis that a task is about, when it names one."""

from __future__ import annotations

import re

from autoresearch_mlx.compare.effects import axis_of_experiment
from autoresearch_mlx.experiment import Context
from autoresearch_mlx.lab.axes import axis_of
from autoresearch_mlx.lab.source import read_knobs

_NAME = r"([a-z0-9_]+(?:\.[a-z0-9_]+)*)"
_MARKED = re.compile(rf"\baxis\s*(?:[:=]\s*[`'\"]?|[`'\"]){_NAME}", re.IGNORECASE)
_BARE = re.compile(rf"\baxis\s+{_NAME}|{_NAME}\s+axis\b", re.IGNORECASE)
_KNOB = re.compile(r"\b[A-Z][A-Z0-9_]+\b")


def axis_named(task: str, context: Context) -> str | None:
    """``batch`` from "the axis `batch`" or "axis: batch"; else the axis of the first knob that the task names."""
    if marked := _MARKED.search(task):
        return marked.group(1).lower()
    known = {*axes_of_files(context), *(axis_of_experiment(e) for e in context.history.experiments)}
    bare = ((match.group(1) or match.group(2)).lower() for match in _BARE.finditer(task))
    knobs = {name for text in context.files.values() for name in read_knobs(text)}
    named = (axis_of(word) for word in _KNOB.findall(task) if word in knobs)
    return next((axis for axis in [*bare, *named] if axis in known), None)


def axes_of_files(context: Context) -> list[str]:
    """The axes of all knobs, in the order of the files."""
    return list(dict.fromkeys(axis_of(name) for text in context.files.values() for name in read_knobs(text)))
