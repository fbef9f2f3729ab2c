"""Read any log of experiments: upstream's ``results.tsv`` and its variants, or a ledger of ours.

Columns are found by their names, in any order; a file without a header has upstream's order.  A line that cannot be
understood is refused with file and line number.  Nothing is written.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from autoresearch_mlx.compare import log_noise, measured_under
from autoresearch_mlx.compare.effects import Run, effects
from autoresearch_mlx.compare.log import METRIC, Log, of_history
from autoresearch_mlx.compare.table_columns import NAMES, Columns, direction_of, find_columns, number_in
from autoresearch_mlx.compare.table_lines import read_lines
from autoresearch_mlx.compare.table_rows import read_rows
from autoresearch_mlx.errors import LedgerError, TableError
from autoresearch_mlx.experiment import Direction
from autoresearch_mlx.store.ledger import read


def read_log(path: Path, hardware: str = "", metric: str | None = None, direction: Direction | None = None) -> Log:
    """Read the log in a file.

    ``metric`` names the column of values, for a header that does not show this column.  ``direction`` says whether
    lower or higher values are better.  Raises TableError with file and line for a line that cannot be understood.
    """
    text = _text(path)
    if path.suffix == ".jsonl" or text.lstrip().startswith("{"):
        return _ledger(path, hardware)
    return _table(path, text, hardware, metric, direction)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TableError(
            f"cannot read {path}: {error.strerror}", "give a results.tsv, a .csv or a ledger.jsonl"
        ) from None
    try:
        # PowerShell's `>` and Excel's "Unicode text" write UTF-16, with a mark at the beginning.
        return data.decode("utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(
            f"cannot read {path}: byte {error.start + 1} is not UTF-8", "save the file as UTF-8 text"
        ) from None


def _ledger(path: Path, hardware: str) -> Log:
    try:
        journal = read(path)
    except LedgerError as error:
        raise TableError(str(error), "give a ledger.jsonl of a session, or its results.tsv") from None
    told = next((str(m.machine["chip"]) for e in journal.history.experiments for m in e.measurements if _chip(m)), "")
    name = hardware or told or path.parent.name or path.stem
    return of_history(journal.history, name, path.name, measured_under.of_journal(journal))


def _chip(measurement: object) -> bool:
    machine = getattr(measurement, "machine", {})
    return isinstance(machine, Mapping) and bool(machine.get("chip"))


def _table(path: Path, text: str, hardware: str, metric: str | None, direction: Direction | None) -> Log:
    lines = read_lines(path, text)
    if not lines.rows:
        raise TableError(f"{path}: no rows", "give a results.tsv with commit, val_bpb, memory_gb, status, description")
    columns = find_columns(lines, metric)
    rows = read_rows(columns)
    if not rows.runs:
        said = "; ".join([f"{path}: no run was kept, so effects have no baseline to start from", *rows.caveats])
        raise TableError(said, "mark the baseline's row with the status keep")
    better = direction or direction_of(columns, _kept(rows.runs), list(_gains(columns)), _tried(rows.runs))
    return Log(
        name=hardware or path.stem,
        source=path.name,
        hardware=hardware,
        metric=columns.metric,
        direction=better,
        runs=rows.runs,
        noise=log_noise.of_effects(effects(rows.runs, better)),
        conditions={"machine": hardware} if hardware else {},
        caveats=("axes and knobs are read from the descriptions", *rows.caveats, *_about_metric(columns)),
        ends=_ends(rows.runs),
    )


def _about_metric(columns: Columns) -> Iterator[str]:
    if columns.metric.lower() in NAMES["value"]:
        yield (
            f"the column is called {columns.metric}, which names no metric; if its values are {METRIC}, give "
            f"`--metric {METRIC}`"
        )


def _kept(runs: Sequence[Run]) -> list[float]:
    """Return the values of kept runs from the part of the table with most kept runs; a new part begins at each
    baseline."""
    parts: list[list[float]] = [[]]
    for run in runs:
        if run.opens:
            parts.append([])
        if run.status == "keep" and run.comparable and run.value is not None:
            parts[-1].append(run.value)
    return max(parts, key=len)


def _tried(runs: Sequence[Run]) -> bool:
    """Return whether any run other than a baseline has a value, and therefore an effect."""
    return any(run.value is not None and run.comparable and not run.opens for run in runs)


def _gains(columns: Columns) -> Iterator[tuple[float, float]]:
    """Yield two numbers for each row of our own tables that has a gain and a value: the gain, and the value minus the
    incumbent's value."""
    incumbent: float | None = None
    for row in columns.rows if columns.ours else ():
        value, gain = number_in(columns.cell(row, "value")), number_in(columns.cell(row, "gain"))
        status = columns.cell(row, "status")
        if status in ("keep", "discard") and value is not None and gain is not None and incumbent is not None:
            yield gain, value - incumbent
        if status == "keep" and value is not None:
            incumbent = value


def _ends(runs: Sequence[Run]) -> tuple[float, float] | None:
    """Return the values of the last baseline and of the last kept run.

    Return None for a table with only one baseline, because the rows of such a table already show both values.
    """
    opened = [run for run in runs if run.opens]
    kept = [run for run in runs if run.status == "keep" and run.comparable]
    if len(opened) < 2 or opened[-1].value is None or kept[-1].value is None:
        return None
    return opened[-1].value, kept[-1].value
