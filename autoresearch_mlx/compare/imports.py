"""Read any log of experiments: upstream's ``results.tsv`` and its variants, or a ledger of ours.

Columns are found by their names, in any order; a file without a header has upstream's order.  A line that cannot be
understood is refused with file and line number.  Nothing is written.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch_mlx.compare import log_noise, measured_under
from autoresearch_mlx.compare.descriptions import read_descriptions
from autoresearch_mlx.compare.effects import Run, effects
from autoresearch_mlx.compare.log import METRIC, Log, of_history
from autoresearch_mlx.errors import LedgerError, TableError
from autoresearch_mlx.store.ledger import read

_NAMES: Mapping[str, tuple[str, ...]] = {
    "commit": ("commit", "sha", "hash", "commit_hash", "git_commit"),
    "value": (METRIC, "bpb", "metric", "value", "val_bpb_mean", "best_val_bpb"),
    "memory": ("memory_gb", "peak_vram_gb", "memory", "mem_gb", "vram_gb", "peak_memory_gb", "peak_vram"),
    "memory_mb": ("peak_vram_mb", "memory_mb", "peak_memory_mb", "vram_mb"),
    "status": ("status", "decision", "result", "outcome", "verdict"),
    "description": ("description", "desc", "title", "change", "experiment", "idea", "hypothesis", "notes"),
}
_UPSTREAM = ("commit", "value", "memory", "status", "description")
_STATUSES: Mapping[str, tuple[str, ...]] = {
    "keep": ("keep", "kept", "baseline", "accept", "accepted", "improved", "best", "new_best", "success"),
    "discard": ("discard", "discarded", "reject", "rejected", "revert", "reverted", "worse", "no_improvement"),
    "crash": ("crash", "crashed", "oom", "fail", "failed", "error", "nan", "timeout", "timed_out", "invalid"),
    "interrupted": ("interrupted",),
    "duplicate": ("duplicate",),
    "conflict": ("conflict",),
}
_NOTHING = frozenset({"", "-", "--", "n/a", "na", "nan", "none", "null", "oom", "crash", "inf"})
_UNIT = re.compile(r"\s*(gb|gib|mb|mib)$", re.IGNORECASE)
_MOST_BITS = 64
"""Value from which a row is refused: a model that has learnt anything is below 8 bits per byte."""


@dataclass(frozen=True, slots=True)
class _Line:
    path: Path
    number: int
    cells: Sequence[str]

    def error(self, fact: str) -> TableError:
        hint = "correct that line, or remove it; `results.tsv` has commit, val_bpb, memory_gb, status, description"
        return TableError(f"{self.path}, line {self.number}: {fact}", hint)


def read_log(path: Path, hardware: str = "") -> Log:
    """Read the log in a file.  Raises TableError with file and line for a line that cannot be understood."""
    text = _text(path)
    if path.suffix == ".jsonl" or text.lstrip().startswith("{"):
        return _ledger(path, hardware)
    return _table(path, text, hardware)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"cannot read {path}: {error}", "give a results.tsv, a .csv or a ledger.jsonl") from None


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


def _table(path: Path, text: str, hardware: str) -> Log:
    lines = list(_lines(path, text))
    if not lines:
        raise TableError(f"{path}: no rows", "give a results.tsv with commit, val_bpb, memory_gb, status, description")
    columns, metric, body = _columns(lines)
    runs = [_run(line, columns, at) for at, line in enumerate(body)]
    first = next((at for at, run in enumerate(runs) if run.status == "keep"), None)
    if first is None:
        said = f"{path}: no run was kept, so there is no baseline that effects could start from"
        raise TableError(said, "mark the baseline's row with the status keep")
    told = read_descriptions([(run.note, run.status == "keep") for run in runs[first:]])
    made = tuple(
        replace(run, order=at, axis=t.axis, changes=t.changes)
        for at, (run, t) in enumerate(zip(runs[first:], told, strict=True))
    )
    left_out = (f"rows before the first kept one are left out: {first}",) if first else ()
    return Log(
        name=hardware or path.stem,
        source=path.name,
        hardware=hardware,
        metric=metric,
        direction="min",
        runs=made,
        noise=log_noise.of_effects(effects(made, "min")),
        conditions={"machine": hardware} if hardware else {},
        caveats=("axes and knobs are read from the descriptions", *left_out),
    )


def _lines(path: Path, text: str) -> Iterator[_Line]:
    """Yield the rows with their line numbers; blank lines and comments are left out."""
    tabs = "\t" in text
    options = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"delimiter": ","}
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, **options)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) and not cells[0].startswith("#"):
                yield _Line(path, reader.line_num, [cell.strip() for cell in cells])
    except csv.Error as error:
        raise _Line(path, reader.line_num, ()).error(f"the row cannot be read: {error}") from None


def _columns(lines: Sequence[_Line]) -> tuple[dict[str, int], str, Sequence[_Line]]:
    """Return the place of each column, the metric's name, and the rows below the header."""
    head = [cell.lower().replace(" ", "_") for cell in lines[0].cells]
    known = {name: at for name, words in _NAMES.items() if (at := _first(head, words)) is not None}
    ours = {"verdict", "number", "knobs"} <= set(head) and "value" not in known
    if ours:
        known["value"] = 1
    if "status" not in known and "value" not in known:
        return _without_header(lines)
    missing = [name for name in ("value", "status", "description") if name not in known]
    if missing:
        wanted = ", ".join(f"{name} ({' or '.join(_NAMES[name][:3])})" for name in missing)
        raise lines[0].error(f"no column for {wanted}; the header has {', '.join(head)}")
    return known, head[1] if ours else METRIC, lines[1:]


def _first(head: Sequence[str], words: Sequence[str]) -> int | None:
    return next((head.index(word) for word in words if word in head), None)


def _without_header(lines: Sequence[_Line]) -> tuple[dict[str, int], str, Sequence[_Line]]:
    cells = lines[0].cells
    for names in (_UPSTREAM, ("commit", "value", "status", "description")):
        at = {name: i for i, name in enumerate(names)}
        if len(cells) >= len(names) and _status_word(cells[at["status"]]) and _is_value(cells[at["value"]]):
            return at, METRIC, lines
    said = "neither a header nor upstream's columns commit, val_bpb, memory_gb, status, description"
    raise lines[0].error(f"{said}; found {len(cells)} cell{'' if len(cells) == 1 else 's'}")


def _is_value(cell: str) -> bool:
    try:
        return cell.lower() in _NOTHING or math.isfinite(float(cell))
    except ValueError:
        return False


def _status_word(cell: str) -> str | None:
    word = re.sub(r"[^a-z]+", "_", cell.lower()).strip("_")
    return next((status for status, words in _STATUSES.items() if word in words), None)


def _run(line: _Line, columns: Mapping[str, int], order: int) -> Run:
    if len(line.cells) <= max(columns[name] for name in ("value", "status")):
        raise line.error(f"the row has {len(line.cells)} cells, not {max(columns.values()) + 1}")
    value = _value(line, _cell(line, columns, "value"))
    status = _status_word(word := _cell(line, columns, "status"))
    if status is None:
        raise line.error(f"unknown status {word!r} (known: {', '.join(w[0] for w in _STATUSES.values())})")
    if status == "keep" and value is None:
        raise line.error("kept without a value")
    for name in ("memory", "memory_mb"):
        _memory(line, _cell(line, columns, name))
    status = "crash" if value is None and status == "discard" else status
    return Run(
        order=order,
        commit=_cell(line, columns, "commit") or None,
        value=None if status == "crash" else value,
        status=status,
        axis="other",
        changes={},
        note=_description(line, columns),
    )


def _cell(line: _Line, columns: Mapping[str, int], name: str) -> str:
    at = columns.get(name)
    return line.cells[at] if at is not None and at < len(line.cells) else ""


def _description(line: _Line, columns: Mapping[str, int]) -> str:
    """Return the description, without control characters, which do not belong in a terminal.

    If it is the last column, all cells behind it belong to it, so that a stray separator does not cut it off.
    """
    at = columns["description"]
    cells = line.cells[at:] if at == max(columns.values()) and len(columns) >= 4 else line.cells[at : at + 1]
    text = " ".join(cell for cell in cells if cell)
    return "".join(c if c.isprintable() else " " for c in text)


def _value(line: _Line, cell: str) -> float | None:
    if cell.lower() in _NOTHING:
        return None
    try:
        value = float(cell)
    except ValueError:
        raise line.error(f"the value {cell!r} is not a number") from None
    if value == 0:
        return None
    if not 0 < value < _MOST_BITS:
        raise line.error(f"the value {cell} cannot be bits per byte")
    return value


def _memory(line: _Line, cell: str) -> None:
    """Raise TableError if the memory is not a number, which shows misread columns.  The value is not used."""
    plain = _UNIT.sub("", cell)
    if plain.lower() not in _NOTHING and not _is_value(plain):
        raise line.error(f"the memory {cell!r} is not a number")
