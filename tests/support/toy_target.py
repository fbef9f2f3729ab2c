"""A user's own target: the number of characters in a file, to be minimised."""

from __future__ import annotations

from dataclasses import dataclass

from autoresearch_mlx.experiment import Assignment, Direction, Measurement
from autoresearch_mlx.targets.contract import Place, TargetBase, TargetKind


@dataclass(frozen=True)
class ToyConditions:
    unit: int = 1
    """Number by which the count of characters is divided."""


@dataclass(frozen=True)
class Toy(TargetBase):
    conditions: ToyConditions
    metric: str
    direction: Direction
    name: str = "toy"

    def measure(self, assignment: Assignment) -> Measurement:
        try:
            text = (assignment.tree / "words.txt").read_text()
        except OSError as error:
            return Measurement(None, assignment.seed, "crash", f"words.txt: {error.strerror}")
        return Measurement(len(text) / self.conditions.unit, assignment.seed)


class ToyKind(TargetKind[ToyConditions]):
    name = "toy"
    conditions = ToyConditions
    metric = "characters"
    editable = ("words.txt",)

    def build(self, conditions: ToyConditions, place: Place) -> Toy:
        return Toy(conditions, place.settings.target.metric, place.settings.target.direction)


class NeedsArguments(ToyKind):
    def __init__(self, unit: int) -> None:
        self.unit = unit


class NotAKind:
    """An object with the name of a target, and nothing else."""

    name = "not a kind"


class NeverBuilds(TargetKind[ToyConditions]):
    """A kind without the one method that every kind needs."""

    name = "never builds"
    conditions = ToyConditions
