"""Find the columns of a results table, the table's metric, and whether lower or higher values are better.

Nothing is guessed.  A column that is only called ``metric`` is not read as ``val_bpb``.  If neither the file nor the
kept rows show the direction, the user has to name the direction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from autoresearch_mlx.compare.log import METRIC
from autoresearch_mlx.compare.statuses import status_in
from autoresearch_mlx.compare.table_lines import Lines, Row
from autoresearch_mlx.errors import TableError
from autoresearch_mlx.experiment import Direction

NAMES: Mapping[str, tuple[str, ...]] = {
    "commit": ("commit", "sha", "hash", "commit_hash", "git_commit"),
    "bpb": (METRIC, "bpb", "val_bpb_mean", "best_val_bpb"),
    "value": ("metric", "value", "score", "metric_value"),
    "memory": ("memory_gb", "peak_vram_gb", "memory", "mem_gb", "vram_gb", "peak_memory_gb", "peak_vram"),
    "memory_mb": ("peak_vram_mb", "memory_mb", "peak_memory_mb", "vram_mb"),
    "status": ("status", "decision", "result", "outcome", "verdict"),
    "description": ("description", "desc", "title", "change", "experiment", "idea", "hypothesis", "notes"),
}
_OURS = ("commit", "value", "memory", "status", "description")
"""Columns of upstream's table and of our own tables, in order; the second column may have any name."""
_COMMIT = re.compile(r"[0-9a-f]{7,40}", re.IGNORECASE)
_MOST_BITS = 8.0
"""Bits per byte of a model that has learnt nothing."""
_HIGHER = re.compile(r"\b(?:higher|max|maxim\w*|up|larger)\b|higher_is_better")
_LOWER = re.compile(r"\b(?:lower|min|minim\w*|down|smaller)\b|lower_is_better")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table.  ``places`` maps our name of a column to the column's position in a row.

    Only our own tables have the column ``gain``.
    """

    places: Mapping[str, int]
    metric: str
    rows: Sequence[Row]
    direction: Direction | None = None
    """The direction that the file states, or None if the file states no direction."""
    ours: bool = False

    @property
    def is_bpb(self) -> bool:
        return self.metric == METRIC

    def cell(self, row: Row, name: str) -> str:
        return row.cell(self.places.get(name))


def find_columns(lines: Lines, metric: str | None = None) -> Columns:
    """Return the columns of a table; ``metric`` is the name of the column of values, or None if the caller does not
    know it.

    Raises TableError for a table without values, statuses or descriptions.
    """
    header = lines.rows[0]
    head = [_as_name(cell) for cell in header.cells]
    if {"verdict", "number", "knobs"} <= set(head) and len(head) > len(_OURS):
        places = {name: at for at, name in enumerate(_OURS)} | {"gain": head.index("gain")} if "gain" in head else {}
        if "direction" in head:
            places["direction"] = head.index("direction")
        return Columns(places, header.cells[1], lines.rows[1:], _stated(lines, places), ours=True)
    places = {name: at for name, words in NAMES.items() if (at := _first(head, words)) is not None}
    at, name = _value_column(header, head, places, metric)
    if at is None and "status" not in places:
        return _without_header(lines)
    missing = [
        f"{name} ({' or '.join(NAMES[key][:3])})"
        for name, key in (("value", "bpb"), ("status", "status"), ("description", "description"))
        if (at is None if key == "bpb" else key not in places)
    ]
    if missing or at is None:
        said = f"no column for {', '.join(missing)}; the header has {', '.join(head)}"
        raise header.error(
            said, "`--metric NAME` says which column has the values" if at is None else "use these names in the header"
        )
    kept = {key: place for key, place in places.items() if key not in ("bpb", "value") and place != at}
    return Columns({**kept, "value": at}, name, lines.rows[1:], _stated(lines, {}))


def _value_column(
    header: Row, head: Sequence[str], places: Mapping[str, int], metric: str | None
) -> tuple[int | None, str]:
    """Return the position of the column of values, and the metric's name."""
    if metric is not None:
        wanted = _as_name(metric)
        if wanted in head:
            return head.index(wanted), METRIC if wanted in NAMES["bpb"] else metric
        if wanted in NAMES["bpb"] and "value" in places:
            return places["value"], METRIC
        raise header.error(
            f"no column {metric}; the header has {', '.join(head)}", "give the name of one of these columns as --metric"
        )
    if "bpb" in places:
        return places["bpb"], METRIC
    at = places.get("value")
    return at, "" if at is None else header.cells[at]


def _as_name(cell: str) -> str:
    """Return a column's name as in :data:`NAMES`: ``val_bpb`` for ``Val BPB`` and ``val-bpb``."""
    return re.sub(r"[\s-]", "_", cell.lower())


def _first(head: Sequence[str], words: Sequence[str]) -> int | None:
    return next((head.index(word) for word in words if word in head), None)


def _stated(lines: Lines, places: Mapping[str, int]) -> Direction | None:
    """Return the direction in a column of our own tables, or in a comment (``# metric_direction:
    higher_is_better``)."""
    told = [row.cell(places["direction"]) for row in lines.rows[1:2]] if "direction" in places else []
    told += [text for text in lines.comments if re.search(r"direction|better|minimi[sz]e|maximi[sz]e", text.lower())]
    for text in map(str.lower, told):
        higher, lower = bool(_HIGHER.search(text.replace("_", " "))), bool(_LOWER.search(text.replace("_", " ")))
        if higher != lower:
            return "max" if higher else "min"
    return None


def _without_header(lines: Lines) -> Columns:
    """Return upstream's columns for a table without a header.  Raises TableError if a row does not fit upstream's
    columns."""
    first = lines.rows[0]
    for names in (_OURS, ("commit", "value", "status", "description")):
        if len(first.cells) >= len(names) and status_in(first.cells[names.index("status")]):
            columns = Columns({name: at for at, name in enumerate(names)}, METRIC, lines.rows)
            strange = next((row for row in lines.rows if not _fits(columns, row)), None)
            if strange is None and not _rises(columns):
                return columns
            if strange is None:
                said = "the table has no header, and its kept values rise, so they are not bits per byte"
                raise first.error(said, "write a first line with the columns' names")
            said = "the table has no header, and this row does not have commit, val_bpb, memory_gb, status, description"
            raise strange.error(said, "write a first line with the columns' names")
    said = "this is neither a header nor a row with upstream's columns commit, val_bpb, memory_gb, status, description"
    count = len(first.cells)
    said = f"{said}; found {count} cell{'' if count == 1 else 's'}"
    raise first.error(said, "separate the cells by tabs or commas") if count == 1 else first.error(said)


def _fits(columns: Columns, row: Row) -> bool:
    """Return True if a row begins with a commit, and its value may be bits per byte or its run was not measured."""
    commit, status = columns.cell(row, "commit"), status_in(columns.cell(row, "status"))
    value = number_in(columns.cell(row, "value"))
    named = _COMMIT.fullmatch(commit) is not None or commit.lower() in ("", "-", "baseline", "n/a", "none")
    return named and (status not in ("keep", "discard") or value is None or 0 <= value < _MOST_BITS)


def _rises(columns: Columns) -> bool:
    """Return whether the last kept value is above the first."""
    kept = [row for row in columns.rows if status_in(columns.cell(row, "status")) == "keep"]
    values = [value for row in kept if (value := number_in(columns.cell(row, "value")))]
    return len(values) > 1 and values[-1] > values[0]


def number_in(cell: str) -> float | None:
    """Return the number in a cell, or None if the cell is not a number."""
    try:
        return float(cell)
    except ValueError:
        return None


def direction_of(
    columns: Columns, kept: Sequence[float], gains: Sequence[tuple[float, float]], tried: bool
) -> Direction:
    """Return whether lower or higher values are better.

    ``kept`` has the values of the kept rows, oldest first.  ``gains`` has two numbers for each row of our own tables:
    the gain, and the value minus the incumbent's value.  ``tried`` is True if any run other than a baseline has a
    value.  Raises TableError if neither the file nor the rows show the direction.
    """
    if columns.direction is not None:
        return columns.direction
    if columns.is_bpb:
        return "min"
    signs = [higher * gain for gain, higher in gains if higher * gain]
    if not signs:
        signs = [later - earlier for earlier, later in pairwise(kept) if later != earlier]
    if not signs and (columns.ours or not tried):
        return "min"  # no effect has a sign
    ups = sum(sign > 0 for sign in signs)
    if signs and (ups in (0, len(signs)) or columns.ours):
        return "max" if 2 * ups > len(signs) else "min"
    path = columns.rows[0].path
    why = "kept rows went up and down" if signs else "no kept row differs from the baseline"
    said = f"{path}: the table does not show whether lower or higher {columns.metric} is better: {why}"
    raise TableError(said, "give `--direction min` or `--direction max`")
