"""A comparison as one JSON document and as a plain-text table."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autoresearch_mlx.compare.effects import AxisEffect, Effect
from autoresearch_mlx.compare.summary import AxisRow, Comparison, Side, compare
from autoresearch_mlx.source import describe

__all__ = ["Comparison", "compare", "render", "to_json"]

_UNKNOWN = "-"
_LONGEST_AXIS = 32


@dataclass(frozen=True, slots=True)
class _Column:
    """``lead``: spaces before it.  ``drop``: of a table too wide, the largest numbers go first; 0 stays."""

    group: str
    title: str
    cells: tuple[str, ...]
    left: bool = False
    drop: int = 0
    lead: int = 2

    @property
    def width(self) -> int:
        return self.lead + max(len(text) for text in (self.title, *self.cells))

    def pad(self, text: str) -> str:
        return (" " * self.lead + text).ljust(self.width) if self.left else text.rjust(self.width)


def to_json(comparison: Comparison) -> dict[str, Any]:
    """One JSON document; gains in the metric's unit, positive is better, null for unknown."""
    return {
        "metric": comparison.metric,
        "applies": comparison.there is not None,
        "reference": comparison.reference,
        "source": comparison.source,
        "there": asdict(comparison.there) if comparison.there else None,
        "here": asdict(comparison.here),
        "axes": [
            {"axis": row.axis, "there": _axis_json(row.there), "here": _axis_json(row.here), "words": row.words}
            for row in comparison.axes
        ],
        "remarks": list(comparison.remarks),
    }


def _axis_json(side: AxisEffect | None) -> dict[str, Any] | None:
    if side is None:
        return None
    return {"tried": side.tried, "kept": side.kept, "best": _effect_json(side.best) if side.best else None}


def _effect_json(effect: Effect) -> dict[str, Any]:
    return {
        "order": effect.run.order,
        "commit": effect.run.commit,
        "status": effect.run.status,
        "value": effect.run.value,
        "incumbent": effect.incumbent,
        "gain": effect.gain,
        "gain_percent": effect.percent,
        "knobs": {name: list(change) for name, change in effect.run.changes.items()},
        "note": effect.run.note,
    }


def render(comparison: Comparison, width: int) -> str:
    """The table as lines of at most ``width`` characters where that can be done (from about 75 on).

    Narrow tables leave out percentages, then counts; wide ones also tell what the reference's best
    effect was.
    """
    there, here = comparison.there, comparison.here
    sides = [here] if there is None else [there, here]
    labels = [f"here: {here.name}"] if there is None else [f"there: {there.name}", f"here: {here.name}"]
    parts = [
        _wrap(f"{comparison.metric}: {' and '.join(side.name for side in sides)}", width),
        _lines(_summary(labels, sides), width, grouped=False),
    ]
    if there is not None:
        title = f"Best effect on each axis in {comparison.metric}, + is better. kept: runs kept of runs tried."
        parts += [_wrap(title, width), _lines(_effects(labels, comparison.axes, there.name), width)]
        parts.append(_wrap(f"{comparison.reference}: {comparison.source}", width))
    parts += [_wrap(remark, width) for remark in comparison.remarks]
    return "\n\n".join(parts)


def _wrap(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def _summary(labels: Sequence[str], sides: Sequence[Side]) -> list[_Column]:
    facts: dict[str, Callable[[Side], str]] = {
        "baseline": lambda side: _number(side.baseline),
        "best": lambda side: _number(side.best),
        "gain": lambda side: _signed(side.gain),
        "gain in percent": lambda side: _percent(side.gain_percent),
        "experiments": lambda side: str(side.experiments),
        "kept, baseline included": lambda side: str(side.kept),
        "discarded": lambda side: str(side.discarded),
        "crashed or failed": lambda side: str(side.failed),
    }
    names = _Column("", "", tuple(facts), left=True, lead=0)
    figures = [tuple(fact(side) for fact in facts.values()) for side in sides]
    return [names, *(_Column("", label, cells) for label, cells in zip(labels, figures, strict=True))]


def _effects(labels: Sequence[str], rows: Sequence[AxisRow], reference: str) -> list[_Column]:
    return [
        _Column("", "axis", tuple(_cut(row.axis, _LONGEST_AXIS) for row in rows), left=True, lead=0),
        *_side_columns(labels[0], [row.there for row in rows]),
        *_side_columns(labels[1], [row.here for row in rows]),
        _Column("", "", tuple(row.words for row in rows), left=True),
        _Column("", f"best on {reference}", tuple(_change(row.there) for row in rows), left=True, drop=3),
    ]


def _side_columns(name: str, sides: Sequence[AxisEffect | None]) -> list[_Column]:
    best = [side.best if side else None for side in sides]
    return [
        _Column(name, "kept", tuple(f"{side.kept}/{side.tried}" if side else _UNKNOWN for side in sides), drop=1),
        _Column(name, "effect", tuple(_signed(effect.gain if effect else None) for effect in best), lead=1),
        _Column(name, "%", tuple(_percent(effect.percent if effect else None) for effect in best), drop=2, lead=1),
    ]


def _change(side: AxisEffect | None) -> str:
    if side is None or side.best is None:
        return _UNKNOWN
    changes = side.best.run.changes
    told = changes and all(None not in pair for pair in changes.values())
    return describe(changes) if told else side.best.run.note


def _lines(columns: Sequence[_Column], width: int, grouped: bool = True) -> str:
    fitting = _fit(columns, width)
    lines = [[column.title for column in fitting], *zip(*(column.cells for column in fitting), strict=True)]
    body = ["".join(c.pad(cell) for c, cell in zip(fitting, line, strict=True)) for line in lines]
    return "\n".join(line.rstrip() for line in ([_group_line(fitting), *body] if grouped else body))


def _fit(columns: Sequence[_Column], width: int) -> list[_Column]:
    for last in (3, 2, 1, 0):
        fitting = [column for column in columns if column.drop <= last]
        if sum(column.width for column in fitting) <= width:
            break
    return fitting


def _group_line(columns: Sequence[_Column]) -> str:
    """Each group's name above its columns, at their left, cut to their joint width."""
    line = ""
    for group in dict.fromkeys(column.group for column in columns if column.group):
        first = next(i for i, column in enumerate(columns) if column.group == group)
        start = sum(column.width for column in columns[:first]) + columns[first].lead
        end = start - columns[first].lead + sum(column.width for column in columns if column.group == group)
        line = line.ljust(start) + _cut(group, end - start)
    return line


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


def _number(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.6f}"


def _signed(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:+.6f}"


def _percent(value: float | None) -> str:
    """Three decimals, or none from 100 percent on."""
    return _UNKNOWN if value is None else f"{value:+.3f}" if abs(value) < 100 else f"{value:+.0f}"
