"""Curves of several logs as one table: the gain over each log's own baseline after so many experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.compare.curves import Point, of_log
from autoresearch_mlx.compare.log import Log

MARKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Experiments after which a row is shown; the last one always is."""
REMARK = (
    "gain: of the incumbent over the log's own baseline, in percent. Values of different machines do not compare; the "
    "time budget ties each to its machine. FLOPs: 6 for each parameter and token trained on."
)


@dataclass(frozen=True, slots=True)
class Course:
    name: str
    points: tuple[Point, ...]


def course_of(log: Log) -> Course:
    """Of anybody's log; hours follow from its budget where that is known."""
    budget = log.conditions.get("budget_seconds")
    return Course(log.name, of_log(log, budget if isinstance(budget, int | float) else None))


def render_courses(courses: Sequence[Course]) -> str:
    """A block for each log."""
    return "\n\n".join([*("\n".join(_block(course)) for course in courses), REMARK])


def to_json(courses: Sequence[Course]) -> dict[str, Any]:
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
