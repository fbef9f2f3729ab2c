"""Compute the effect of each run of a session: the difference from the incumbent at the time of the run.

Effects can be compared between machines, although values cannot.  An effect is a difference within one log, on the same
data, evaluation and hardware.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoresearch_mlx.compare.disturbed import why_left_out
from autoresearch_mlx.compare.reference import ReferenceRun
from autoresearch_mlx.experiment import Direction, Experiment, KnobChanges
from autoresearch_mlx.lab.source import axis_of

UNTRIED = frozenset({"duplicate", "interrupted"})
"""Statuses of proposals without a measurement: a duplicate is refused, and an interrupted experiment was stopped
early."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of any log; order 0 is the baseline.  ``value`` is None if nothing was measured."""

    order: int
    commit: str | None
    value: float | None
    status: str
    axis: str
    changes: KnobChanges
    note: str
    comparable: bool = True
    """Whether the run's effect can be compared.  A run that cannot be compared never becomes the incumbent."""
    measured: tuple[float, float] | None = None
    """Gain and standard error from all runs of candidate and incumbent, or None if the log does not give them."""
    key: str | None = None
    """Name of the run's comparability key, or None if the key is unknown.  Values under different keys cannot be
    compared."""
    opens: bool = False
    """True for a baseline in a table.  A baseline has no effect, and is the first incumbent for the runs after it."""


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of one run: the difference from the last kept run before it; positive is better.

    ``gain`` is in the metric's unit; ``percent`` is the gain in percent of the incumbent's value.  ``gain`` and
    ``percent`` are None if the run or the incumbent has no value.
    """

    run: Run
    incumbent: float | None
    gain: float | None
    percent: float | None
    error: float | None = None
    """Standard error of the gain, or None if there are no repeats that show it."""


@dataclass(frozen=True, slots=True)
class AxisEffect:
    """All runs of one axis; ``best`` is the effect with the largest gain, or None if no run has a value."""

    axis: str
    tried: int
    kept: int
    best: Effect | None


def from_reference(run: ReferenceRun) -> Run:
    """Return a row of a table as a run."""
    return Run(run.order, run.commit, run.val_bpb, run.status, run.axis, run.changes, run.note, run.comparable)


def from_experiment(experiment: Experiment, code: Sequence[str] = ()) -> Run:
    """Return an experiment of ours as a run; ``code`` has the axes that the diff shows, or is empty if no diff was
    read."""
    return Run(
        order=experiment.number,
        commit=experiment.commit,
        value=experiment.value,
        status=experiment.status,
        axis=axis_of_change(experiment, code),
        changes=experiment.knobs,
        note=experiment.title,
        comparable=not why_left_out(experiment),
        measured=_measured(experiment.effect),
        key=next((m.key for m in experiment.measurements if m.key is not None), None),
    )


def _measured(effect: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the measured gain and its standard error from a recorded effect, or None if one of the two is missing.

    The gain is not shrunk towards zero, because the gains of other logs are not shrunk either.
    """
    raw, error = effect.get("raw"), effect.get("error")
    return (float(raw), float(error)) if isinstance(raw, int | float) and isinstance(error, int | float) else None


def axis_of_change(experiment: Experiment, code: Sequence[str]) -> str:
    """Return the axis that the diff shows, else the axis that the agent named.

    A diff that changes exactly one well-known knob shows the axis of this knob.  Every other diff shows the axis of the
    changed code.
    """
    known = [axis for axis in map(axis_of, experiment.knobs) if not axis.startswith("knob.")]
    told = known if len(known) == 1 else [axis for axis in code if not axis.startswith("knob.") and axis != "code"]
    return told[0] if told else axis_of_experiment(experiment)


def axis_of_experiment(experiment: Experiment) -> str:
    """Return the axis of an experiment.

    If exactly one knob changed, and the knob is well known, return the knob's axis.  Otherwise return the axis that the
    agent named.  Without such a name, return the axis of the first changed knob, or ``code`` if no knob changed.
    """
    axes = [axis_of(name) for name in experiment.knobs]
    if len(axes) == 1 and not axes[0].startswith("knob."):
        return axes[0]
    return experiment.axis or (axes[0] if axes else "code")


def effects(runs: Iterable[Run], direction: Direction) -> tuple[Effect, ...]:
    """Return an effect for each run except baselines, runs that cannot be compared, and proposals that were never
    measured.

    ``runs`` are ordered oldest first.
    """
    found: list[Effect] = []
    incumbent: float | None = None
    key: str | None = None
    for run in runs:
        if not run.comparable:
            continue
        if run.order != 0 and not run.opens and run.status not in UNTRIED:
            before = _elsewhere(run, direction) if apart(run.key, key) else incumbent
            gain = run.measured[0] if run.measured else difference(run.value, before, direction)
            error = run.measured[1] if run.measured else None
            found.append(Effect(run, before, gain, percent(gain, before), error))
        if run.status == "keep":
            incumbent, key = run.value, run.key
    return tuple(found)


def apart(a: str | None, b: str | None) -> bool:
    """Return whether two comparability keys are both known and differ."""
    return a is not None and b is not None and a != b


def _elsewhere(run: Run, direction: Direction) -> float | None:
    """Return the value that the incumbent has under the run's comparability key.

    The value is calculated from the run's value and gain, and is None if one of the two is unknown.
    """
    if run.value is None or run.measured is None:
        return None
    return run.value + run.measured[0] if direction == "min" else run.value - run.measured[0]


def by_axis(found: Sequence[Effect]) -> dict[str, AxisEffect]:
    """Return the effects grouped by axis, with the axes in the order in which they were first tried."""
    axes = dict.fromkeys(effect.run.axis for effect in found)
    return {axis: _gather(axis, [effect for effect in found if effect.run.axis == axis]) for axis in axes}


def _gather(axis: str, found: Sequence[Effect]) -> AxisEffect:
    measured = [(effect.gain, effect) for effect in found if effect.gain is not None]
    return AxisEffect(
        axis=axis,
        tried=len(found),
        kept=sum(effect.run.status == "keep" for effect in found),
        best=max(measured, key=lambda pair: pair[0])[1] if measured else None,
    )


def difference(value: float | None, over: float | None, direction: Direction) -> float | None:
    """Return how much better ``value`` is than ``over``, in the metric's unit, or None if one of the values is
    unknown."""
    if value is None or over is None:
        return None
    return over - value if direction == "min" else value - over


def percent(gain: float | None, of: float | None) -> float | None:
    """Return a gain in percent of the value ``of``.  Returns None if the gain or the value is unknown, or if the value
    is 0."""
    return None if gain is None or not of else 100 * gain / abs(of)
