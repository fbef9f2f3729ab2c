"""Read the table of Apple's chips and find the row that fits a machine.

The figures are published peaks (``data/chips.tsv`` names the sources).  For a chip that the table lacks, the nearest
row is used, and :attr:`Found.words` says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.lab.assets import asset, positive, read_rows, text

TABLE = "data/chips.tsv"
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
ESTIMATES = frozenset({"fp32", "fp16", "bandwidth"})
_NAME = re.compile(r"(?:Apple )?([AM])(\d+)(?: (Pro|Max|Ultra))?\b")
_ARCHITECTURE = re.compile(r"applegpu_g(\d+)([pgsd])")
_CLASSES = {"p": "phone", "g": "base or Pro", "s": "Max", "d": "Ultra"}
"""Kind of chip by the last letter of an architecture, as MLX's Metal backend reads it
(mlx/backend/metal/device.cpp)."""
_FIRST_M = 12
"""What to subtract from the number of a GPU's architecture to get the chip's: applegpu_g13 is an M1, applegpu_g17 an
M5."""


@dataclass(frozen=True, slots=True)
class Chip:
    """One row of the table: peaks in 10^12 operations a second, memory bandwidth in GB/s."""

    chip: str
    gpu_cores: int
    fp32_tflops: float
    fp16_tflops: float | None
    bandwidth_gbs: float
    memory_gb: tuple[int, ...]
    """Memory sizes with which the chip was sold."""
    estimates: frozenset[str]
    """Which of the figures fp32, fp16 and bandwidth are estimates."""
    source: str
    note: str

    @property
    def name(self) -> str:
        """The chip's name as the machine reports it: ``A18 Pro``, without the Mac that the table adds in brackets."""
        return self.chip.partition(" (")[0]


@dataclass(frozen=True, slots=True)
class Found:
    """The row of the table that is used for a machine.

    ``words`` is None if the row fits; else it names the chip and the number of GPU cores of the row that is used.
    """

    chip: Chip
    words: str | None = None


def read_chips(path: Path | None = None) -> tuple[Chip, ...]:
    """Read the package's own table, or the table at ``path``.

    Raises TableError, which names the file and the line of a malformed row.
    """
    return read_rows(path or asset(TABLE), CHIP_COLUMNS, _chip)


def find_chip(machine: Machine, chips: Sequence[Chip]) -> Found | None:
    """Return the row for this machine's chip and number of GPU cores, else the nearest row.

    If the number of cores is unknown, the row with the fewest cores is used.  Returns None for a machine without an
    Apple GPU.
    """
    named = _NAME.match(machine.chip or "")
    if named is None or machine.gpu is None or machine.gpu.kind != "metal" or not chips:
        return None
    name = named.group().removeprefix("Apple ")
    cores = machine.gpu.cores
    near = min(chips, key=lambda chip: _distance(chip, named, cores))
    if near.name != name:
        said = f"{name}{_cores(cores)} is not in the table; nearest: {near.name}{_cores(near.gpu_cores)}"
        return Found(near, said)
    if cores is None:
        return Found(near, f"the number of GPU cores is unknown; used: {near.name}{_cores(near.gpu_cores)}")
    if near.gpu_cores != cores:
        return Found(near, f"{name}{_cores(cores)} is not in the table; nearest: {near.gpu_cores} GPU cores")
    return Found(near)


def architecture_words(architecture: str | None) -> str | None:
    """Return an architecture's name with what it means: ``applegpu_g17s (M5 generation, Max)``.

    A name of another form is returned unchanged, an empty name as None.
    """
    found = _ARCHITECTURE.fullmatch(architecture or "")
    if found is None or not architecture:
        return architecture or None
    generation = int(found.group(1)) - _FIRST_M
    family = f"M{generation} generation, " if generation > 0 and found.group(2) != "p" else ""
    return f"{architecture} ({family}{_CLASSES[found.group(2)]})"


def _distance(chip: Chip, named: re.Match[str], cores: int | None) -> tuple[bool, bool, int, int, int]:
    """Return how far a row is from the machine's chip, for sorting: family, class, generation, cores, then the smaller
    chip first."""
    letter, generation, kind = named.groups()
    own = _NAME.match(chip.chip)
    assert own is not None
    away = abs(int(own.group(2)) - int(generation))
    wanted = chip.gpu_cores if cores is None else cores
    return own.group(1) != letter, own.group(3) != kind, away, abs(chip.gpu_cores - wanted), chip.gpu_cores


def _cores(cores: int | None) -> str:
    return f" with {cores} GPU cores" if cores else ""


def _chip(row: Mapping[str, str]) -> Chip:
    return Chip(
        chip=_named(row),
        gpu_cores=int(row["gpu_cores"]),
        fp32_tflops=positive(row, "fp32_tflops"),
        fp16_tflops=positive(row, "fp16_tflops") if row["fp16_tflops"] else None,
        bandwidth_gbs=positive(row, "bandwidth_gbs"),
        memory_gb=tuple(int(size) for size in row["memory_gb"].split("/")),
        estimates=_estimates(row["estimate"]),
        source=text(row, "source"),
        note=row["note"],
    )


def _named(row: Mapping[str, str]) -> str:
    name = text(row, "chip")
    if _NAME.match(name) is None:
        raise ValueError(f"{name!r} is not an Apple chip")
    return name


def _estimates(cell: str) -> frozenset[str]:
    found = frozenset(cell.split("+")) if cell else frozenset()
    if not found <= ESTIMATES:
        raise ValueError(f"the column estimate may name {', '.join(sorted(ESTIMATES))}, not {cell!r}")
    return found
