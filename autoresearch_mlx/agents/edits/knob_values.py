"""Turn the knob values that a model writes into values that fit the file.

The present value decides the type: a whole number stays whole, any other number stays a number, and a string stays a
string.  ``"2**14"`` and ``"0.05"`` are read as numbers, and ``8.0`` as a whole number.  A value of another type is a
problem.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from autoresearch_mlx.agents.knobs.ranges import range_in_comment
from autoresearch_mlx.lab.source import Knob, literal, read_knobs
from autoresearch_mlx.terms import one_line

_LARGEST = 2**63
_SHOWN = 60

Beyond: TypeAlias = frozenset[tuple[str, str]]
"""Pairs of a knob and a value outside the knob's range, both as text; the value is written as in Python."""


class Unfit(Exception):
    """Raised for a value that a knob cannot have; the message says which values are possible.

    The package ``edits`` catches ``Unfit`` itself.
    """


def place(name: str, files: Mapping[str, Mapping[str, Knob]]) -> tuple[str, str]:
    """Return the path and the knob for a name in a reply, such as ``MATRIX_LR`` or ``train_mlx.py:MATRIX_LR``.

    Raises Unfit if no file has such a knob, or if several files have it.
    """
    path, _, bare = name.strip().rpartition(":")
    within = {p: knobs for p, knobs in files.items() if not path or p == path}
    for spelled in (bare, bare.upper()):
        having = [p for p, knobs in within.items() if spelled in knobs]
        if len(having) == 1:
            return having[0], spelled
        if having:
            raise Unfit(f"the constant {spelled} is in {' and in '.join(having)}; write {having[0]}:{spelled}")
    raise Unfit(_unknown(name, files))


def _unknown(name: str, files: Mapping[str, Mapping[str, Knob]]) -> str:
    there = list(dict.fromkeys(knob for knobs in files.values() for knob in knobs))
    near = difflib.get_close_matches(name.upper()[:_SHOWN], there, n=3, cutoff=0.5)
    said = f"there is no constant {_shown(name)} at the top level of {' or '.join(files)}"
    if near:
        return f"{said}; did you mean {' or '.join(near)}?"
    return (
        f"{said}; the constants are {', '.join(there[:60])}" if there else f"{said}, which has no constants; send code"
    )


def fit(knob: Knob, value: Any) -> Any:
    """Return the value in the knob's own type.

    Raises Unfit for a value of another type; the message says which values the knob can have.
    """
    try:
        return _fit(knob.value, value)
    except Unfit as error:
        raise Unfit(f"{knob.name} (now {_shown(literal(knob.value))}) {error}, not {_shown(value)}") from None


def out_of_range(knob: Knob, value: Any) -> str:
    """Return a message if a value lies outside the range of the knob's ``# knob:`` comment, else an empty string.

    The knob's present value is always allowed, and so is every value of a knob without a comment.
    """
    span = range_in_comment(knob)
    if span is None or value == knob.value:
        return ""
    if span.kind == "choice":
        if value in span.choices:
            return ""
        allowed = f"must be one of {', '.join(map(literal, span.choices))}"
    else:
        if min(span.low, knob.value) <= value <= max(span.high, knob.value):
            return ""
        allowed = f"must lie from {span.low:.12g} to {span.high:.12g}"
    return f"{knob.name} (now {_shown(literal(knob.value))}) {allowed}, as its range comment says, not {_shown(value)}"


def _fit(present: Any, value: Any) -> Any:
    if isinstance(present, bool):
        return _truth(value)
    if isinstance(present, int):
        return _whole(value)
    if isinstance(present, float):
        return _real(value)
    if isinstance(present, str):
        return _text(value)
    if isinstance(present, tuple | list):
        return _several(present, value)
    if present is None:
        return _any(value)
    raise Unfit("can only be changed by code")


def _truth(value: Any) -> bool:
    word = value.strip().lower() if isinstance(value, str) else value
    if isinstance(word, bool):
        return word
    if word in ("true", "false") and isinstance(word, str):
        return word == "true"
    raise Unfit("must be true or false")


def _whole(value: Any) -> int:
    number = _number(value)
    if number is None or not math.isfinite(number) or number != int(number) or abs(number) >= _LARGEST:
        raise Unfit("must be a whole number")
    return int(number)


def _real(value: Any) -> float:
    number = _number(value)
    if number is None or not math.isfinite(number):
        raise Unfit("must be a finite number")
    return float(number)


def _number(value: Any) -> int | float | None:
    if isinstance(value, str):
        value = _literal(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An integer beyond a double's range fits no knob.
    return value if isinstance(value, float) or abs(value) < 10**300 else math.inf


def _literal(text: str) -> Any:
    """Return the value of a line with a Python literal or a small power; None for any other text."""
    text = text.strip()
    if len(text) > 2 * _SHOWN + 80 or any(mark in text for mark in "\n\r;#="):
        return None
    knob = read_knobs(f"X = {text}\n").get("X")
    return knob.value if knob is not None else None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit("must be a text")
    if not value.isprintable():
        raise Unfit("must be a text of one line without control characters")
    return value


def _several(present: tuple[Any, ...] | list[Any], value: Any) -> tuple[Any, ...] | list[Any]:
    read = _literal(value) if isinstance(value, str) else value
    if not isinstance(read, tuple | list):
        raise Unfit(f"must be a list of {len(present)} values")
    if len(read) != len(present) and (isinstance(present, tuple) or not present):
        raise Unfit(f"must have {len(present)} values")
    family = [*present, *[present[-1]] * len(read)] if present else []
    if any(isinstance(was, float) for was in family):  # in (0, 0.95) the 0 counts as a real number
        family = [float(was) if type(was) is int else was for was in family]
    return type(present)(_fit(was, new) for was, new in zip(family, read, strict=False))


def _any(value: Any) -> Any:
    if isinstance(value, str):
        read = _literal(value)
        return _any(read) if isinstance(read, bool | int | float) else _text(value)
    return value if isinstance(value, bool) else _real(value) if isinstance(value, float) else _whole(value)


def _shown(value: Any) -> str:
    text = one_line(value if isinstance(value, str) else repr(value))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
