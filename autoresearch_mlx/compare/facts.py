"""Two smaller tables: what Apple's chips can do, and how strategies of search did in the one controlled study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from autoresearch_mlx.errors import TableError

Row = TypeVar("Row")

CHIP_COLUMNS = (
    "chip",
    "gpu_cores",
    "fp32_tflops",
    "fp16_tflops",
    "bandwidth_gbs",
    "memory_gb",
    "estimate",
    "source",
    "note",
)
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
ESTIMATES = frozenset({"fp32", "fp16", "bandwidth"})


@dataclass(frozen=True, slots=True)
class Chip:
    """Peaks of one chip: matrix products in 10^12 operations a second, memory bandwidth in GB/s."""

    chip: str
    gpu_cores: int
    fp32_tflops: float
    fp16_tflops: float | None
    bandwidth_gbs: float
    memory_gb: tuple[int, ...]
    """Sizes that it was sold with."""
    estimates: frozenset[str]
    """Which of fp32, fp16 and bandwidth are estimates."""
    source: str
    note: str


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


def read_chips(path: Path) -> tuple[Chip, ...]:
    """Raises TableError naming file and line for whatever is malformed."""
    return _rows(path, CHIP_COLUMNS, _chip)


def read_strategies(path: Path) -> tuple[Strategy, ...]:
    """Raises TableError naming file and line for whatever is malformed."""
    return _rows(path, STRATEGY_COLUMNS, _strategy)


def _rows(path: Path, columns: tuple[str, ...], made: Callable[[Mapping[str, str]], Row]) -> tuple[Row, ...]:
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


def _chip(row: Mapping[str, str]) -> Chip:
    return Chip(
        chip=_text(row, "chip"),
        gpu_cores=int(row["gpu_cores"]),
        fp32_tflops=_positive(row, "fp32_tflops"),
        fp16_tflops=_positive(row, "fp16_tflops") if row["fp16_tflops"] else None,
        bandwidth_gbs=_positive(row, "bandwidth_gbs"),
        memory_gb=tuple(int(size) for size in row["memory_gb"].split("/")),
        estimates=_estimates(row["estimate"]),
        source=_text(row, "source"),
        note=row["note"],
    )


def _strategy(row: Mapping[str, str]) -> Strategy:
    return Strategy(
        source=_text(row, "source"),
        hardware=_text(row, "hardware"),
        strategy=_text(row, "strategy"),
        model=row["model"],
        seeds=int(row["seeds"]),
        mean_best=_positive(row, "mean_best"),
        std=_positive(row, "std"),
        failed_percent=float(row["failed_percent"]) if row["failed_percent"] else None,
        p_over_tpe=_positive(row, "p_over_tpe") if row["p_over_tpe"] else None,
        comparable=_yes(row["comparable"]),
        caveat=row["caveat"],
        note=row["note"],
    )


def _yes(cell: str) -> bool:
    if cell not in ("yes", "no"):
        raise ValueError(f"comparable is yes or no, not {cell!r}")
    return cell == "yes"


def _estimates(cell: str) -> frozenset[str]:
    found = frozenset(cell.split("+")) if cell else frozenset()
    if not found <= ESTIMATES:
        raise ValueError(f"estimates are of {', '.join(sorted(ESTIMATES))}, not of {cell!r}")
    return found


def _text(row: Mapping[str, str], name: str) -> str:
    if not row[name]:
        raise ValueError(f"no {name}")
    return row[name]


def _positive(row: Mapping[str, str], name: str) -> float:
    value = float(row[name])
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} {row[name]!r} is no positive number")
    return value
