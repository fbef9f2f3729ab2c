"""Tables of the package: tab-separated text with comments, column names, and one typed value a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from autoresearch_mlx.errors import TableError

Row = TypeVar("Row")


def read_rows(path: Path, columns: tuple[str, ...], made: Callable[[Mapping[str, str]], Row]) -> tuple[Row, ...]:
    """The rows below the column names; ``made`` raises ValueError for a malformed one.

    Raises TableError naming file and line for whatever is malformed.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"cannot read the table {path}: {error}") from error
    rows: list[Row] = []
    head = next((at for at, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if head == len(lines) or tuple(lines[head].split("\t")) != columns:
        raise TableError(f"{path}, line {head + 1}: expected the column names {' '.join(columns)}")
    for number, line in enumerate(lines[head + 1 :], start=head + 2):
        cells = line.split("\t")
        try:
            if len(cells) != len(columns):
                raise ValueError(f"{len(cells)} columns where {len(columns)} belong")
            rows.append(made(dict(zip(columns, cells, strict=True))))
        except ValueError as error:
            raise TableError(f"{path}, line {number}: {error}", "Correct that line of the table.") from None
    return tuple(rows)


def text(row: Mapping[str, str], name: str) -> str:
    """A cell that must not be empty."""
    if not row[name]:
        raise ValueError(f"no {name}")
    return row[name]


def positive(row: Mapping[str, str], name: str) -> float:
    value = float(row[name])
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} {row[name]!r} is no positive number")
    return value
