"""Find the JSON objects in a text that have a proposal's fields.

An object is first read as JSON.  If it is not valid JSON, five kinds of mistakes outside strings are corrected:
trailing commas, comments, ``None``/``True``/``False``, powers such as ``2**14``, and round brackets around a list.
Strings may contain line ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

NAMES = ("title", "axis", "hypothesis", "expected_gain", "knobs")

_OPENING = re.compile(r'\{\s*+(?:(?://|#)[^\n]*+\s*+)*+(["\']?)(\w*)["\']?\s{0,4}(:?)')
_STRING = r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)'
_BRACES = re.compile(rf"{_STRING}|[{{}}]", re.DOTALL)
_COMMENTS = re.compile(rf"({_STRING})|(?://|#)[^\n]*", re.DOTALL)
_MENDED = re.compile(
    rf"(?P<string>{_STRING})|(?P<comma>,(?=\s*[}}\]]))"
    r"|(?P<power>\b\d{1,12}\s{0,4}\*\*\s{0,4}\d{1,12}\b)|\b(?P<word>None|True|False)\b|(?P<bracket>[()])",
    re.DOTALL,
)
_WORDS = {"None": "null", "True": "true", "False": "false", "(": "[", ")": "]"}
_MOST_WORK = 2_000_000
"""Number of characters after which the search for objects ends, because nested open braces take quadratic time."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object and its position in the text.  If the object cannot be read, ``problem`` says why."""

    start: int
    end: int
    value: dict[str, Any] | None
    problem: str = ""


def objects(text: str) -> tuple[Found, ...]:
    """Return the outermost objects that have a proposal's fields, in the order of the text.

    Objects that cannot be read are returned too, with a problem.
    """
    return tuple(_objects(text))


def _objects(text: str) -> Iterator[Found]:
    at, work = 0, 0
    while work < _MOST_WORK and (opening := _OPENING.search(text, at)) is not None:
        start = opening.start()
        value, end, looked = _read(text, start) if opening[1] == '"' else (None, len(text), 1)
        if isinstance(value, dict) and any(name in value for name in NAMES):
            yield Found(start, end, value)
            at = end
            continue
        if value is None and opening[2] in NAMES and opening[3]:
            yield Found(start, end, None, _wrong(text, start, end))
            looked += end - start
        # The proposal may be inside another object, as in {"proposal": {...}}, and an object that never ends must not
        # hide a later object.
        at, work = start + 1, work + looked


def _read(text: str, start: int) -> tuple[Any, int, int]:
    """Return the value, its end in the text, and the number of characters read.

    The value is None if the text is not JSON even after the corrections.
    """
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text, start)
        return value, end, end - start
    except json.JSONDecodeError as error:
        looked = error.pos - start + error.pos // 16  # the error counts lines from the beginning of the text
    except (ValueError, RecursionError):  # a number with thousands of digits, or endless nesting
        looked = _MOST_WORK // 10
    end = _balanced(text, start)
    try:
        return json.loads(_mended(text[start:end]), strict=False), end, looked + end - start
    except (ValueError, RecursionError):
        return None, end, looked + end - start


def _balanced(text: str, start: int) -> int:
    """Return the position after the brace that closes the brace at ``start``.

    If there is no such brace, return the end of the text.
    """
    depth = 0
    for token in _BRACES.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(token.group(), 0)
        if depth == 0:
            return token.end()
    return len(text)


def _mended(text: str) -> str:
    return _MENDED.sub(_mend, _COMMENTS.sub(lambda match: match[1] or "", text))


def _mend(match: re.Match[str]) -> str:
    if match["power"] is not None:
        return f'"{match["power"]}"'
    return "" if match["comma"] is not None else _WORDS.get(match.group(), match.group())


def _wrong(text: str, start: int, end: int) -> str:
    try:
        json.loads(_mended(text[start:end]), strict=False)
    except json.JSONDecodeError as error:
        near = error.doc[max(0, error.pos - 30) : error.pos + 30]
        return f"the JSON object cannot be read: {error.msg} at its line {error.lineno}, near {near!r}"
    except RecursionError:
        return "the JSON object is nested too deeply"
    except ValueError as error:
        return f"the JSON object cannot be read: {error}"
    return "the JSON object cannot be read"
