"""Check one answer.

The checks run in the scorer's process, because a regular expression may take hours on some answers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?")
_SHOWN = 120


class Score(NamedTuple):
    """The score of an answer, from 0 to 1, and the reason as text."""

    score: float
    why: str


def checked(check: Mapping[str, Any], answer: Any, case: Mapping[str, Any], own: Callable[[str], Any]) -> Score:
    """Return the score of an answer.  The check may be of any kind except a rubric.

    ``own`` finds the user's function by a name such as ``checks.py:is_sorted``.  The function gets the answer and the
    case (id and input), and returns True, False, or a number from 0 to 1.  An exception of the function is not caught.
    """
    if "python" in check:
        return _by_function(own(check["python"]), answer, case)
    if "schema" in check:
        return _by_schema(check["schema"], answer)
    text = _text(answer)
    if text is None:
        return Score(0.0, "there is no answer")
    if "number" in check:
        return _by_number(check, text)
    flags = re.IGNORECASE if check.get("ignore_case") else 0
    if "regex" in check:
        found = re.fullmatch(check["regex"], text, flags | re.DOTALL)
        return Score(float(found is not None), f"{_shown(text)} {'matches' if found else 'does not match'}")
    wanted = " ".join(check["exact"].split())
    equal = text == wanted or (bool(flags) and text.casefold() == wanted.casefold())
    return Score(float(equal), "equal" if equal else f"got {_shown(text)}, not {_shown(wanted)}")


def _by_number(check: Mapping[str, Any], text: str) -> Score:
    """Return score 1 if the answer has exactly one number and this number is right, else score 0."""
    numbers = [float(found.replace(",", "")) for found in numbers_in(text)]
    if len(numbers) != 1:
        return Score(0.0, f"{_shown(text)} has {len(numbers)} numbers, and exactly one is needed")
    wanted = float(check["number"])
    relative = max(float(check.get("relative", 0.0)), 1e-9)
    allowed = max(float(check.get("tolerance", 0.0)), relative * abs(wanted))
    right = math.isfinite(numbers[0]) and abs(numbers[0] - wanted) <= allowed
    return Score(float(right), f"{numbers[0]:g} is {'right' if right else f'not {wanted:g}'}")


def numbers_in(text: str) -> list[str]:
    """Return the numbers in a text as they are written: ``1,024``, ``-3.5``, ``2e6``."""
    return _NUMBER.findall(text)


def _by_schema(schema: Any, answer: Any) -> Score:
    from jsonschema.validators import validator_for

    if isinstance(answer, str):
        try:
            answer = json.loads(answer)
        except ValueError as error:
            return Score(0.0, f"the answer is not JSON: {error}")
    wrong = next(iter(validator_for(schema)(schema).iter_errors(answer)), None)
    if wrong is None:
        return Score(1.0, "it fits the schema")
    return Score(0.0, f"at {wrong.json_path}: {_shown(wrong.message)}")


def _by_function(function: Any, answer: Any, case: Mapping[str, Any]) -> Score:
    found = function(answer, case)
    if isinstance(found, bool | int | float) and 0 <= float(found) <= 1:
        return Score(float(found), f"{function.__name__} says {found}")
    raise ValueError(f"{function.__name__} returned {found!r}, not True, False or a number from 0 to 1")


def _text(answer: Any) -> str | None:
    """Return an answer as text, with one space in place of each stretch of white space, or None if there is no
    answer."""
    if answer is None:
        return None
    return " ".join((answer if isinstance(answer, str) else json.dumps(answer)).split())


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
