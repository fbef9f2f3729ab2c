"""Split the text of a results table into comments and rows of cells; keep the line numbers for messages."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch_mlx.errors import TableError

HINT = "correct that line, or remove it; `results.tsv` has commit, val_bpb, memory_gb, status, description"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table, with its file and line number for messages."""

    path: Path
    number: int
    cells: Sequence[str]

    def error(self, fact: str, hint: str = HINT) -> TableError:
        return TableError(f"{self.path}, line {self.number}: {fact}", hint)

    def cell(self, at: int | None) -> str:
        """Return a cell, or an empty string if the row has no such column."""
        return self.cells[at] if at is not None and at < len(self.cells) else ""


@dataclass(frozen=True, slots=True)
class Lines:
    """The rows of a table, including the header, and the comment lines."""

    rows: tuple[Row, ...]
    comments: tuple[str, ...]


def read_lines(path: Path, text: str) -> Lines:
    """Return the rows of a table; blank lines are left out.  Raises TableError for a row that cannot be split."""
    found = list(_lines(path, text))
    return Lines(
        rows=tuple(row for row in found if not row.cells[0].startswith("#")),
        comments=tuple(" ".join(row.cells).lstrip("# ") for row in found if row.cells[0].startswith("#")),
    )


def _lines(path: Path, text: str) -> Iterator[Row]:
    tabs = "\t" in text
    options = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"delimiter": ","}
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, **options)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield Row(path, reader.line_num, [cell.strip() for cell in cells])
    except csv.Error as error:
        raise Row(path, reader.line_num, ()).error(f"the row cannot be read: {error}") from None
