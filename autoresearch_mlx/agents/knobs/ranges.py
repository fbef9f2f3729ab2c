"""Find the range of one knob: read it from the ``# knob:`` comment, or guess it from the knob's name and value.

A comment that cannot be read is ignored here; ``range_notes.py`` explains it.  If a knob's value lies outside its
range, the range is widened to include it.
"""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from autoresearch_mlx.lab.source import Knob

Kind: TypeAlias = Literal["log", "lin", "int", "pow2", "choice"]

_SHARES = ("_RATIO", "_FRAC")


@dataclass(frozen=True, slots=True)
class Range:
    """The values that a knob may have: numbers from ``low`` to ``high``, or one of ``choices``."""

    kind: Kind
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()


def range_of(knob: Knob, first: Any = None) -> Range | None:
    """Return the range in which a knob may move; None when the knob must keep its value.

    ``first`` is the knob's value at the start of the session, if the value has changed since the start.  A guessed
    range lies around ``first``, so that the range does not shift with every kept step.
    """
    if knob.kind == "fixed" or is_seed(knob.name):
        return None
    around = first if type(first) is type(knob.value) else knob.value
    found = range_in_comment(knob) or _by_kind(knob.name, around)
    if found is None or found.kind == "choice":
        return found
    widened = replace(found, low=min(found.low, knob.value), high=max(found.high, knob.value))
    return widened if widened.low < widened.high else None


def is_seed(name: str) -> bool:
    """Return whether a knob of this name is a random seed, which is never moved."""
    return "SEED" in name.split("_")


def range_in_comment(knob: Knob) -> Range | None:
    """Return the range in the knob's comment; None if there is no range, or if it does not suit the knob's value."""
    if knob.kind == "choice":
        return _choice(knob)
    if knob.kind not in ("log", "lin", "int", "pow2") or not _is_number(knob.value) or len(knob.words) != 2:
        return None
    low, high = (_number(word) for word in knob.words)
    if low is None or high is None or low >= high:
        return None
    if knob.kind in ("log", "pow2") and min(low, knob.value) <= 0:
        return None
    if knob.kind in ("int", "pow2") and not isinstance(knob.value, int):
        return None
    if knob.kind == "pow2" and (low < 1 or math.floor(math.log2(high)) < math.log2(low)):
        return None
    return Range(knob.kind, low, high)  # type: ignore[arg-type]  # tested above


def _choice(knob: Knob) -> Range | None:
    options = [_option(word, knob.value) for word in knob.words]
    if any(isinstance(option, list | dict | set) for option in options):
        return None  # such values cannot be compared by their hash
    if len(options) < 2 or any(_family(option) is not _family(knob.value) for option in options):
        return None
    distinct = tuple(dict.fromkeys([*options, knob.value]))
    return Range("choice", choices=distinct) if len(distinct) > 1 else None


def _option(word: str, value: Any) -> Any:
    """Read one word of a choice comment.  Quotes are optional; if the knob's value is a string, so is every option."""
    try:
        option = ast.literal_eval(word)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return word
    return word if isinstance(value, str) and not isinstance(option, str) else option


def _family(value: Any) -> type:
    return float if _is_number(value) else type(value)


def _by_kind(name: str, value: Any) -> Range | None:
    if isinstance(value, bool):
        return Range("choice", choices=(False, True))
    if not _is_number(value) or not math.isfinite(value):
        return None
    return _for_int(value) if isinstance(value, int) else _for_float(name, value)


def _for_int(value: int) -> Range | None:
    """Guess the range of a whole number.

    A power of two from 16 on is taken for a size: its range is from an eighth of the number to eight times the number.
    Any other positive number gets a range from half to double.  A negative number gets no range, because it is more
    often a marker than a quantity.
    """
    if value < 0:
        return None
    if value >= 16 and value & (value - 1) == 0:
        return Range("pow2", max(1, value // 8), value * 8)
    return Range("int", value // 2 if value != 1 else 1, max(2 * value, value + 2))


def _for_float(name: str, value: float) -> Range | None:
    is_rate = name == "LR" or name.endswith("_LR")
    if is_rate and value > 0:
        return Range("log", value / 10, value * 10)
    if 0 <= value <= 1 and name.endswith(_SHARES):
        return Range("lin", 0.0, 1.0)
    if value == 0:
        return Range("lin", 0.0, 0.1)
    if 0.01 <= value <= 1:
        return Range("lin", 0.0, 1.0)
    # A tiny share, such as a weight decay of 0.001, gets a logarithmic range: a step of a linear range from 0 to 1
    # would be far too large.
    return Range("log", value / 8, value * 8) if value > 0 else Range("lin", 2 * value, 0.0)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(word: str) -> float | None:
    """Read ``0.003``, ``65536`` or ``2**16``; None for anything else."""
    base, _, power = word.partition("**")
    try:
        number = float(base) ** float(power) if power else float(base)
    except (ValueError, OverflowError, ZeroDivisionError):
        return None
    return number if isinstance(number, float) and math.isfinite(number) else None
