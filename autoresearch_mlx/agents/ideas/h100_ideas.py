"""Turn the H100's wins that have not been tried here into ideas."""

from __future__ import annotations

from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.agents.ideas.axes import was_tried
from autoresearch_mlx.agents.ideas.axis_names import axes_touched, clean_axis
from autoresearch_mlx.agents.ideas.idea import Draft
from autoresearch_mlx.compare.comparison import best_wins
from autoresearch_mlx.compare.effects import UNTRIED, Effect, effects, from_experiment, from_reference
from autoresearch_mlx.compare.match import same_way
from autoresearch_mlx.compare.reference import Reference
from autoresearch_mlx.experiment import Experiment, History
from autoresearch_mlx.lab.source import literal


def h100_ideas(reference: Reference, history: History) -> tuple[Draft, ...]:
    """Return the largest win on each axis of the table, largest first, without wins that this session has tried.

    The ideas are only useful for a session that has the metric of the table.
    """
    found = best_wins(effects([from_reference(run) for run in reference.runs], "min"))
    return tuple(_from_table(e, reference) for e in found if not any(_alike(e, own) for own in history.experiments))


def _from_table(effect: Effect, reference: Reference) -> Draft:
    run = effect.run
    moves = ", ".join(f"{name} {_move(was, now)}" for name, (was, now) in run.changes.items())
    return Draft(
        title=f"{moves or run.note}, as won on the {reference.name}",
        axis=clean_axis(run.axis),
        hypothesis=f"On the {reference.name} it gained {terms.gain(effect.gain)}: {run.note}. Here it may differ.",
        cost="constant" if run.changes else None,
    )


def _move(was: Any, now: Any) -> str:
    """Return a change as text: a difference or a factor for numbers, and the new value for anything else."""
    if _number(was) and _number(now) and was > 0 and now > 0:
        whole = isinstance(was, int) and isinstance(now, int) and was < 64
        return f"{now - was:+d}" if whole else f"x{now / was:.3g}"
    return f"to {literal(now)}" if now is not None else "changed"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _alike(effect: Effect, own: Experiment) -> bool:
    """Return whether an experiment of this session made the change of ``effect``.

    For a change of code, it is enough that the experiment touched the same axis.
    """
    if own.number == 0 or own.status in UNTRIED or not was_tried(own):
        return False
    if not effect.run.changes:
        return effect.run.axis in axes_touched(own)
    return same_way(effect.run, from_experiment(own))
