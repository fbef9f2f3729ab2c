"""Refuse an edit that takes a figure other than the metric beyond its limit, however much the metric gains.

A limit is a number, or a share by which a value may be worse than the value of the session's first version.  The
comparison is not with the incumbent, because a figure could then become a little worse with every keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Direction, History, Measurement

_FIELDS = ("peak_memory_mb", "steps", "tokens", "tokens_per_second")
"""Figures of a measurement that have a field of their own; all other figures are in ``extra``."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The worst value that a figure may have."""

    name: str
    direction: Direction
    """Whether a smaller or a larger value is better."""
    bound: float | None = None
    """The worst allowed value, or None if the limit is given by ``worse_by``."""
    worse_by: float = 0.0
    """Share of the first version's value by which a value may be worse; unused with ``bound``."""
    unit: str = ""

    def in_words(self) -> str:
        """Say what the limit is: ``at most 5 % worse than the first version's``, ``at least 0.9``."""
        if self.bound is None:
            return f"at most {100 * self.worse_by:g} % worse than the first version's"
        return f"at {'most' if self.direction == 'min' else 'least'} {terms.value(self.bound)}"

    def broken(self, history: History, measurements: Sequence[Measurement]) -> str | None:
        """Say how the undisturbed runs break the limit; return None if they keep to it."""
        first = None if history.baseline is None else mean_of(self.name, history.baseline.measurements)
        return self.broken_by(mean_of(self.name, measurements), first)

    def broken_by(self, value: float | None, first: float | None) -> str | None:
        """Say how a value breaks the limit, if the first version has the value ``first``; return None if the value is
        allowed.

        A figure that no run reports breaks its limit too.  If the first version has no value, only a limit with a bound
        can be broken.
        """
        if value is None:
            return f"no run has the figure {self.name}, which has a limit"
        worst, why = self.bound, ""
        if worst is None:
            if first is None:
                return None
            sign = 1 if self.direction == "min" else -1
            worst = first + sign * abs(first) * self.worse_by
            share = f"{'+-'[sign < 0]}{100 * self.worse_by:g} %"
            why = f" ({share} against the first version's {terms.value(first)})"
        over = value > worst if self.direction == "min" else value < worst
        if not over:
            return None
        unit = f" {self.unit}" if self.unit else ""
        side = "above" if self.direction == "min" else "below"
        return f"{self.name} {terms.value(value)}{unit} is {side} its limit of {terms.value(worst)}{unit}{why}"


def broken_limits(limits: Sequence[Limit], history: History, measurements: Sequence[Measurement]) -> Iterator[str]:
    """Yield a sentence for each limit that the runs of an edit break."""
    for limit in limits:
        if (words := limit.broken(history, measurements)) is not None:
            yield words


def mean_of(name: str, measurements: Sequence[Measurement]) -> float | None:
    """Return the mean of a figure over the undisturbed runs that have a value, or None if none of these runs reports
    the figure."""
    counted = [m for m in measurements if m.value is not None and not m.tainted]
    values = [value for m in counted if (value := _figure(name, m)) is not None]
    return fmean(values) if values else None


def _figure(name: str, m: Measurement) -> float | None:
    value = m.extra.get(name, getattr(m, name) if name in _FIELDS else None)
    return float(value) if isinstance(value, int | float) else None
