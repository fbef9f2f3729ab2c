"""Find and read the logs that come with the tool (``data/*.tsv``).

A table begins with comment lines ``# key: text`` (``name`` and ``source`` are required).  Then come the column names,
and one row for each run, the baseline of each log first.  If a table has several logs, each row also names its log,
source and hardware, and says whether the run's effect can be compared.  Tables are written by hand, so a malformed line
is refused with file and line number.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from autoresearch_mlx.errors import ConfigError, TableError
from autoresearch_mlx.experiment import KnobChanges
from autoresearch_mlx.lab.assets import asset

APPLE_TABLE = "data/apple_runs.tsv"
TABLES = ("data/cuda_baseline.tsv", "data/cuda_runs.tsv", APPLE_TABLE)
H100 = "H100"
"""Name of the log of the published session on an H100, with all its 126 runs."""


def references() -> tuple[Reference, ...]:
    """Return all logs, the H100's first.

    Raises TableError when a table is malformed, and LabError when the installation lacks a table.
    """
    return tuple(reference for name in TABLES for reference in read_references(asset(name)))


def h100() -> Reference:
    """Return the log of the session on the H100, with which a session is compared by default.  Raises LabError,
    TableError."""
    return find(H100)


def apple_logs() -> tuple[Reference, ...]:
    """Return the logs from Macs.  Raises LabError, TableError."""
    return read_references(asset(APPLE_TABLE))


def find(name: str) -> Reference:
    """Return the log of this name; case does not matter.

    Raises LabError, TableError, and ConfigError when there is no such log.
    """
    first = read_references(asset(TABLES[0]))
    known = {each.name.lower(): each for each in (first if name.lower() == H100.lower() else references())}
    if name.lower() not in known:
        near = difflib.get_close_matches(name.lower(), known, 1)
        hint = f"did you mean {known[near[0]].name}?" if near else "`autoresearch-mlx compare --list` lists all logs"
        raise ConfigError(f"the tool comes with no log named {name!r}", hint)
    return known[name.lower()]


ReferenceStatus: TypeAlias = Literal["keep", "discard", "crash", "trial"]
"""Status of a row.  A ``trial`` is a run that was measured without a decision; its effect cannot be compared."""

COLUMNS = ("order", "commit", "val_bpb", "memory_gb", "status", "axis", "knob", "from", "to", "note")
ORIGIN = ("log", "source", "hardware", "comparable", "caveat")
"""Optional columns; a table has either all of them or none."""
_STATUSES: tuple[ReferenceStatus, ...] = get_args(ReferenceStatus)
_AXIS = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_KNOB = re.compile(r"[A-Z][A-Z0-9_]*")
_WORD = re.compile(r"[A-Za-z]+")
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")
_FACT = re.compile(r"#\s*(\w+):\s*(.+)")


@dataclass(frozen=True, slots=True)
class ReferenceRun:
    """One row of a table.  ``val_bpb`` is in bits per byte, and ``memory_gb`` is the peak in GB.  Unknown values are
    None."""

    order: int
    commit: str
    val_bpb: float | None
    memory_gb: float | None
    status: ReferenceStatus
    axis: str
    changes: KnobChanges
    """``{knob: (from, to)}``, empty for a change of code.  A value that the source does not give is None."""
    note: str
    source: str = ""
    """Address at which this row was published, or an empty string if the table's address applies."""
    hardware: str = ""
    comparable: bool = True
    """Whether the run had the same conditions as the incumbent of its log, so that the two can be compared."""
    caveat: str = ""
    """Why the run cannot be compared with the incumbent, or any other caveat."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A whole session, oldest run first; the run with order 0 is the kept baseline."""

    name: str
    source: str
    runs: tuple[ReferenceRun, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    """The first text for each key of the table's comment lines: hardware, budget, data, ..."""

    @property
    def hardware(self) -> str:
        """Description of the hardware of all runs, or an empty string if it is not known."""
        told = {run.hardware for run in self.runs if run.hardware}
        return "several machines" if len(told) > 1 else "".join(told) or self.facts.get("hardware", "")


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of a table, with its file and number for error messages."""

    path: Path
    number: int
    text: str

    def error(self, fact: str) -> TableError:
        return TableError(f"{self.path}, line {self.number}: {fact}", "Correct that line of the table.")


def read_reference(path: Path) -> Reference:
    """Read a table with a single session.  Raises TableError for several sessions, and with file and line for a
    malformed line."""
    found = read_references(path)
    if len(found) > 1:
        raise TableError(
            f"{path}: the table holds {len(found)} logs, not one", "give the rows of one log a table of their own"
        )
    return found[0]


def read_references(path: Path) -> tuple[Reference, ...]:
    """Read all sessions in a table, in the order of their first rows.  Raises TableError for a malformed table."""
    lines = _lines(path)
    head = next((i for i, line in enumerate(lines) if not line.text.startswith("#")), len(lines))
    facts = _facts(lines[:head])
    for key in ("name", "source"):
        if key not in facts:
            raise TableError(f"{path}: no comment line '# {key}: ...' before the column names")
    columns = tuple(lines[head].text.split("\t")) if head < len(lines) else ()
    if columns not in (COLUMNS, COLUMNS + ORIGIN):
        raise _Line(path, head + 1, "").error(f"expected the column names {' '.join(COLUMNS)}, separated by tabs")
    logs: dict[str, list[_Line]] = {}
    for line in lines[head + 1 :]:
        logs.setdefault(_log(line, columns) or facts["name"], []).append(line)
    if not logs:
        raise TableError(f"{path}: the table has no runs")
    return tuple(_reference(name, facts, _runs(rows, columns)) for name, rows in logs.items())


def _log(line: _Line, columns: Sequence[str]) -> str:
    cells = line.text.split("\t")
    return cells[columns.index("log")] if "log" in columns and len(cells) == len(columns) else ""


def _reference(name: str, facts: Mapping[str, str], runs: tuple[ReferenceRun, ...]) -> Reference:
    return Reference(name, runs[0].source or facts["source"], runs, facts)


def _lines(path: Path) -> list[_Line]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"cannot read the table {path}: {error}") from error
    return [_Line(path, number, line) for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1)]


def _facts(lines: list[_Line]) -> dict[str, str]:
    """Return {key: text} from the comment lines; only the first line of a key counts."""
    facts: dict[str, str] = {}
    for line in lines:
        if match := _FACT.fullmatch(line.text):
            facts.setdefault(match.group(1), match.group(2).strip())
    return facts


def _runs(lines: list[_Line], columns: Sequence[str]) -> tuple[ReferenceRun, ...]:
    runs: list[ReferenceRun] = []
    for line in lines:
        run = _run(line, columns)
        if not runs and run.comparable and (run.order != 0 or run.status != "keep"):
            raise line.error("the first run must be the baseline: order 0, status keep")
        if runs and run.order <= runs[-1].order:
            seen = any(run.order == other.order for other in runs)
            raise line.error(f"order {run.order} {'appears twice' if seen else f'follows {runs[-1].order}'}")
        runs.append(run)
    return tuple(runs)


def _run(line: _Line, columns: Sequence[str]) -> ReferenceRun:
    cells = line.text.split("\t")
    if len(cells) != len(columns):
        raise line.error(f"the row has {len(cells)} columns, not {len(columns)}")
    row = dict(zip(columns, cells, strict=True))
    if not row["commit"]:
        raise line.error("no commit")
    if not _AXIS.fullmatch(row["axis"]):
        raise line.error(f"{row['axis']!r} is not an axis (lower-case words joined by dots)")
    status, comparable = _status(row, line), _comparable(row, line)
    if status == "trial" and comparable:
        raise line.error("status trial needs comparable = no, because nobody decided about the run")
    return ReferenceRun(
        order=_order(row["order"], line),
        commit=row["commit"],
        val_bpb=_value(row["val_bpb"], status, line),
        memory_gb=_number(row["memory_gb"], "memory_gb", line) if row["memory_gb"] else None,
        status=status,
        axis=row["axis"],
        changes=_changes(row, line),
        note=row["note"],
        source=row.get("source", ""),
        hardware=row.get("hardware", ""),
        comparable=comparable,
        caveat=row.get("caveat", ""),
    )


def _comparable(row: Mapping[str, str], line: _Line) -> bool:
    if "comparable" not in row:
        return True
    for column in ("log", "source", "hardware"):
        if not row[column]:
            raise line.error(f"no {column}")
    if row["comparable"] not in ("yes", "no"):
        raise line.error(f"comparable must be yes or no, not {row['comparable']!r}")
    if row["comparable"] == "no" and not row["caveat"]:
        raise line.error("comparable is no, and no caveat says why")
    return row["comparable"] == "yes"


def _status(row: Mapping[str, str], line: _Line) -> ReferenceStatus:
    for status in _STATUSES:
        if row["status"] == status:
            return status
    raise line.error(f"unknown status {row['status']!r} (known: {', '.join(_STATUSES)})")


def _order(cell: str, line: _Line) -> int:
    if not (cell.isascii() and cell.isdigit()):
        raise line.error(f"order {cell!r} is not a whole number")
    return int(cell)


def _value(cell: str, status: ReferenceStatus, line: _Line) -> float | None:
    if status == "crash":
        if cell:
            raise line.error(f"a run with the status crash has no value, but here it is {cell}")
        return None
    if not cell:
        raise line.error(f"a run with the status {status} needs a value")
    return _number(cell, "val_bpb", line)


def _number(cell: str, column: str, line: _Line) -> float:
    number = float(cell) if _DECIMAL.fullmatch(cell) else 0.0
    if number == 0:
        raise line.error(f"{column} {cell!r} is not a positive decimal number")
    return number


def _changes(row: Mapping[str, str], line: _Line) -> dict[str, tuple[Any, Any]]:
    """Return the changes of a row.

    ``DEPTH+ASPECT_RATIO``, ``8+64``, ``9+57`` make ``{"DEPTH": (8, 9), "ASPECT_RATIO": (64, 57)}``.
    """
    knobs, before, after = (row[name].split("+") if row[name] else [] for name in ("knob", "from", "to"))
    if not len(knobs) == len(before) == len(after):
        raise line.error(f"{len(knobs)} knobs with {len(before)} values before and {len(after)} after")
    changes: dict[str, tuple[Any, Any]] = {}
    for knob, was, now in zip(knobs, before, after, strict=True):
        if not _KNOB.fullmatch(knob) or knob in changes:
            raise line.error(f"{knob!r} is not the name of a knob, or appears twice")
        if was == now:
            raise line.error(f"{knob} goes from {was} to {now}: no change")
        changes[knob] = (_literal(was, line), _literal(now, line))
    return changes


def _literal(cell: str, line: _Line) -> Any:
    """Return the value in a cell: a number, a tuple, a bare word such as SSSL, or None for ``?`` (unknown)."""
    if cell == "?":
        return None
    if _WORD.fullmatch(cell):
        return cell
    try:
        return ast.literal_eval(cell)
    except (ValueError, SyntaxError):
        raise line.error(f"{cell!r} is not a value") from None
