"""Read the rows of a results table as runs, each with value, status and description, and find the baselines."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from autoresearch_mlx.compare.descriptions import read_descriptions
from autoresearch_mlx.compare.effects import Run
from autoresearch_mlx.compare.statements import BASELINE
from autoresearch_mlx.compare.statuses import KNOWN, says_baseline, status_in
from autoresearch_mlx.compare.table_columns import Columns, number_in
from autoresearch_mlx.compare.table_lines import Row
from autoresearch_mlx.terms import one_line, plural

_NOTHING = frozenset(
    ("", "-", "--", "n/a", "na", "nan", "none", "null", "oom", "crash", "inf", "fail", "failed", "error", "timeout")
)
_UNIT = re.compile(r"\s*(gb|gib|mb|mib)$", re.IGNORECASE)
_MEASURE = re.compile(
    r"([-+]?(?:(?:[1-9]\d{0,2}(?:,\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)\s*(%|[a-zµμ/]+(?:/[a-z]+)?)?",
    re.IGNORECASE,
)
"""Pattern of a number with a unit.

A comma is allowed only before groups of three digits, because the comma in ``3,4567`` may be a decimal comma.
"""
_MOST_BITS = 64
"""A value of this many bits per byte or more is refused; a model that has learnt anything needs less than 8."""
_MACHINE = r"m\d(?: ?(?:pro|max|ultra))?|[ahblt]\d{1,3}0?0?|rtx ?\d+|macbook|mac ?mini|mac ?studio|laptop|machine"
_BASELINE = re.compile(
    r"[\[(*`\"']*(?:(?:the|a|new|fresh|clean|vanilla|updated|first|second|third|concurrent|upstream|original|default|"
    r"stock|unmodified|initial|local|own|full|establish\w*|start\w*:?|run|back to|(?:reset|return\w*|revert\w*) to|"
    rf"restor\w*|{_MACHINE}|exp ?\d+:?|re-?run|re-?verif\w+|re-?measur\w+|repeat)\s+(?:of\s+)?)*(?:re-?)?baseline"
    rf"(?:[\s_-]+(?:re-?run|again|re-?verif\w+|run|check|repeat|v?\d+|{_MACHINE}))*"
    r"(?=$|\s*[(\[—–:;,.\])*`\"']|\s+-|\s+(?:on|at|for|in|after|since|with|for)\b)",
    re.IGNORECASE,
)
"""Pattern that matches the description of a baseline, but not the description of a change to a baseline."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The runs of a table; the first baseline has order 0.  ``caveats`` says which rows were left out."""

    runs: tuple[Run, ...]
    caveats: tuple[str, ...]


def read_rows(columns: Columns) -> Rows:
    """Return the runs of a table.  Raises TableError with file and line for a row that cannot be understood."""
    unknown: Counter[str] = Counter()
    read: list[tuple[Run, bool]] = []
    unit: str | None = None
    for row in columns.rows:
        if len(row.cells) <= max(columns.places[name] for name in ("value", "status")):
            raise row.error(f"the row has {len(row.cells)} cells, not {max(columns.places.values()) + 1}")
        word = columns.cell(row, "status")
        status = status_in(word)
        if status is None:
            unknown[one_line(word) or "none"] += 1
            continue
        value, of = _value(columns, row)
        if value is not None and unit is not None and of != unit:
            raise row.error(f"the value {columns.cell(row, 'value')!r} has a different unit from the rows above")
        unit = of if unit is None and value is not None else unit
        read.append((_run(columns, row, status, value), says_baseline(word)))
    first = next((at for at, (run, _) in enumerate(read) if run.status == "keep"), None)
    runs = () if first is None else tuple(_with_changes(read[first:]))
    return Rows(runs, tuple(_left_out(unknown, first or 0, runs)))


def _left_out(unknown: Counter[str], before: int, runs: Sequence[Run]) -> Iterator[str]:
    if before:
        yield f"rows before the first kept row are left out: {before}"
    if unknown:
        words = ", ".join(f"{word} ({n})" if n > 1 else word for word, n in unknown.items())
        known = ", ".join(KNOWN)
        yield f"{plural(sum(unknown.values()), 'row')} with an unknown status left out: {words} (known: {known})"
    opened = [str(run.order) for run in runs if run.opens and run.order]
    if opened:
        yield (
            f"a new baseline begins at run {' and at run '.join(opened)}: later runs are not compared with runs before "
            "it, and the gain above is the gain since the last baseline"
        )


def _run(columns: Columns, row: Row, status: str, value: float | None) -> Run:
    if status == "keep" and value is None:
        raise row.error("the run was kept, but has no value")
    for name in ("memory", "memory_mb"):
        _memory(row, columns.cell(row, name))
    status = "crash" if value is None and status == "discard" else status
    return Run(
        order=0,
        commit=one_line(columns.cell(row, "commit")) or None,
        value=None if status == "crash" else value,
        status=status,
        axis="other",
        changes={},
        note=_description(columns, row),
    )


def _with_changes(read: Sequence[tuple[Run, bool]]) -> Iterator[Run]:
    """Yield the runs with the changes that their descriptions state; at each new baseline, the known values are
    forgotten."""
    starts = [
        at for at, (run, named) in enumerate(read) if at == 0 or (_is_baseline(run, named) and run.status == "keep")
    ]
    for start, end in zip(starts, [*starts[1:], len(read)], strict=True):
        part = read[start:end]
        changes = read_descriptions([(run.note, run.status == "keep") for run, _ in part])
        for at, ((run, named), told) in enumerate(zip(part, changes, strict=True)):
            run = replace(run, order=start + at, axis=told.axis, changes=told.changes, opens=at == 0)
            # A baseline that was not kept does not show what the incumbent was.
            again = at > 0 and _is_baseline(run, named)
            yield replace(run, axis=BASELINE, changes={}, comparable=False) if again else run


def _is_baseline(run: Run, named: bool) -> bool:
    return named or _BASELINE.match(run.note) is not None


def _description(columns: Columns, row: Row) -> str:
    """Return the description without control characters, which do not belong in a terminal.

    If the description is the last column, all further cells belong to the description, because its text may contain
    the separator.
    """
    at = columns.places["description"]
    last = at == max(columns.places.values()) and len(columns.places) >= 4
    cells = row.cells[at:] if last else row.cells[at : at + 1]
    text = " ".join(cell for cell in cells if cell)
    return "".join(c if c.isprintable() else " " for c in text)


def _value(columns: Columns, row: Row) -> tuple[float | None, str]:
    """Return a row's value and unit.  The unit of bits per byte is an empty string, and 0 bits per byte mean a failed
    run."""
    cell = columns.cell(row, "value")
    if cell.lower() in _NOTHING:
        return None, ""
    value, unit = number_in(cell), ""
    if value is None and not columns.is_bpb and (match := _MEASURE.fullmatch(cell)):
        value, unit = number_in(match[1].replace(",", "")), match[2] or ""
    if value is None or not math.isfinite(value):
        raise row.error(f"the value {cell!r} is not a number")
    if not columns.is_bpb:
        return value, unit
    if value == 0:
        return None, ""
    if not 0 < value < _MOST_BITS:
        raise row.error(f"the value {cell} cannot be bits per byte")
    return value, ""


def _memory(row: Row, cell: str) -> None:
    """Raise TableError if the cell of the memory is not a number, because then the columns were misread.

    The memory has no other use here.
    """
    plain = _UNIT.sub("", cell)
    number = number_in(plain)
    if plain.lower() not in _NOTHING and (number is None or not math.isfinite(number)):
        raise row.error(f"the memory {cell!r} is not a number")
