"""Find the files that the package carries, such as ``train_mlx.py`` and the tables in ``data/``, and read the tables.

In a checkout these files are beside the package; in an installed wheel they are inside the package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from autoresearch_mlx.errors import LabError, TableError

Row = TypeVar("Row")


def read_rows(path: Path, columns: tuple[str, ...], made: Callable[[Mapping[str, str]], Row]) -> tuple[Row, ...]:
    """Return the rows of a tab-separated table.

    ``made`` gets the cells of a line by column name and returns the row; ``made`` raises ValueError for a malformed
    line.  Lines that begin with ``#`` above the column names are comments.  Raises TableError, which names the file
    and the line.
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
                raise ValueError(f"found {len(cells)} columns, expected {len(columns)}")
            rows.append(made(dict(zip(columns, cells, strict=True))))
        except ValueError as error:
            raise TableError(f"{path}, line {number}: {error}", "Correct that line of the table.") from None
    return tuple(rows)


def text(row: Mapping[str, str], name: str) -> str:
    """Return the cell in the column ``name``.  Raises ValueError when the cell is empty."""
    if not row[name]:
        raise ValueError(f"no {name}")
    return row[name]


def positive(row: Mapping[str, str], name: str) -> float:
    """Return the cell in the column ``name`` as a number.  Raises ValueError unless the cell is finite and above 0."""
    value = float(row[name])
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} {row[name]!r} is not a positive number")
    return value


def asset(name: str, package: Path | None = None) -> Path:
    """Return the path of ``train_mlx.py``, ``program.md`` or a table such as ``data/cuda_baseline.tsv``.

    ``package`` is the folder of ``autoresearch_mlx``, by default the folder of the running program.  Raises LabError
    when the file is neither inside the package nor beside it.
    """
    home = package or Path(__file__).resolve().parents[1]
    for place in (home / "_lab" / name, home.parent / name):
        if place.exists():
            return place
    raise LabError(f"{name} is missing from the installation in {home}", "install autoresearch-mlx again")
