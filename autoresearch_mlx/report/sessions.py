"""List the sessions of a lab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.errors import LedgerError
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.report.status import Status, status_of
from autoresearch_mlx.store.ledger import FILE


@dataclass(frozen=True, slots=True)
class Row:
    """One session of a lab."""

    tag: str
    used_last: bool
    """Whether commands without ``--tag`` use this session."""
    state: str
    """``running #7``, ``idle``, or the reason why the session's ledger cannot be read."""
    branch: str
    metric: str | None
    baseline: float | None
    best: float | None
    experiments: int
    kept: int
    last: str
    """Time at which the session's ledger was last written, in UTC (ISO 8601)."""


def rows_of(lab: Lab) -> list[Row]:
    """Return the sessions of a lab; the session whose ledger was written last is at the end.

    If a ledger cannot be read, the row's state says why.
    """
    return [_row(lab, tag) for tag in lab.tags()]


def _row(lab: Lab, tag: str) -> Row:
    folder, current = lab.folder(tag), lab.current() == tag
    last = datetime.fromtimestamp((folder / FILE).stat().st_mtime, UTC).isoformat(timespec="seconds")
    try:
        status = status_of(folder)
    except LedgerError as error:
        return Row(tag, current, f"unreadable: {error}", f"autoresearch/{tag}", None, None, None, 0, 0, last)
    baseline, best = (None if mark is None else mark.value for mark in (status.baseline, status.incumbent))
    state, counts = _state(status), status.counts
    return Row(tag, current, state, status.branch, status.metric, baseline, best, counts.experiments, counts.kept, last)


def _state(status: Status) -> str:
    running = status.running
    if running is None:
        return "idle"
    return "running" if running.number is None else f"running #{running.number}"


def render(rows: Sequence[Row]) -> str:
    """Return a table with a line for each session; ``*`` marks the session that was used last."""
    heads = ("", "session", "experiments", "kept", "metric", "baseline", "best", "last written", "state")
    lines = [
        (
            "*" if row.used_last else "",
            row.tag,
            terms.count(row.experiments),
            terms.count(row.kept),
            row.metric or terms.UNKNOWN,
            terms.value(row.baseline),
            terms.value(row.best),
            row.last[:16].replace("T", " "),
            terms.one_line(row.state),
        )
        for row in rows
    ]
    return "\n".join(terms.table([heads, *lines], left=(0, 1, 4, 7, 8)))


def to_json(rows: Sequence[Row]) -> list[Mapping[str, Any]]:
    return [asdict(row) for row in rows]
