"""A session here beside a reference session, as frozen figures.

The words beside an axis tell what happened, not what is proved; the remarks say so, and go with
every rendering.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch_mlx.compare.effects import (
    AxisEffect,
    Run,
    by_axis,
    difference,
    effects,
    from_experiment,
    from_reference,
    percent,
)
from autoresearch_mlx.compare.reference import Reference
from autoresearch_mlx.experiment import FAILED, Direction, Experiment

REFERENCE_METRIC = "val_bpb"

ONCE = (
    "An effect is one run against the incumbent of its time, in its own log. Single runs without an estimate of the "
    "noise decide nothing, and the best of several tries is flattered by luck: read gain and loss as what happened "
    "once."
)
ABSOLUTE = (
    "Absolute values compare only on the same data, the same evaluation and the same hardware; across machines, look "
    "at the signs and the order of the effects."
)


@dataclass(frozen=True, slots=True)
class Side:
    """One session in a few figures; ``best`` is its last incumbent.  The baseline counts as kept."""

    name: str
    baseline: float | None
    best: float | None
    gain: float | None
    gain_percent: float | None
    experiments: int
    measured: int
    """Runs that have a value."""
    kept: int
    discarded: int
    failed: int


@dataclass(frozen=True, slots=True)
class AxisRow:
    """One axis on both sides; ``None`` where it was not tried.  ``words`` compare the best effects."""

    axis: str
    there: AxisEffect | None
    here: AxisEffect | None
    words: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """``there`` is ``None``, and ``axes`` empty, when the reference is about another metric than ours."""

    metric: str
    reference: str
    source: str
    there: Side | None
    here: Side
    axes: tuple[AxisRow, ...]
    remarks: tuple[str, ...]
    """What a reader must know, in whole sentences."""


def compare(
    here: Sequence[Experiment], metric: str, direction: Direction, machine_name: str, reference: Reference
) -> Comparison:
    """Both sessions summed up.  ``here`` holds the finished experiments, oldest first, or nothing."""
    theirs = [from_reference(run) for run in reference.runs]
    ours = [from_experiment(experiment) for experiment in here]
    applies = metric == REFERENCE_METRIC and direction == "min"
    side = _side(machine_name, ours, direction)
    return Comparison(
        metric=metric,
        reference=reference.name,
        source=reference.source,
        there=_side(reference.name, theirs, "min") if applies else None,
        here=side,
        axes=_axes(theirs, ours) if applies else (),
        remarks=(*_nothing_yet(side), ONCE if applies else _other_metric(reference.name, metric, direction), ABSOLUTE),
    )


def _nothing_yet(here: Side) -> list[str]:
    if here.measured == 0:
        return ["Nothing has been measured here yet."]
    if here.measured == 1 and here.baseline is not None:
        return ["Nothing but the baseline has been measured here yet."]
    return []


def _other_metric(reference: str, metric: str, direction: Direction) -> str:
    better = "lower" if direction == "min" else "higher"
    return (
        f"The {reference} table is about {REFERENCE_METRIC}, lower is better. This session measures {metric}, "
        f"{better} is better: the table does not apply to it, and nothing is laid side by side."
    )


def _side(name: str, runs: Sequence[Run], direction: Direction) -> Side:
    kept = [run for run in runs if run.status == "keep"]
    baseline = next((run.value for run in kept if run.order == 0), None)
    best = kept[-1].value if kept else None
    gain = difference(best, baseline, direction)
    return Side(
        name=name,
        baseline=baseline,
        best=best,
        gain=gain,
        gain_percent=percent(gain, baseline),
        experiments=len(runs),
        measured=sum(run.value is not None for run in runs),
        kept=len(kept),
        discarded=sum(run.status == "discard" for run in runs),
        failed=sum(run.status in FAILED for run in runs),
    )


def _axes(theirs: Sequence[Run], ours: Sequence[Run]) -> tuple[AxisRow, ...]:
    """By the reference's best effect, then by ours; axes without a value last, equals by name."""
    there, here = by_axis(effects(theirs, "min")), by_axis(effects(ours, "min"))
    rows = [
        AxisRow(axis, there.get(axis), here.get(axis), _words(there.get(axis), here.get(axis)))
        for axis in sorted(there.keys() | here.keys())
    ]
    return tuple(sorted(rows, key=lambda row: (_rank(row.there), _rank(row.here))))


def _rank(side: AxisEffect | None) -> float:
    gain = _gain(side)
    return float("inf") if gain is None else -gain


def _gain(side: AxisEffect | None) -> float | None:
    return side.best.gain if side and side.best else None


def _words(there: AxisEffect | None, here: AxisEffect | None) -> str:
    if here is None:
        return "tried only there"
    if there is None:
        return "tried only here"
    a, b = _word(_gain(there)), _word(_gain(here))
    return f"{a} on both" if a == b else f"{a} there, {b} here"


def _word(gain: float | None) -> str:
    if gain is None:
        return "none"
    return "gain" if gain > 0 else "loss" if gain < 0 else "even"
