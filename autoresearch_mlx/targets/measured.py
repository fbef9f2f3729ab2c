"""Check the measurement that a user's own target returns, and turn a mistake into a failure with a reason."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, get_args

from autoresearch_mlx.experiment import Assignment, Failure, Measurement, Seconds

LARGEST_VALUE = 1e100
"""Largest allowed size of a metric's value.  The judge squares values, and squares of larger values may overflow."""


def checked(found: object, assignment: Assignment, where: str, needs_value: bool = True) -> Measurement:
    """Return ``found`` if it is a correct measurement, else a measurement with the failure ``invalid`` and a reason.

    Numbers of numpy and similar libraries are converted to Python's own types.  With ``needs_value``, a run without a
    failure must have a value.
    """
    if not isinstance(found, Measurement):
        shown = "nothing" if found is None else f"a {type(found).__name__}"
        return _invalid(assignment, f"the target {where} returned {shown}, not a Measurement")
    values = {name: _plain(getattr(found, name)) for name in Measurement.__dataclass_fields__}
    for name, right in _RIGHT.items():
        if not right(values[name]):
            return _invalid(assignment, f"the target {where} returned {name} = {values[name]!r}", found)
    value, failure = values["value"], values["failure"]
    if failure is not None:
        return replace(found, **values | {"value": None})
    if value is None:
        if not needs_value:
            return replace(found, **values)
        return _invalid(assignment, f"the target {where} returned neither a value nor a failure", found)
    if not _number(value) or not math.isfinite(value):
        return _invalid(assignment, f"the target {where} returned the value {value!r}, not a finite number", found)
    if abs(value) > LARGEST_VALUE:
        said = f"the target {where} returned the value {value!r}, which is too large: the limit is {LARGEST_VALUE:g}"
        return _invalid(assignment, said, found)
    return replace(found, **values | {"value": float(value)})


def _plain(found: Any) -> Any:
    """Convert a number, or the numbers in a table, list or tuple, to Python's types; return anything else unchanged."""
    if found is None or isinstance(found, bool | int | float | str):
        return found
    if isinstance(found, Integral):
        return int(found)
    if isinstance(found, Real):
        return float(found)
    if isinstance(found, Mapping):
        return {name: _plain(each) for name, each in found.items()}
    if isinstance(found, list | tuple):
        return tuple(_plain(each) for each in found)
    return _scalar(found)


def _scalar(found: Any) -> Any:
    """Return the number in an MLX or numpy array of one element; return anything else unchanged."""
    try:
        number = found.item()
    except Exception:  # not an array, or an array of many elements
        return found
    return number if isinstance(number, bool | int | float) else found


def _invalid(assignment: Assignment, reason: str, found: Measurement | None = None) -> Measurement:
    log = found.log if found is not None and isinstance(found.log, str) else None
    return Measurement(None, assignment.seed, "invalid", reason, log=log)


def _number(found: object) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)


def _whole(found: object) -> bool:
    return isinstance(found, int) and not isinstance(found, bool)


def _finite(found: object) -> bool:
    return found is None or (isinstance(found, int | float) and _number(found) and math.isfinite(found))


def _table(found: object) -> bool:
    try:
        return isinstance(found, Mapping) and bool(json.dumps(dict(found), allow_nan=False))
    except (TypeError, ValueError):
        return False


def _seconds(found: object) -> bool:
    return isinstance(found, Seconds) and all(
        _finite(each) for each in (found.start, found.compile, found.train, found.evaluate)
    )


def _curve(found: object) -> bool:
    pairs = found if isinstance(found, tuple) else (None,)
    return all(isinstance(pair, tuple) and len(pair) == 2 and all(map(_number, pair)) for pair in pairs)


_RIGHT: Mapping[str, Callable[[object], bool]] = {
    "seed": _whole,
    "failure": lambda found: found is None or (isinstance(found, str) and found in get_args(Failure)),
    "reason": lambda found: isinstance(found, str),
    "seconds": _seconds,
    "steps": lambda found: found is None or _whole(found),
    "tokens": lambda found: found is None or _whole(found),
    "tokens_per_second": _finite,
    "peak_memory_mb": _finite,
    "machine": _table,
    "log": lambda found: found is None or isinstance(found, str),
    "curve": _curve,
    "regime": _whole,
    "tainted": lambda found: isinstance(found, bool),
    "key": lambda found: found is None or isinstance(found, str),
    "extra": _table,
    "speed": _finite,
    "stretch": _finite,
    "disturbed_by": lambda found: isinstance(found, str),
}
"""Name of a field of a measurement -> function that returns whether the field's value has the right type."""
