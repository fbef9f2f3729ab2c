"""How many experiments fit into the time, in a line or two.  Pure: facts in, words and figures out.

Nothing is guessed: an overhead that nobody measured makes the count an upper bound, and that is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from autoresearch_mlx.terms import clock, plural, took

GB = 2**30


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known before a night; unknown is None."""

    training_seconds: float | None
    """Of one run; None for a program that takes as long as it takes."""
    overhead_seconds: float | None = None
    """Of one run, beyond its training."""
    overhead_source: str | None = None
    each_seconds: float | None = None
    """Of one experiment as this session measured them: repeats, proposals and failures included."""
    each_source: str | None = None
    runs_each: float | None = None
    """Runs of one experiment, by this session's ledger."""
    timeout_seconds: float | None = None
    """Of a program's run."""
    baseline_runs: int = 0
    """That come before the first experiment."""
    seconds_left: float | None = None
    until: str | None = None
    """The end, as the clock will show it: ``07:00``."""
    experiments: int | None = None
    peak_bytes: int | None = None
    """The most that a run took, measured."""
    limit_bytes: int | None = None
    memory_bytes: int | None = None
    """That the run shares with everything else."""
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    each_seconds: float | None
    """Of one experiment."""
    experiments: int | None
    """Until the end."""
    bounded: bool
    """Whether a part of the time is unknown: then it is no more than these."""
    seconds: float | None
    """Until the end."""


def forecast(outlook: Outlook) -> Forecast:
    """Each limit gives a count or a time; the first one reached counts."""
    run = _run_seconds(outlook)
    each = outlook.each_seconds or (run * (outlook.runs_each or 1.0) if run is not None else None)
    bounded = outlook.each_seconds is None and outlook.overhead_seconds is None
    if each is None or each <= 0:
        return Forecast(None, None, False, outlook.seconds_left)
    before = outlook.baseline_runs * (run or each)
    fit = None if outlook.seconds_left is None else max(0, math.floor((outlook.seconds_left - before) / each))
    wanted = outlook.experiments
    if wanted is not None and (fit is None or wanted <= fit):
        return Forecast(each, wanted, bounded, before + wanted * each)
    return Forecast(each, fit, bounded, outlook.seconds_left)


def lines(outlook: Outlook) -> Iterator[str]:
    """Time and count on the first line; memory and agent on the second."""
    yield f"{_each_words(outlook)}: {_count_words(outlook, forecast(outlook))}"
    yield "; ".join(part for part in (_memory_words(outlook), _agent_words(outlook)) if part)


def _run_seconds(outlook: Outlook) -> float | None:
    if outlook.training_seconds is None:
        return None
    return outlook.training_seconds + (outlook.overhead_seconds or 0.0)


def _each_words(outlook: Outlook) -> str:
    """``5:00 training + 0:22 overhead (calibrated 2026-11-25)``, or what a program took."""
    training = outlook.training_seconds
    if training is None:
        if outlook.each_seconds is not None:
            return f"{took(outlook.each_seconds)} an experiment ({outlook.each_source})"
        timeout = outlook.timeout_seconds
        return "time of a run not measured yet" + (f", at most {clock(timeout)} by its timeout" if timeout else "")
    if outlook.overhead_seconds is None:
        return f"{clock(training)} training, overhead not measured yet (`doctor --calibrate` measures it)"
    return f"{clock(training)} training + {clock(outlook.overhead_seconds)} overhead ({outlook.overhead_source})"


def _count_words(outlook: Outlook, found: Forecast) -> str:
    """``about 74 experiments by 07:00; 1.4 runs each so far``"""
    if found.each_seconds is None:
        return f"no telling how many experiments{_by(outlook)}"
    about = "at most" if found.bounded else "about"
    if found.experiments is None:
        hourly = 3600 / found.each_seconds
        said = f"{about} {hourly:.0f} experiments an hour" if hourly >= 2 else f"{about} {24 * hourly:.0f} a day"
    elif found.experiments == outlook.experiments and found.seconds is not None:
        least = "at least" if found.bounded else "about"
        said = f"{plural(found.experiments, 'experiment')} in {least} {clock(found.seconds)}"
    else:
        said = f"{about} {plural(found.experiments, 'experiment')}{_by(outlook)}"
    return "; ".join(part for part in (said, _baseline_words(outlook), _repeat_words(outlook)) if part)


def _by(outlook: Outlook) -> str:
    return f" by {outlook.until}" if outlook.until else ""


def _baseline_words(outlook: Outlook) -> str:
    return f"the baseline's {plural(outlook.baseline_runs, 'run')} first" if outlook.baseline_runs else ""


def _repeat_words(outlook: Outlook) -> str:
    if outlook.runs_each is not None:
        return f"{outlook.runs_each:.1f} runs each so far"
    return "close calls run more than once"


def _memory_words(outlook: Outlook) -> str:
    whole = f" of {outlook.memory_bytes / GB:.0f}" if outlook.memory_bytes else ""
    if outlook.peak_bytes is not None:
        return f"memory {outlook.peak_bytes / GB:.1f}{whole} GB"
    if outlook.limit_bytes is not None:
        return f"memory up to {outlook.limit_bytes / GB:.1f}{whole} GB by its limit, not measured yet"
    return "memory not measured yet"


def _agent_words(outlook: Outlook) -> str:
    return f"agent {outlook.agent}" if outlook.agent else ""
