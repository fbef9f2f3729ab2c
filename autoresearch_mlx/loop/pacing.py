"""How long things take here, by what the ledger has seen."""

from __future__ import annotations

from statistics import median

from autoresearch_mlx.experiment import Experiment, History
from autoresearch_mlx.loop.policy import Policy, Sofar


def pace(history: History) -> float | None:
    """Median seconds of a measured experiment, loop included; None before there is one."""
    spent = [_seconds(e) for e in history.experiments if e.measurements and e.seconds]
    return median(spent) if spent else None


def sofar(history: History, policy: Policy, done: int, idle: int) -> Sofar:
    """What the policy is asked with; ``done`` and ``idle`` are of this call of ``run``."""
    return Sofar(done, idle, next_seconds(history), 2 * policy.certify * (run_seconds(history) or 0.0))


def next_seconds(history: History) -> float | None:
    """Of the experiment to come: the median of the last ones, at first one run of the baseline."""
    spent = [_seconds(e) for e in history.experiments[-_LAST:] if e.number > 0 and e.measurements and e.seconds]
    if spent:
        return median(spent)
    first = history.baseline
    return _seconds(first) / len(first.measurements) if first and first.measurements and first.seconds else None


def run_seconds(history: History) -> float | None:
    """Median seconds of one whole run; None before there is one."""
    spent = [m.seconds.total() for e in history.experiments for m in e.measurements if m.value is not None]
    return median(spent) if spent else None


_LAST = 20
"""Experiments that tell how long the next one takes: an agent or a machine may have changed before them."""


def _seconds(experiment: Experiment) -> float:
    return sum(experiment.seconds.values())
