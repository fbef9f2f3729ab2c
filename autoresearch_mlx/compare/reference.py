"""Reads a table of somebody else's session, such as ``data/cuda_baseline.tsv``, strictly.

Comment lines ``# key: text`` come first (``name`` and ``source`` are required), then the column
names, then one row a run, the baseline first.  A table is written by hand, so everything that does
not fit is refused with its file and line.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from autoresearch_mlx.errors import TableError
from autoresearch_mlx.experiment import KnobChanges

ReferenceStatus: TypeAlias = Literal["keep", "discard", "crash"]

COLUMNS = ("order", "commit", "val_bpb", "memory_gb", "status", "axis", "knob", "from", "to", "note")
_STATUSES: tuple[ReferenceStatus, ...] = get_args(ReferenceStatus)
_AXIS = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_KNOB = re.compile(r"[A-Z][A-Z0-9_]*")
_WORD = re.compile(r"[A-Za-z]+")
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")
_FACT = re.compile(r"#\s*(\w+):\s*(.+)")


@dataclass(frozen=True, slots=True)
class ReferenceRun:
    """One row.  ``val_bpb`` in bits per byte, ``memory_gb`` the peak in GB; ``None`` where there was none."""

    order: int
    commit: str
    val_bpb: float | None
    memory_gb: float | None
    status: ReferenceStatus
    axis: str
    changes: KnobChanges
    """``{knob: (from, to)}``, empty for a change of code; ``None`` for a value that the source does not give."""
    note: str


@dataclass(frozen=True, slots=True)
class Reference:
    """A whole session, oldest run first; order 0 is its kept baseline."""

    name: str
    source: str
    runs: tuple[ReferenceRun, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    """One line with the place it stands, for the error messages."""

    path: Path
    number: int
    text: str

    def error(self, fact: str) -> TableError:
        return TableError(f"{self.path}, line {self.number}: {fact}", "Correct that line of the table.")


def read_reference(path: Path) -> Reference:
    """The session in a table.  Raises TableError naming file and line for whatever is malformed."""
    lines = _lines(path)
    head = next((i for i, line in enumerate(lines) if not line.text.startswith("#")), len(lines))
    facts = _facts(lines[:head])
    for key in ("name", "source"):
        if key not in facts:
            raise TableError(f"{path}: no comment line '# {key}: ...' before the column names")
    if head == len(lines) or tuple(lines[head].text.split("\t")) != COLUMNS:
        raise _Line(path, head + 1, "").error(f"expected the column names {' '.join(COLUMNS)}, separated by tabs")
    return Reference(facts["name"], facts["source"], _runs(lines[head + 1 :], path))


def _lines(path: Path) -> list[_Line]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"cannot read the table {path}: {error}") from error
    return [_Line(path, number, line) for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1)]


def _facts(lines: list[_Line]) -> dict[str, str]:
    """The first text under each key; later lines under the same key go on explaining it."""
    facts: dict[str, str] = {}
    for line in lines:
        if match := _FACT.fullmatch(line.text):
            facts.setdefault(match.group(1), match.group(2).strip())
    return facts


def _runs(lines: list[_Line], path: Path) -> tuple[ReferenceRun, ...]:
    runs: list[ReferenceRun] = []
    for line in lines:
        run = _run(line)
        if not runs and (run.order != 0 or run.status != "keep"):
            raise line.error("the first run must be the baseline: order 0, status keep")
        if runs and run.order <= runs[-1].order:
            seen = any(run.order == other.order for other in runs)
            raise line.error(f"order {run.order} {'stands twice' if seen else f'follows {runs[-1].order}'}")
        runs.append(run)
    if not runs:
        raise TableError(f"{path}: the table has no runs")
    return tuple(runs)


def _run(line: _Line) -> ReferenceRun:
    cells = line.text.split("\t")
    if len(cells) != len(COLUMNS):
        raise line.error(f"{len(cells)} columns where {len(COLUMNS)} belong")
    row = dict(zip(COLUMNS, cells, strict=True))
    if not row["commit"]:
        raise line.error("no commit")
    if not _AXIS.fullmatch(row["axis"]):
        raise line.error(f"{row['axis']!r} is no axis (lower-case words joined by dots)")
    status = _status(row, line)
    return ReferenceRun(
        order=_order(row["order"], line),
        commit=row["commit"],
        val_bpb=_value(row["val_bpb"], status, line),
        memory_gb=_number(row["memory_gb"], "memory_gb", line) if row["memory_gb"] else None,
        status=status,
        axis=row["axis"],
        changes=_changes(row, line),
        note=row["note"],
    )


def _status(row: Mapping[str, str], line: _Line) -> ReferenceStatus:
    for status in _STATUSES:
        if row["status"] == status:
            return status
    raise line.error(f"unknown status {row['status']!r} (known: {', '.join(_STATUSES)})")


def _order(cell: str, line: _Line) -> int:
    if not (cell.isascii() and cell.isdigit()):
        raise line.error(f"order {cell!r} is no whole number")
    return int(cell)


def _value(cell: str, status: ReferenceStatus, line: _Line) -> float | None:
    if status == "crash":
        if cell:
            raise line.error(f"status crash with the value {cell}")
        return None
    if not cell:
        raise line.error(f"status {status} without a value")
    return _number(cell, "val_bpb", line)


def _number(cell: str, column: str, line: _Line) -> float:
    number = float(cell) if _DECIMAL.fullmatch(cell) else 0.0
    if number == 0:
        raise line.error(f"{column} {cell!r} is no positive decimal number")
    return number


def _changes(row: Mapping[str, str], line: _Line) -> dict[str, tuple[Any, Any]]:
    """``DEPTH+ASPECT_RATIO``, ``8+64``, ``9+57`` -> ``{"DEPTH": (8, 9), "ASPECT_RATIO": (64, 57)}``."""
    knobs, before, after = (row[name].split("+") if row[name] else [] for name in ("knob", "from", "to"))
    if not len(knobs) == len(before) == len(after):
        raise line.error(f"{len(knobs)} knobs with {len(before)} values before and {len(after)} after")
    changes: dict[str, tuple[Any, Any]] = {}
    for knob, was, now in zip(knobs, before, after, strict=True):
        if not _KNOB.fullmatch(knob) or knob in changes:
            raise line.error(f"{knob!r} is no knob, or stands twice")
        if was == now:
            raise line.error(f"{knob} goes from {was} to {now}: no change")
        changes[knob] = (_literal(was, line), _literal(now, line))
    return changes


def _literal(cell: str, line: _Line) -> Any:
    """A number, a tuple, or a bare word such as SSSL; ``?`` is None, a value nobody wrote down."""
    if cell == "?":
        return None
    if _WORD.fullmatch(cell):
        return cell
    try:
        return ast.literal_eval(cell)
    except (ValueError, SyntaxError):
        raise line.error(f"{cell!r} is no value") from None
