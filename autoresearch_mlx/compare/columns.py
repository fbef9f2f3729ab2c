"""Lay out tables as plain text; if a table is too wide for the terminal, leave out the least important columns
first."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autoresearch_mlx import terms

UNKNOWN = "-"
_SHORTEST = 12
"""Smallest width in characters to which a column is cut."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the cells as text, and whether the column may be left out or cut if the table is too wide."""

    group: str
    title: str
    cells: tuple[str, ...]
    left: bool = False
    drop: int = 0
    """0 for a column that is always shown.  Of the other columns, those with the largest number are left out first."""
    lead: int = 2
    """Number of spaces before the column."""
    cut: bool = False
    """Whether the column may be narrowed if the table is too wide and no more columns can be left out."""

    @property
    def width(self) -> int:
        """The column's width in characters, with the spaces before it."""
        return self.lead + max(len(text) for text in (self.title, *self.cells))

    def pad(self, text: str) -> str:
        """Return a cell filled up to the width of the column."""
        return (" " * self.lead + text).ljust(self.width) if self.left else text.rjust(self.width)


def lines(columns: Sequence[Column], width: int, grouped: bool = True) -> str:
    """Return the table as text, if possible at most ``width`` characters wide.

    With ``grouped``, a line with the names of the groups comes before the line with the titles.
    """
    fitting = _fit(columns, width)
    rows = [[column.title for column in fitting], *zip(*(column.cells for column in fitting), strict=True)]
    body = ["".join(c.pad(cell) for c, cell in zip(fitting, row, strict=True)) for row in rows]
    return "\n".join(row.rstrip() for row in ([_group_line(fitting), *body] if grouped else body))


def _fit(columns: Sequence[Column], width: int) -> list[Column]:
    """Return the columns that are always shown, and as many other columns as fit, the most important first."""
    shown = {0}
    for level in sorted({column.drop for column in columns} - shown):
        if sum(column.width for column in columns if column.drop in shown | {level}) <= width:
            shown.add(level)
    return _cut_to([column for column in columns if column.drop in shown], width)


def _cut_to(columns: list[Column], width: int) -> list[Column]:
    """Return the columns, narrowed until the table fits or no column can get narrower; only columns with ``cut`` are
    narrowed."""
    wanted = sum(column.width for column in columns) - width
    soft = [column for column in columns if column.cut]
    while wanted > 0 and (longest := max(soft, key=lambda c: c.width, default=None)):
        if longest.width - longest.lead <= _SHORTEST:
            break
        room = longest.width - longest.lead - 1
        shorter = replace(
            longest, cells=tuple(cut(cell, room) for cell in longest.cells), title=cut(longest.title, room)
        )
        columns = [shorter if column is longest else column for column in columns]
        soft = [column for column in columns if column.cut]
        wanted -= 1
    return columns


def _group_line(columns: Sequence[Column]) -> str:
    """Return a line with each group's name above the group's columns, cut to the width of these columns."""
    line = ""
    for group in dict.fromkeys(column.group for column in columns if column.group):
        first = next(i for i, column in enumerate(columns) if column.group == group)
        start = sum(column.width for column in columns[:first]) + columns[first].lead
        end = start - columns[first].lead + sum(column.width for column in columns if column.group == group)
        line = line.ljust(start) + cut(group, end - start)
    return line


def wrap(text: str, width: int, indent: str = "") -> str:
    """Break a text into lines of at most ``width`` characters; every line except the first begins with ``indent``."""
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False, subsequent_indent=indent)


def cut(text: str, room: int) -> str:
    """Cut a text to at most ``room`` characters; a text that was cut ends with an ellipsis."""
    return text if len(text) <= room else text[: room - 1] + "…"


def number(value: float | None) -> str:
    return terms.value(value)


def signed(value: float | None) -> str:
    return terms.gain(value)


def percentage(value: float | None) -> str:
    """Format a percentage with three decimals, or without decimals if it is 100 percent or more."""
    return UNKNOWN if value is None else f"{value:+.3f}" if abs(value) < 100 else f"{value:+.0f}"


def span(low: float | None, high: float | None) -> str:
    return UNKNOWN if low is None or high is None else f"{terms.gain(low)} {terms.gain(high)}"


def sigmas(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:+.1f}"
