"""Work out the chief's agenda from the history alone, so that a killed session continues with the same agenda."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from autoresearch_mlx.agents.ideas.axes import banned, known_axes, records
from autoresearch_mlx.agents.ideas.axis_names import axis_tried
from autoresearch_mlx.agents.ideas.misses import near_misses
from autoresearch_mlx.experiment import Context, Experiment

COLLAPSE = 5
"""If this many experiments in a row on a class of axes each gain less than three sigma, the class is stale."""
_PRIOR = 2.0
"""Number of imagined experiments with a gain of 0 on each axis.  They keep the expected gain low after one lucky
gain."""


@dataclass(frozen=True, slots=True)
class AxisNote:
    """The tries, the keeps and the expected gain of one axis."""

    axis: str
    tries: int
    keeps: float
    """Number of keeps on this axis; older keeps count less."""
    expected_gain: float
    """Mean gain of the experiments on this axis, shrunk towards 0, in the metric's unit."""
    exhausted: bool


@dataclass(frozen=True, slots=True)
class Agenda:
    """What the chief knows before it writes a brief."""

    axes: tuple[AxisNote, ...]
    stale: tuple[str, ...]
    """Classes of axes, such as ``lr`` for ``lr.matrix``, that new briefs avoid for now (see :func:`_stale`)."""
    misses: tuple[int, ...]
    """Numbers of the near misses: discarded experiments whose effect cannot be told from zero."""
    keeps: tuple[int, ...]

    def free(self, taken: Collection[str]) -> tuple[str, ...]:
        """Return the axes that a new brief may have: all axes that are not ``taken``, exhausted or stale.

        If no such axis is left, the exhausted and stale axes that are not ``taken`` are returned.
        """
        left = [note for note in self.axes if note.axis not in taken]
        fresh = [note for note in left if not note.exhausted and class_of(note.axis) not in self.stale]
        return tuple(note.axis for note in fresh or left)

    def fields(self) -> dict[str, Any]:
        """Return the agenda as plain JSON values for the ledger."""
        return {
            "axes": [asdict(note) for note in self.axes],
            "stale": list(self.stale),
            "misses": list(self.misses),
            "keeps": list(self.keeps),
        }


def agenda_of(context: Context) -> Agenda:
    """Return the agenda for this context.  Raises the errors of :func:`known_axes`."""
    seen, resting = records(context.history), banned(context.history, context.number)
    notes = []
    for axis in known_axes(context):
        record = seen.get(axis)
        tries = 0 if record is None else record.tries
        mean = 0.0 if record is None or record.mean_gain is None else record.mean_gain
        keeps = 0.0 if record is None else record.wins
        notes.append(AxisNote(axis, tries, round(keeps, 3), mean * tries / (tries + _PRIOR), axis in resting))
    return Agenda(
        axes=tuple(notes),
        stale=_stale(context, notes),
        misses=tuple(e.number for e in near_misses(context)),
        keeps=tuple(e.number for e in context.history.experiments if e.status == "keep" and e.number > 0),
    )


def class_of(axis: str) -> str:
    """Return the class of an axis: its first word.

    A constant without a known axis has the axis ``knob.NAME`` (:func:`axis_of`), which is a class of its own.
    """
    head = axis.split(".")[0]
    return axis if head == "knob" else head


def _stale(context: Context, notes: list[AxisNote]) -> tuple[str, ...]:
    """Return the stale classes of axes.

    A class is stale if all its axes are exhausted.  A class is also stale if the last ``COLLAPSE`` experiments were all
    on this class, and none of these was kept with a gain of more than three sigma.
    """
    classes: dict[str, list[AxisNote]] = {}
    for note in notes:
        classes.setdefault(class_of(note.axis), []).append(note)
    found = [name for name, each in classes.items() if all(note.exhausted for note in each)]
    recent = [e for e in context.history.experiments if e.number > 0][-COLLAPSE:]
    named = {class_of(axis) for e in recent if (axis := axis_tried(e)) is not None}
    if len(recent) == COLLAPSE and len(named) == 1 and not any(_clear(e, context.sigma) for e in recent):
        found += [name for name in named if name not in found]
    return tuple(found)


def _clear(e: Experiment, sigma: float | None) -> bool:
    return e.status == "keep" and e.gain is not None and sigma is not None and e.gain > 3 * sigma
