"""Define the search space of a lab: every movable knob of its files is one coordinate from 0 to 1.

For rates and sizes the ratio of two values matters, and for shares the difference.  So the coordinate follows the
logarithm of the value for ``log`` and ``pow2`` knobs, and for whole numbers over a wide range.  For all other knobs it
follows the value itself.  The options of a choice have no order; their coordinates only number the options.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from autoresearch_mlx.agents.knobs.ranges import Range, range_of
from autoresearch_mlx.lab.source import read_knobs, set_knobs

Point: TypeAlias = tuple[Any, ...]
"""One value for each dimension of a space, as it is written in the files."""

_HUGE = 1e300
WIDE = 4
"""Smallest ratio of a range's ``high`` to its ``low`` for which the place of a whole number follows its logarithm.

For example, one more layer is a larger step for 4 layers than for 20 layers.
"""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One movable knob: its file, its range, and its current value.

    ``name`` includes the path (``model.py:DEPTH``) when several files have a knob with this name.
    """

    name: str
    path: str
    knob: str
    range: Range
    value: Any

    @property
    def by_ratio(self) -> bool:
        """True if a value's place follows its logarithm: for rates, sizes, and whole numbers over a wide range."""
        r = self.range
        return r.kind in ("log", "pow2") or (r.kind == "int" and r.low >= 1 and WIDE * r.low <= r.high)

    def holds(self, value: Any) -> bool:
        """Return whether a value has a place in the range; :meth:`unit` puts other numbers at an end of the range."""
        if self.range.kind == "choice":
            return value in self.range.choices
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE

    def unit(self, value: Any) -> float:
        """Return the place of a value in the range, from 0 to 1."""
        r = self.range
        if r.kind == "choice":
            return r.choices.index(value) / (len(r.choices) - 1)
        if self.by_ratio:
            place = math.log(max(value, r.low) / r.low) / math.log(r.high / r.low)
        else:
            place = (value - r.low) / (r.high - r.low)
        return min(1.0, max(0.0, place))

    def at(self, unit: float) -> Any:
        """Return the value at a place from 0 to 1, as a person would write the value.

        Depending on the knob, this is a whole number, a power of two, a number with three digits, or an option.
        """
        r, unit = self.range, min(1.0, max(0.0, unit))
        if r.kind == "choice":
            return r.choices[round(unit * (len(r.choices) - 1))]
        if r.kind == "pow2":
            return self._power(unit)
        raw = r.low * (r.high / r.low) ** unit if self.by_ratio else r.low + (r.high - r.low) * unit
        short = float(f"{raw:.3g}")
        if r.kind == "int" or isinstance(self.value, int):
            return min(math.floor(r.high), max(math.ceil(r.low), round(short)))
        # If rounding to three digits goes past an end of the range, that end is returned.
        return min(r.high, max(r.low, short))

    def _power(self, unit: float) -> int:
        low, high = math.log2(self.range.low), math.log2(self.range.high)
        power = round(low + (high - low) * unit)
        return 1 << int(min(math.floor(high + 1e-9), max(math.ceil(low - 1e-9), power)))

    @property
    def tick(self) -> float:
        """The smallest step that changes the value, as a share of the range; 0 for a continuous knob."""
        r = self.range
        if r.kind == "choice":
            return 1.0
        if r.kind == "pow2":
            return min(1.0, 1 / math.log2(r.high / r.low))
        if r.kind == "int" and self.by_ratio:
            # On a logarithmic scale, one down is a longer step than one up; the small addition allows for rounding.
            step = self.value / (self.value - 1) if self.value > max(1, r.low) else (self.value + 1) / self.value
            return min(1.0, math.log(step) / math.log(r.high / r.low) + 1e-3)
        return min(1.0, 1 / (r.high - r.low)) if r.kind == "int" else 0.0


@dataclass(frozen=True, slots=True)
class Space:
    """The movable knobs of a lab, in the order of its files."""

    dimensions: tuple[Dimension, ...]

    def __iter__(self) -> Iterator[Dimension]:
        return iter(self.dimensions)

    def __len__(self) -> int:
        return len(self.dimensions)

    @property
    def start(self) -> Point:
        """The current values in the incumbent's files."""
        return tuple(d.value for d in self)

    def units(self, point: Point) -> tuple[float, ...]:
        """Return the place of each value of the point, from 0 to 1."""
        return tuple(d.unit(value) for d, value in zip(self, point, strict=True))

    def changes(self, point: Point) -> dict[str, tuple[Any, Any]]:
        """Return ``{name: (from, to)}``: the changes that lead from the current files to this point."""
        pairs = zip(self, point, strict=True)
        return {d.name: (d.value, value) for d, value in pairs if value != d.value}

    def write(self, point: Point, files: Mapping[str, str]) -> dict[str, str]:
        """Return the whole new text of each file that this point changes, by the file's path."""
        moved: dict[str, dict[str, Any]] = {}
        for d, value in zip(self, point, strict=True):
            if value != d.value:
                moved.setdefault(d.path, {})[d.knob] = value
        return {path: set_knobs(files[path], values) for path, values in moved.items()}


def read_space(files: Mapping[str, str], firsts: Mapping[str, Any] | None = None) -> Space:
    """Return the movable knobs of all Python files; an empty space when no file has any.

    ``firsts`` has the first value of each knob that has moved since the start of the session.
    """
    firsts = firsts or {}
    found = [
        (path, knob) for path in sorted(files) if path.endswith(".py") for knob in read_knobs(files[path]).values()
    ]
    names = [knob.name for _, knob in found]
    dimensions = []
    for path, knob in found:
        name = f"{path}:{knob.name}" if names.count(knob.name) > 1 else knob.name
        span = range_of(knob, firsts.get(name, firsts.get(knob.name)))
        if span is not None:
            dimensions.append(Dimension(name, path, knob.name, span, knob.value))
    return Space(tuple(dimensions))
