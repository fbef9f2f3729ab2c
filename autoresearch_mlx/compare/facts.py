"""A smaller table: how strategies of search did in the one controlled study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoresearch_mlx.lab.assets import positive, read_rows, text

STRATEGY_COLUMNS = (
    "source",
    "hardware",
    "strategy",
    "model",
    "seeds",
    "mean_best",
    "std",
    "failed_percent",
    "p_over_tpe",
    "comparable",
    "caveat",
    "note",
)


@dataclass(frozen=True, slots=True)
class Strategy:
    """The best val_bpb of a search, mean and standard deviation over its seeds."""

    source: str
    hardware: str
    strategy: str
    model: str
    seeds: int
    mean_best: float
    std: float
    failed_percent: float | None
    p_over_tpe: float | None
    comparable: bool
    caveat: str
    note: str


def read_strategies(path: Path) -> tuple[Strategy, ...]:
    """Raises TableError naming file and line for whatever is malformed."""
    return read_rows(path, STRATEGY_COLUMNS, _strategy)


def _strategy(row: Mapping[str, str]) -> Strategy:
    return Strategy(
        source=text(row, "source"),
        hardware=text(row, "hardware"),
        strategy=text(row, "strategy"),
        model=row["model"],
        seeds=int(row["seeds"]),
        mean_best=positive(row, "mean_best"),
        std=positive(row, "std"),
        failed_percent=float(row["failed_percent"]) if row["failed_percent"] else None,
        p_over_tpe=positive(row, "p_over_tpe") if row["p_over_tpe"] else None,
        comparable=_yes(row["comparable"]),
        caveat=row["caveat"],
        note=row["note"],
    )


def _yes(cell: str) -> bool:
    if cell not in ("yes", "no"):
        raise ValueError(f"comparable is yes or no, not {cell!r}")
    return cell == "yes"
