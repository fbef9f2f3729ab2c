"""Decide how much time a run may take outside its budget, from the times of the baseline's runs on this machine.

A budget is for training, so the time for everything else must be limited.  The start and the first step each have an
allowance.  If the budget is in seconds, time beyond these allowances counts as budget time.  The time after the budget
has an allowance too, and a run that exceeds it is invalid.  On a CPU, other programs can lengthen the wall-clock time.
So a run on a CPU is invalid only if its processor time also exceeds an allowance.  No rule of this module applies to
the baseline.
"""

from __future__ import annotations

from dataclasses import dataclass

from autoresearch_mlx.experiment import Usual

_START_TIMES, _START_MORE = 1.5, 1.0
"""Allowance before the first batch: a multiple of the baseline's time, plus a number of seconds.

This allowance is the most generous one, because a script has no rows to train on before its first batch.
"""
_COMPILE_TIMES, _COMPILE_MORE = 1.25, 0.25
_END_TIMES, _END_MORE = 1.25, 0.25
_CPU_MORE = 0.2
_GPU_TIMES, _GPU_MORE = 2.0, 1.5
"""Allowance on a GPU, where only the wall-clock time is known: a multiple of the baseline's time, plus some seconds.

This allowance is larger than on a CPU, because other programs can lengthen the wall-clock time.
"""
_SAVED_BYTES = 1e8
"""Bytes of weights that can be checked and saved in one second."""
_STEP_SHARE = 0.1
"""Largest time by which the last step may exceed the budget, as a share of the budget."""
_SCORED_TIMES, _SCORED_MORE = 1.5, 0.3
"""Allowance for the processor time of an evaluation: a multiple of the baseline's time, plus a number of seconds."""
_MODELS_PART = 4.0
"""Assumed ratio between the growth of a model and the growth of its evaluation's time.

The ratio is above 1, because a part of an evaluation takes the same time for every model.
"""
_KILLED_TIMES, _KILLED_MORE = 5.0, 60.0
"""Wall-clock time after which an evaluation is killed: a multiple of the baseline's time, plus a number of seconds."""
MOST_PARAMS = 16
"""Largest number of weights of a model, divided by the baseline's number."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds spent after the budget, or in an evaluation."""

    wall: float
    cpu: float | None
    """Processor time of all threads together, or None on a GPU, where processor time does not measure the work."""


def start_seconds(usual: Usual | None, otherwise: float) -> float:
    """Return the seconds before the first batch that do not count as budget time.

    Returns ``otherwise`` if the usual time is unknown.
    """
    return otherwise if usual is None or usual.start is None else _START_TIMES * usual.start + _START_MORE


def compile_seconds(usual: Usual | None, most: float) -> float:
    """Return the seconds of the first step that do not count as budget time.

    The result is at most ``most``, the limit that lab.toml sets.
    """
    if usual is None or usual.compile is None:
        return most
    return min(most, _COMPILE_TIMES * usual.compile + _COMPILE_MORE)


def after_the_budget(
    usual: Usual | None, spent: Spent, steps: float, weights_bytes: int, cores_used: float
) -> str | None:
    """Return a sentence if a run went on too long after its budget, else None.

    ``steps`` is the time in seconds for the steps that had begun before the budget ended.  ``cores_used`` is the number
    of processor seconds that the run got for each second of training.  On a busy machine a run gets fewer processor
    seconds for each second, so its allowance is smaller.  Otherwise the run could train longer after its budget than on
    an idle machine.
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
    said = f"the run went on for {spent.wall:.1f} s after its budget, and the baseline for {usual.ending:.1f} s"
    if spent.cpu is None or usual.ending_cpu is None:
        return f"{said}; {wall:.1f} s are allowed"
    cpu = _END_TIMES * usual.ending_cpu + _CPU_MORE + more * cores_used
    if spent.cpu <= cpu:
        return None  # the run was waiting for the processor or the disk
    used = f"the run used {spent.cpu:.1f} s of processor time, and {cpu:.1f} s are allowed"
    return f"{said}; {used}"


def step_share(budget_seconds: float) -> float:
    """Return the largest number of seconds by which the last step may exceed a budget of ``budget_seconds``."""
    return _STEP_SHARE * budget_seconds


def scoring(usual: Usual | None, spent: Spent, size: float) -> str | None:
    """Return a sentence if an evaluation took too long, else None.

    ``size`` is the model's work divided by the baseline's, at least 1.  The size is computed from the model's weights
    or from its speed in training.
    """
    if usual is None or usual.evaluate is None or (spent.cpu is not None and usual.evaluate_cpu is None):
        return None  # earlier versions did not record the processor time
    said = f"the evaluation took {spent.wall:.1f} s, and the baseline's took {usual.evaluate:.1f} s"
    if spent.cpu is None or usual.evaluate_cpu is None:
        wall = _GPU_TIMES * usual.evaluate * size + _GPU_MORE
        return f"{said}; {wall:.1f} s are allowed for a model of this size" if spent.wall > wall else None
    cpu = _SCORED_TIMES * usual.evaluate_cpu * size + _SCORED_MORE
    used = (
        f"the evaluation used {spent.cpu:.1f} s of processor time, and {cpu:.1f} s are allowed for a model of this size"
    )
    return f"{said}; {used}" if spent.cpu > cpu else None


def larger(usual: Usual | None, spent: Spent) -> float | None:
    """Return the largest size that the model can have, given the time of its evaluation; None if a time is unknown.

    The size is the model's work divided by the baseline's.  Starting the processes and computing the score take about
    as long for every model.  So all additional time is attributed to the model, and the model is assumed to have grown
    four times as much as the time.
    """
    if usual is None:
        return None
    now, before = (spent.cpu, usual.evaluate_cpu) if spent.cpu is not None else (spent.wall, usual.evaluate)
    return None if now is None or not before else max(1.0, 1 + _MODELS_PART * (now / before - 1))


@dataclass(frozen=True, slots=True)
class Limit:
    """The time after which an evaluation is killed, and the reason for this time."""

    seconds: float
    why: str

    def times(self, factor: float) -> Limit:
        """Return the limit for work that takes ``factor`` times as long as this evaluation."""
        return Limit(factor * self.seconds, self.why)


def evaluation_limit(usual: Usual | None, size: float, most: float) -> Limit:
    """Return the time after which an evaluation is killed.

    The time in seconds is 60 + 5 x ``size`` x the baseline's time, and at most ``most``; :func:`scoring` explains
    ``size``.  ``most`` is ``budget.evaluate_seconds``, which is the only limit for the baseline itself.
    """
    by_setting = Limit(
        most, "the limit that lab.toml sets; for more time, begin a session with a larger evaluate_seconds"
    )
    if usual is None or usual.evaluate is None:
        return by_setting
    seconds = _KILLED_TIMES * usual.evaluate * size + _KILLED_MORE
    if seconds >= most:
        return by_setting
    took = f"the baseline's took {usual.evaluate:.1f} s"
    return Limit(round(seconds, 1), f"{took}; make the model answer faster, and look for a call that never returns")
