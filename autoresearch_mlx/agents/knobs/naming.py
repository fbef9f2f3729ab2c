"""Name a move for people: largest step first, and the number of the starting experiment instead of many values."""

from __future__ import annotations

from dataclasses import dataclass

from autoresearch_mlx.agents.knobs.moves import Move, Step, point_of
from autoresearch_mlx.agents.knobs.outlook import Outlook
from autoresearch_mlx.agents.knobs.space import Space
from autoresearch_mlx.experiment import KnobChanges
from autoresearch_mlx.lab.source import axis_of, describe

NAMED = 3
"""Maximum number of knobs that a title names with their values."""


@dataclass(frozen=True, slots=True)
class MoveName:
    """What a move changes, as text."""

    axis: str
    """The axis of the knob with the largest step; a step is measured as a share of its knob's range."""
    steps: KnobChanges
    """The changes from the measured point where the move starts, largest first."""
    start: KnobChanges
    """The changes from the incumbent to the starting point; empty when the move starts from the incumbent."""
    number: int | None
    """The number of the experiment that measured the starting point; None if the move starts from the incumbent."""
    changes: KnobChanges
    """All differences from the incumbent; the knobs in ``steps`` come first."""

    @property
    def words(self) -> str:
        """The ``steps`` in one line, such as ``DEPTH 4 -> 6, MATRIX_LR 0.04 -> 0.03 and 2 more knobs``."""
        return _named(self.steps)

    @property
    def start_words(self) -> str:
        """The changes of ``start`` in one line; empty when the move starts from the incumbent."""
        return _named(self.start)

    @property
    def title(self) -> str:
        """A title: all changes if there are at most three, or else the ``steps`` and the starting experiment."""
        if self.number is None or len(self.changes) <= NAMED:
            return _named(self.changes)
        return f"{self.words}, from experiment {self.number}"


def _named(changes: KnobChanges) -> str:
    """Describe all changes if there are at most three, or else the first two and the number of changes left out."""
    if len(changes) <= NAMED:
        return describe(changes)
    shown = dict(list(changes.items())[: NAMED - 1])
    return f"{describe(shown)} and {len(changes) - len(shown)} more knobs"


def name_of(outlook: Outlook, move: Move, space: Space) -> MoveName:
    """Name a move that starts from the centre of ``outlook``; ``space`` has the incumbent's values."""
    centre = outlook.space
    ordered = sorted(move, key=lambda step: -_way(centre, step))
    steps = {centre.dimensions[s.index].name: (centre.dimensions[s.index].value, s.value) for s in ordered}
    start, whole = space.changes(centre.start), space.changes(point_of(centre, move))
    order = list(steps)
    changes = dict(sorted(whole.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))
    found = (t.number for t in reversed(outlook.trials) if t.point == centre.start)
    return MoveName(
        axis=axis_of(centre.dimensions[ordered[0].index].name),
        steps=steps,
        start=start,
        number=next(found, None) if start else None,
        changes=changes,
    )


def _way(space: Space, step: Step) -> float:
    """Return the length of a step, as a share of the knob's range."""
    dimension = space.dimensions[step.index]
    return abs(dimension.unit(step.value) - dimension.unit(dimension.value))
