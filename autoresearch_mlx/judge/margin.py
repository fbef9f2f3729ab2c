"""Decide without statistics: keep an edit that gains more than a margin over the incumbent's mean.

Runs of one file differ from each other, so the margin must cover that difference.  This module decides when nothing was
measured twice, or when repeats agree to the last digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Experiment, History, Measurement, Verdict
from autoresearch_mlx.judge.evidence import Again, Decision, Rules


@dataclass(frozen=True, slots=True)
class Margin:
    """Keeps an edit that gains more than ``margin`` over the incumbent's mean, in the metric's unit."""

    margin: float

    def decide(self, history: History, measurements: Sequence[Measurement], before: float | None = None) -> Decision:
        """Return a verdict, or a request for one more run.

        ``before`` is the value to use for the incumbent.  If ``before`` is None, the mean of the incumbent's own
        measurements is used.
        """
        if not measurements:
            return Again("not measured yet")
        undisturbed = (m for m in measurements if not m.tainted)
        if (failed := next(filter(None, map(verdict_on_failure, undisturbed)), None)) is not None:
            return failed
        if all(m.tainted for m in measurements):
            return _disturbed(len(measurements))
        value = mean_value(measurements)
        if value is None:
            return Verdict("invalid", "no value was measured")
        if history.incumbent is None:
            return Verdict("keep", f"baseline: {history.metric} {terms.value(value)}")
        before = incumbent_value(history.incumbent) if before is None else before
        return by_margin(history.gain(value, over=before), before, self.margin)


def _disturbed(runs: int) -> Decision:
    if runs >= Rules().spoiled:
        return Verdict("invalid", f"all {runs} runs were disturbed, so nothing can be compared")
    return Again("disturbed: measured again")


def by_margin(gain: float, before: float, margin: float) -> Verdict:
    """Return the verdict on a gain (positive is better) over the incumbent's mean ``before``, in the metric's unit."""
    kept = gain > margin
    word = "gain" if gain > 0 else "loss" if gain < 0 else "change"
    size = f"{word} {terms.amount(abs(gain))} against the incumbent's {terms.value(before)} (margin {margin:g})"
    return Verdict("keep" if kept else "discard", f"{size}: {'keep' if kept else 'discard'}")


def mean_value(measurements: Sequence[Measurement]) -> float | None:
    """Return the mean value of the undisturbed measurements, or of all measurements if each was disturbed.

    Returns None if no measurement has a value.
    """
    found = [m for m in measurements if m.value is not None]
    counted = [m for m in found if not m.tainted] or found
    values = [m.value for m in counted if m.value is not None]
    return fmean(values) if values else None


def incumbent_value(incumbent: Experiment) -> float:
    """Return the mean of the incumbent's measurements, or the incumbent's recorded value if there are none.

    Raises ValueError when the incumbent has neither measurements nor a recorded value.
    """
    value = mean_value(incumbent.measurements)
    if value is None:
        value = incumbent.value
    if value is None:
        raise ValueError(f"kept experiment {incumbent.number} has no value")
    return value


def verdict_on_failure(measured: Measurement) -> Verdict | None:
    """Return the verdict on an experiment whose run has no value, or None if the run has a value."""
    if measured.failure is None:
        return None
    return Verdict("discard" if measured.failure == "stopped" else measured.failure, measured.reason)
