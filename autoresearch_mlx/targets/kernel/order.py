"""Define the order: the instructions for one measurement, which the bench and the referee read as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autoresearch_mlx.targets.kernel.candidate import Candidate, candidate_from
from autoresearch_mlx.targets.kernel.task import Sizes, Task, task_from


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of inputs on which a candidate is tested: the sizes, the seed and the scale of the values."""

    name: str
    """Name of the trial, and of the files with the candidate's outputs."""
    sizes: Sizes
    seed: int
    scale: float = 1.0
    kind: str = ""
    """Description, such as ``the model's shape`` or ``an odd shape``."""


@dataclass(frozen=True, slots=True)
class Order:
    """The instructions for one measurement of one candidate."""

    task: Task
    reference: str
    """Path of reference.py."""
    candidate: Candidate | None
    """The candidate to measure, or None if only the baselines are timed."""
    device: str
    folder: str
    """Folder for the outputs."""
    trials: tuple[Trial, ...]
    timed: Sizes
    """Sizes at which the candidate is timed."""
    seed: int
    """Seed of the timed inputs."""

    def to_json(self) -> str:
        plain = asdict(self) | {
            "task": self.task.to_json(),
            "candidate": None if self.candidate is None else self.candidate.to_json(),
        }
        return json.dumps(plain)


def order_from(text: str) -> Order:
    """Return the order that :meth:`Order.to_json` wrote."""
    found: dict[str, Any] = json.loads(text)
    trials: Sequence[Mapping[str, Any]] = found.pop("trials")
    candidate = found.pop("candidate")
    return Order(
        task=task_from(found.pop("task")),
        candidate=None if candidate is None else candidate_from(candidate),
        trials=tuple(Trial(**each) for each in trials),
        **found,
    )
