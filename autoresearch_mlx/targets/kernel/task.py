"""Define a task: a function to make faster, the inputs for testing candidates, and the tolerances.

`kernel extract` writes the task as ``task.json`` beside ``reference.py``; neither file is ever editable.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.targets.kernel.operations import Shape

TASK, REFERENCE, KERNEL = "task.json", "reference.py", "kernel.py"
Baseline: TypeAlias = Literal["eager", "compiled", "fast"]
Sizes: TypeAlias = Mapping[str, int]
_LEAST_FREE, _MOST_FREE = 0.5, 1.5
"""Smallest and largest held-out size of a free axis, as a share of the model's size."""


@dataclass(frozen=True, slots=True)
class Array:
    """One array that the function takes."""

    name: str
    dtype: str
    axes: tuple[str | int, ...]
    """Size of each axis: the name of a size, or a fixed number."""
    mean: float = 0.0
    std: float = 1.0
    below: str | int | None = None
    """Exclusive upper bound of the integers in an array: the name of a size, or a number."""
    lower: bool = False
    """Whether the booleans of this array form a lower triangle, like a causal mask; other booleans are random."""

    def shape(self, sizes: Sizes) -> Shape:
        return tuple(each if isinstance(each, int) else sizes[each] for each in self.axes)


@dataclass(frozen=True, slots=True)
class Task:
    """A function to make faster, with everything about it that candidates cannot change."""

    name: str
    function: str
    """Name of the function in reference.py."""
    parameters: tuple[str, ...]
    """Names of all parameters, in order: arrays and constants."""
    arrays: tuple[Array, ...]
    constants: Mapping[str, Any]
    outputs: int
    """Number of arrays that the function returns."""
    differentiated: bool
    """Whether the step takes the function's gradient; if so, the gradient is checked and timed too."""
    sizes: Sizes
    """Name of a size -> its value in the model.  Candidates are timed at these values."""
    free: tuple[str, ...]
    """Names of the sizes that may differ from the model's."""
    odd: tuple[Sizes, ...]
    """Further sizes at which a candidate must be right."""
    tolerance: float
    """Largest allowed error of one number, as a share of the number's size plus the typical size of the output."""
    typical: float
    """Largest allowed root-mean-square error, as a share of the typical size of the output."""
    baselines: tuple[Baseline, ...]
    """Versions of the reference; a candidate must beat the fastest version."""
    script: str = ""
    """Name of the script that has the function, or an empty string for a starter."""
    row: Mapping[str, Any] | None = None
    """The function's row of the profile, or None if there is no profile."""
    made_on: Mapping[str, str] | None = None
    """Chip and MLX version of the machine that made the task."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """Return the names of the outputs in the source of a Metal or CUDA kernel."""
        return ("out",) if self.outputs == 1 else tuple(f"out{at}" for at in range(self.outputs))

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    def drawn_sizes(self, chance: random.Random) -> dict[str, int]:
        """Return random sizes near the model's, drawn with ``chance``; sizes that may not change stay the same."""
        drawn = dict(self.sizes)
        for name in self.free:
            least = max(1, int(self.sizes[name] * _LEAST_FREE))
            most = max(least + 1, int(self.sizes[name] * _MOST_FREE))
            choices = [size for size in range(least, most + 1) if size != self.sizes[name]]
            drawn[name] = chance.choice(choices)
        return drawn


def task_from(text: str) -> Task:
    """Return the task in a JSON text.  Raises LabError if the text is malformed."""
    try:
        found: dict[str, Any] = json.loads(text)
        arrays = tuple(Array(**each | {"axes": tuple(each["axes"])}) for each in found.pop("arrays"))
        for name in ("parameters", "free", "odd", "baselines"):
            found[name] = tuple(found[name])
        return Task(arrays=arrays, **found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LabError(f"{TASK} is malformed: {error}", "take the function out again: kernel extract") from None


def read_task(folder: Path) -> Task:
    """Return the task of a kernel lab.  Raises LabError if task.json cannot be read or is malformed."""
    try:
        return task_from((folder / TASK).read_text(encoding="utf-8"))
    except OSError as error:
        said = f"{folder / TASK} cannot be read: {error.strerror}"
        raise LabError(said, "`autoresearch-mlx kernel extract f1` makes a kernel lab") from None


def sealed(root: Path) -> str:
    """Return the SHA-256 of task.json and reference.py together.  Raises LabError if either file cannot be read."""
    digest = hashlib.sha256()
    for name in (TASK, REFERENCE):
        try:
            digest.update((root / name).read_bytes() + b"\0")
        except OSError as error:
            raise LabError(f"{root / name} cannot be read: {error.strerror}", "take the function out again") from None
    return digest.hexdigest()
