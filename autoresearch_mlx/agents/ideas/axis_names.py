"""Make axes and titles comparable, however people and models write them."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from autoresearch_mlx.compare.effects import axis_of_experiment
from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.lab.source import axis_of

LONGEST_AXIS = 40
NO_AXIS = frozenset({"baseline", "code", "seed", "none", "null", "unknown", "other"})
"""Words that people and models give as an axis although they name no kind of change."""
_KNOB = re.compile(r"\b[A-Z][A-Z0-9_]*\b")
_WORD = re.compile(r"[-+*/]?\d[\w.]*|\w+")


@lru_cache(maxsize=4096)  # cached, because each choice normalises the axes of the whole history again
def clean_axis(text: str | None) -> str | None:
    """Normalise an axis to lower-case words (``LR / Matrix`` -> ``lr_matrix``); None when nothing usable is left."""
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
    """Return an experiment's axis, and the axes of all knobs that it changed."""
    named = {axis_tried(experiment), *(clean_axis(axis_of(name)) for name in experiment.knobs)}
    return frozenset(axis for axis in named if axis is not None)


def title_key(title: str) -> str:
    """Return a key that ignores case, spaces and punctuation of a title, but not the signs of numbers."""
    plain = unicodedata.normalize("NFKC", title).casefold()
    return " ".join(_WORD.findall(plain)) or plain.strip()
