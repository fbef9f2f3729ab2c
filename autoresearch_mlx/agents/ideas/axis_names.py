"""Make axes and titles comparable, because people and models write them in many ways."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from autoresearch_mlx.compare.effects import axis_of_experiment
from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.lab.source import axis_of

LONGEST_AXIS = 40
NO_AXIS = frozenset({"baseline", "code", "seed", "none", "null", "unknown", "other"})
"""Words that people and models give as an axis, but that name no kind of change."""
_KNOB = re.compile(r"\b[A-Z][A-Z0-9_]*\b")
_WORD = re.compile(r"[-+*/]?\d[\w.]*|\w+")


@lru_cache(maxsize=4096)  # cached, because each choice normalises the axes of the whole history again
def clean_axis(text: str | None) -> str | None:
    """Return an axis as lower-case words (``LR / Matrix`` -> ``lr_matrix``); None when the text names no axis."""
    parts = re.sub(r"[^a-z0-9_.]+", "_", (text or "")[:200].lower()).split(".")
    axis = ".".join(part.strip("_") for part in parts if part.strip("_"))[:LONGEST_AXIS].rstrip("._")
    return axis if axis and axis not in NO_AXIS else None


def axis_in(text: str) -> str | None:
    """Return the axis of the first well-known knob that a text names."""
    axes = (axis_of(name) for name in _KNOB.findall(text))
    return next((axis for axis in axes if axis not in NO_AXIS and not axis.startswith("knob.")), None)


def axis_tried(experiment: Experiment) -> str | None:
    """Return the axis that an experiment tried, for counting; None if the experiment names no axis."""
    return clean_axis(axis_of_experiment(experiment))


def axes_touched(experiment: Experiment) -> frozenset[str]:
    """Return the axis of an experiment, and the axes of all knobs that the experiment changed."""
    named = {axis_tried(experiment), *(clean_axis(axis_of(name)) for name in experiment.knobs)}
    return frozenset(axis for axis in named if axis is not None)


def title_key(title: str) -> str:
    """Return a title in a form without case, spaces and punctuation, so that titles can be compared.

    The signs of numbers are kept.
    """
    plain = unicodedata.normalize("NFKC", title).casefold()
    return " ".join(_WORD.findall(plain)) or plain.strip()
