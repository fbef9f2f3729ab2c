"""Turn a session into a curve: for each experiment, the incumbent's value, and the hours, tokens and operations so far.

Values of different machines cannot be compared (:mod:`measured_under` says when values can).  The gain over a log's
own baseline, in percent, can be compared roughly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.compare.effects import Run, apart, difference, from_experiment, percent
from autoresearch_mlx.compare.log import Log
from autoresearch_mlx.experiment import Direction, Experiment, History, Measurement

FLOPS_PER_PARAMETER = 6
"""Floating-point operations of training for each parameter and token: two forward, four backward.

Kaplan et al., "Scaling laws for neural language models", arXiv 2001.08361, section 2.1.
"""
MARKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""The table has a row after each of these numbers of experiments, and a row after the last experiment."""
REMARK = (
    "gain: how much better the incumbent is than the log's own baseline, in percent. Values of different machines "
    "cannot be compared, because each machine trains a different amount in the same time. FLOPs: 6 for each "
    "parameter and token trained on."
)


@dataclass(frozen=True, slots=True)
class Point:
    """The state after one experiment.

    ``hours``, ``tokens`` and ``flops`` are sums from the baseline on.  If a number is unknown for one experiment, the
    sum is None for this experiment and for all later experiments.
    """

    number: int
    value: float | None
    """Value that this experiment measured."""
    best: float | None
    """The incumbent's value after this experiment."""
    gain_percent: float | None
    """Gain of the incumbent over the baseline in percent; positive is better.

    The gain is None if incumbent and baseline have different comparability keys.
    """
    hours: float | None
    """Wall-clock hours of all experiments so far, without the pauses between experiments."""
    tokens: int | None
    """Number of tokens trained on, in all runs so far."""
    flops: float | None
    """Floating-point operations so far: 6 N for each token of a model of N parameters."""


@dataclass(frozen=True, slots=True)
class Course:
    """The curve of one log."""

    name: str
    points: tuple[Point, ...]


def course_of(log: Log) -> Course:
    """Return the curve of any log; the hours are calculated from the budget, and are None if the budget is unknown."""
    budget = log.conditions.get("budget_seconds")
    return Course(log.name, of_log(log, budget if isinstance(budget, int | float) else None))


def of_history(history: History) -> tuple[Point, ...]:
    """Return the curve of one of our sessions, oldest point first; interrupted and duplicate proposals have points
    too."""
    runs = [from_experiment(e) for e in history.experiments]
    hours = _sums([_hours(e) for e in history.experiments])
    tokens = _sums([_total([m.tokens for m in _trained(e)]) for e in history.experiments])
    flops = _sums([_total([_flops(m) for m in _trained(e)]) for e in history.experiments])
    return tuple(
        Point(run.order, run.value, best, gain, h, None if t is None else int(t), f)
        for (run, best, gain), h, t, f in zip(_course(runs, history.direction), hours, tokens, flops, strict=True)
    )


def of_log(log: Log, budget_seconds: float | None = None) -> tuple[Point, ...]:
    """Return the curve of any log.

    With a budget in seconds, each run adds the whole budget to the hours, even a run that crashed.
    """
    spent = None if budget_seconds is None else budget_seconds / 3600
    return tuple(
        Point(run.order, run.value, best, gain, None if spent is None else spent * n, None, None)
        for n, (run, best, gain) in enumerate(_course(log.runs, log.direction), start=1)
    )


def _course(runs: Sequence[Run], direction: Direction) -> Iterator[tuple[Run, float | None, float | None]]:
    """Yield for each run a triple: the run, the incumbent's value after the run, and the incumbent's gain over the
    baseline in percent."""
    first: Run | None = None
    best: Run | None = None
    for run in runs:
        if run.status == "keep" and run.comparable and run.value is not None:
            first, best = run if first is None or run.opens else first, run
        if first is None or best is None:
            yield run, None, None
            continue
        gain = None if apart(best.key, first.key) else difference(best.value, first.value, direction)
        yield run, best.value, percent(gain, first.value)


def _sums(parts: Sequence[float | None]) -> list[float | None]:
    """Return the running sums of the numbers; every sum that includes an unknown number is None."""
    total: float | None = 0.0
    sums: list[float | None] = []
    for part in parts:
        total = None if total is None or part is None else total + part
        sums.append(total)
    return sums


def _trained(e: Experiment) -> list[Measurement]:
    """Return the runs that began to train."""
    return [m for m in e.measurements if m.tokens is not None or m.value is not None]


def _total(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _flops(m: Measurement) -> float | None:
    size = m.extra.get("num_params")
    if not isinstance(size, int | float) or m.tokens is None:
        return None
    return FLOPS_PER_PARAMETER * float(size) * m.tokens


def _hours(e: Experiment) -> float | None:
    try:
        return (datetime.fromisoformat(e.finished) - datetime.fromisoformat(e.started)).total_seconds() / 3600
    except (ValueError, TypeError):
        return None


def render_courses(courses: Sequence[Course]) -> str:
    """Return the curves as plain text, a block for each log."""
    return "\n\n".join([*("\n".join(_block(course)) for course in courses), REMARK])


def to_json(courses: Sequence[Course]) -> dict[str, Any]:
    """Return ``{"curves": {name of the log: points of the curve}}``."""
    return {"curves": {course.name: [asdict(point) for point in course.points] for course in courses}}


def _block(course: Course) -> list[str]:
    head = ("experiments", "best", "gain %", "hours", "tokens", "FLOPs")
    last = len(course.points) - 1
    shown = [point for n, point in enumerate(course.points) if n in MARKS or n == last]
    return [course.name, *terms.table([head, *(_row(course, point) for point in shown)])]


def _row(course: Course, point: Point) -> tuple[str, ...]:
    return (
        f"{course.points.index(point):,}",
        terms.value(point.best),
        terms.UNKNOWN if point.gain_percent is None else f"{point.gain_percent:+.3f}",
        terms.UNKNOWN if point.hours is None else f"{point.hours:.2f}",
        terms.count(point.tokens),
        terms.UNKNOWN if point.flops is None else f"{point.flops:.3g}",
    )
