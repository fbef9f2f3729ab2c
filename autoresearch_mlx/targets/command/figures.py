"""Read figures from a program's output: lines ``METRIC name=value``, or text that fits a pattern for the metric."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from autoresearch_mlx.experiment import Failure
from autoresearch_mlx.lab.setting_types import METRIC_NAME
from autoresearch_mlx.lab.source import MARK
from autoresearch_mlx.targets.measured import LARGEST_VALUE
from autoresearch_mlx.terms import without_codes
from autoresearch_mlx.trial.runner import Ended

METRIC = re.compile(rf"^METRIC\s+({METRIC_NAME.pattern})\s*=\s*(\S+)\s*$")
_NEARLY = re.compile(rf"^\s*metric\b|\bmetric\s+{METRIC_NAME.pattern}\s*[=:]", re.IGNORECASE)
"""Pattern of a line that probably should print the metric, but has text before ``METRIC`` or a wrong form."""
_LONGEST_QUOTE = 80
_LINE_ENDS = re.compile(rb"[\r\n]")
_LINE_LIMIT = 65536
OF_EVERY_RUN = ("peak_memory_mb",)
"""Figures that are measured for every run; the program need not print them."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure (a number that a program prints) that lab.toml declares."""

    name: str
    repeats: int = 1
    """Number of runs; the figure is the median of their values."""
    run: str | None = None
    """Shell command that prints the figure, or None for the target's own command."""


@dataclass(slots=True)
class Taken:
    """The figures of one measurement, which may consist of several runs."""

    values: dict[str, list[float]] = field(default_factory=dict)
    """Name of each declared figure -> its values, one for each run, in the order of the runs."""
    undeclared: dict[str, float] = field(default_factory=dict)
    """Name of each figure that was printed but not declared -> its last value."""
    seconds: float = 0.0
    """Wall-clock seconds of all runs together."""
    peak_memory_mb: float | None = None

    def add(self, ran: Ended, found: Figures, wanted: Sequence[Figure], number: int) -> tuple[Failure, str] | None:
        """Add the figures that a run printed; return a failure if a required figure is missing.  ``number`` is the
        number of the run, from 0."""
        found.end()
        self.seconds += ran.seconds
        self.peak_memory_mb = max(filter(None, (self.peak_memory_mb, ran.peak_memory_mb)), default=None)
        declared = {figure.name for figure in wanted}
        self.undeclared |= {name: value for name, value in found.others.items() if name not in declared}
        for figure in wanted:
            if number >= figure.repeats:
                continue
            first = figure.name == found.metric
            value = found.value if first else found.others.get(figure.name)
            if first and value is None and figure.name in OF_EVERY_RUN:
                value = ran.peak_memory_mb
            if value is not None:
                self.values.setdefault(figure.name, []).append(value)
            elif first or figure.name not in OF_EVERY_RUN:
                said = f"the program ended without printing METRIC {figure.name}=value"
                return (found.failure() if first else None) or ("invalid", said)
        return None

    def value(self, name: str) -> float | None:
        """Return the median of a figure's values, or None if the figure has no value."""
        return median(self.values[name]) if self.values.get(name) else None

    def others(self, metric: str) -> dict[str, Any]:
        """Return all figures except the metric; ``values`` lists every value of a figure that was measured in
        several runs."""
        medians = {name: median(values) for name, values in self.values.items() if name != metric}
        several = {name: values for name, values in self.values.items() if len(values) > 1}
        return {**self.undeclared, **medians, **({"values": several} if several else {})}


class Figures:
    """Reads the metric and other ``METRIC`` lines from a program's output; only the last line of each name counts."""

    def __init__(self, pattern: str | None, metric: str) -> None:
        self.value: float | None = None
        self.others: dict[str, float] = {}
        self._text: str | None = None
        self._pattern = re.compile(pattern) if pattern else None
        self.metric = metric
        self._rest = b""
        self._near = ""

    def feed(self, data: bytes) -> None:
        *lines, rest = _LINE_ENDS.split(self._rest + data)
        self._rest = rest[-_LINE_LIMIT:]
        for line in lines:
            self._line(line.decode(errors="replace"))

    def end(self) -> None:
        """Read the last line, which may lack a line end."""
        if self._rest:
            self._line(self._rest.decode(errors="replace"))
            self._rest = b""

    def failure(self) -> tuple[Failure, str] | None:
        """Return why the metric could not be read, or None if it was read."""
        if self._text is None:
            wanted = f"/{self._pattern.pattern}/" if self._pattern else f"METRIC {self.metric}=value"
            return "invalid", f"the program ended without printing {wanted}{self._printed_instead()}"
        if self.value is None:
            return "invalid", f"{self.metric} is {self._text!r}, {_why_not(self._text)}"
        return None

    def _printed_instead(self) -> str:
        """Return the end of the message, which shows what was printed instead of the metric; empty if nothing similar
        was printed."""
        if self._pattern is not None:
            return ""
        if self._near:
            return f"; the line {self._near!r} does not have this form"
        return f"; it printed METRIC {', '.join(self.others)}" if self.others else ""

    def _line(self, line: str) -> None:
        plain = _without_backspaces(without_codes(line)).removeprefix(MARK)
        if self._pattern is not None and (found := self._pattern.search(plain) or self._pattern.search(line)):
            self._text = (found.group(1) if found.groups() else found.group(0)) or ""
            self.value = _comparable(self._text)
        match = METRIC.match(plain)
        if match is None:
            if near := _NEARLY.search(plain):
                begins = max(0, near.end() - _LONGEST_QUOTE // 2)
                self._near = plain[begins : begins + _LONGEST_QUOTE].rstrip()
            return
        name, text = match.groups()
        if self._pattern is None and name == self.metric:
            self._text, self.value = text, _comparable(text)
        elif (value := _comparable(text)) is not None:
            self.others[name] = value


def _without_backspaces(text: str) -> str:
    """Return the text as a terminal shows it: a backspace, which some progress bars print, erases a character."""
    if "\b" not in text:
        return text
    shown: list[str] = []
    for character in text:
        if character != "\b":
            shown.append(character)
        elif shown:
            shown.pop()
    return "".join(shown)


def _comparable(text: str) -> float | None:
    """Return the text as a number, or None if the text is not a number that can be compared with others."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) <= LARGEST_VALUE else None  # NaN gives None too


def _why_not(text: str) -> str:
    """Return the end of a sentence that says why a text is not a number that can be compared."""
    try:
        finite = math.isfinite(float(text))
    except ValueError:
        finite = False
    return f"which is too large: the limit is {LARGEST_VALUE:g}" if finite else "which is not a finite number"
