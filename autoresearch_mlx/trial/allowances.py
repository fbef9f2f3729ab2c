"""Say how much time a run may take outside its budget, from what the baseline's own runs took on this machine.

Training is what a budget buys, so what is spent beside it must be bounded.  Time beyond the allowances of the start and
of the first step is charged to a budget of seconds.  What comes after the budget cannot be charged: beyond its
allowance the run is invalid.  On a CPU the processor time must exceed its own allowance for that, because other
programs lengthen the wall-clock time alone.  While the baseline itself is measured there are no such rules.
"""

from __future__ import annotations

from dataclasses import dataclass

from autoresearch_mlx.experiment import Usual

_START_TIMES, _START_MORE = 1.5, 1.0
"""Before the first batch a script has no rows to train on, so this is the widest."""
_COMPILE_TIMES, _COMPILE_MORE = 1.25, 0.25
_END_TIMES, _END_MORE = 1.25, 0.25
_CPU_MORE = 0.2
_GPU_TIMES, _GPU_MORE = 2.0, 1.5
"""On a GPU only the wall clock tells, which other programs can slow down."""
_SAVED_BYTES = 1e8
"""Bytes of weights that are checked and saved in one second."""
_STEP_SHARE = 0.1
"""Largest share of the budget by which the last step may end after it."""
_SCORED_TIMES, _SCORED_MORE = 1.5, 0.3
"""Of processor time."""
MOST_PARAMS = 16
"""Most weights that a model may have, as a multiple of the baseline's."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds spent after the budget, or in an evaluation."""

    wall: float
    cpu: float | None
    """Processor time of all threads together; None where it says nothing, as on a GPU."""


def start_seconds(usual: Usual | None, otherwise: float) -> float:
    """Return the seconds before the first batch that are not charged."""
    return otherwise if usual is None or usual.start is None else _START_TIMES * usual.start + _START_MORE


def compile_seconds(usual: Usual | None, most: float) -> float:
    """Return the seconds of the first step that are not charged; at most ``most``, which lab.toml sets."""
    if usual is None or usual.compile is None:
        return most
    return min(most, _COMPILE_TIMES * usual.compile + _COMPILE_MORE)


def after_the_budget(
    usual: Usual | None, spent: Spent, steps: float, weights_bytes: int, cores_used: float
) -> str | None:
    """Return how a run went on too long after its budget, in a sentence; None when it did not.

    ``steps``: seconds of the steps that were under way; ``cores_used``: processor time that this run got for each
    second of its training, which is little on a busy machine: what is allowed must not be worth more than in training.
    """
    if usual is None or usual.ending is None:
        return None
    saving = weights_bytes / _SAVED_BYTES
    more = _END_MORE + steps + saving
    wall = _END_TIMES * usual.ending + more
    if spent.cpu is None or usual.ending_cpu is None:
        wall = _GPU_TIMES * usual.ending + _GPU_MORE + steps + saving
    if spent.wall <= wall:
        return None
    said = f"{spent.wall:.1f} s from the end of the budget to the end of the run, where the baseline took"
    if spent.cpu is None or usual.ending_cpu is None:
        return f"{said} {usual.ending:.1f} s and {wall:.1f} s are allowed"
    cpu = _END_TIMES * usual.ending_cpu + _CPU_MORE + more * cores_used
    if spent.cpu <= cpu:
        return None  # it waited for the processor, or the disk
    used = f"{spent.cpu:.1f} s of processor time in it, {cpu:.1f} s are allowed"
    return f"{said} {usual.ending:.1f} s; {used}"


def step_share(budget_seconds: float) -> float:
    """Return the most seconds by which a step may end after a budget of seconds."""
    return _STEP_SHARE * budget_seconds


def scoring(usual: Usual | None, spent: Spent, size: float) -> str | None:
    """Return how an evaluation took too long, in a sentence; None when it did not.

    ``size``: how many times the baseline's work the model takes, from its weights or its pace in training, at least 1.
    """
    if usual is None or usual.evaluate is None or (spent.cpu is not None and usual.evaluate_cpu is None):
        return None  # earlier versions did not record the processor time
    said = f"the evaluation took {spent.wall:.1f} s, where the baseline's took {usual.evaluate:.1f} s"
    if spent.cpu is None or usual.evaluate_cpu is None:
        wall = _GPU_TIMES * usual.evaluate * size + _GPU_MORE
        return f"{said}; {wall:.1f} s are allowed for a model of this size" if spent.wall > wall else None
    cpu = _SCORED_TIMES * usual.evaluate_cpu * size + _SCORED_MORE
    used = f"{spent.cpu:.1f} s of processor time, {cpu:.1f} s are allowed for a model of this size"
    return f"{said}; {used}" if spent.cpu > cpu else None
