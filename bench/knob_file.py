"""Define the knob files from which the searches of the bench start: a range and a first value for each knob."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the knob file: a knob's range as the comment gives it, and its first value."""

    name: str
    kind: str
    low: float
    high: float
    start: Any
    choices: tuple[Any, ...] = ()

    def unit(self, value: Any) -> float:
        """Return the place of a value in its range: 0 at the low end, 1 at the high end."""
        if self.kind == "choice":
            return self.choices.index(value) / (len(self.choices) - 1)
        if self.kind in ("log", "pow2"):
            return math.log(value / self.low) / math.log(self.high / self.low)
        return float((value - self.low) / (self.high - self.low))

    def line(self) -> str:
        ends = self.choices if self.kind == "choice" else (f"{self.low:.9g}", f"{self.high:.9g}")
        return f"{self.name} = {self.start!r}  # knob: {self.kind} {' '.join(map(str, ends))}"


@dataclass(frozen=True, slots=True)
class KnobFile:
    """A file of knobs and nothing else."""

    rows: tuple[Row, ...]

    @property
    def start(self) -> dict[str, Any]:
        """The first value of each knob."""
        return {row.name: row.start for row in self.rows}

    @property
    def text(self) -> str:
        return "".join(f"{row.line()}\n" for row in self.rows)


DRAWN = KnobFile(
    (
        Row("DEPTH", "int", 2, 16, 8),
        Row("ASPECT_RATIO", "int", 32, 96, 64),
        Row("HEAD_DIM", "pow2", 32, 256, 128),
        Row("WINDOW_PATTERN", "choice", 0, 0, "SSSL", ("SSSL", "SSSSL", "SL", "L")),
        Row("TOTAL_BATCH_SIZE", "pow2", 2**14, 2**21, 2**18),
        Row("DEVICE_BATCH_SIZE", "pow2", 8, 256, 64),
        Row("EMBEDDING_LR", "log", 0.06, 6, 0.6),
        Row("UNEMBEDDING_LR", "log", 0.0004, 0.04, 0.004),
        Row("MATRIX_LR", "log", 0.004, 0.4, 0.04),
        Row("SCALAR_LR", "log", 0.05, 5, 0.5),
        Row("WEIGHT_DECAY", "lin", 0, 1, 0.2),
        Row("WARMUP_RATIO", "lin", 0, 0.3, 0.0),
        Row("WARMDOWN_RATIO", "lin", 0, 1, 0.5),
        Row("FINAL_LR_FRAC", "lin", 0, 0.3, 0.0),
        Row("ROPE_BASE", "log", 1000, 1000000, 10000),
        Row("X0_LAMBDA", "lin", 0, 1, 0.1),
    )
)
"""Knob file with upstream's constants, for the synthetic landscapes of ``bench/landscapes.py``."""

ROWS = DRAWN.rows
BY_NAME = {row.name: row for row in ROWS}
START_VALUES: dict[str, Any] = DRAWN.start
TEXT = DRAWN.text


def unit(name: str, value: Any) -> float:
    """Return the place of a knob's value in its range, from 0 to 1."""
    return BY_NAME[name].unit(value)
