"""Say in plain words what is wrong with a value in lab.toml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, time

from pydantic_core import ErrorDetails

_LONGEST = 60
"""Maximum number of characters that a message quotes of a wrong value."""

_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("int_parsing", "int_parsing_size", "int_type", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "true or false"),
    "finite_number": "a finite number",
    "string_type": "text in quotes",
    "tuple_type": 'a list, such as ["a", "b"]',
    "literal_error": "{expected}",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
}
"""What a value should be, by pydantic's name of the error; names in braces are fields of the error's context."""


def in_words(errors: Sequence[ErrorDetails]) -> str:
    """Return what the value of the first wrong setting should be, such as ``should be a number or 'auto'``.

    If a setting allows several kinds of value, pydantic gives one error for each kind, one after the other.
    """
    first = errors[0]
    kind = _WORDS.get(first["type"])
    if kind is None:
        return first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    of_others = (each for each in errors[1:] if each["loc"][:-1] == first["loc"][:-1] and len(each["loc"]) > 1)
    either = "".join(f" or {_filled('{expected}', each)}" for each in of_others if each["type"] == "literal_error")
    return f"should be {_filled(kind, first)}{either}"


def _filled(words: str, error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    return words.format(**{name: f"{of:g}" if isinstance(of, float) else of for name, of in context.items()})


def shown(value: object) -> str:
    """Return a value as it is written in lab.toml, shortened to ``_LONGEST`` characters."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value) if isinstance(value, date | time) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def holds_nul(value: object) -> bool:
    """Return whether a value contains the character NUL, which cannot be passed to a program."""
    if isinstance(value, Mapping):
        return any(map(holds_nul, value.values()))
    return "\0" in value if isinstance(value, str) else isinstance(value, list) and any(map(holds_nul, value))
