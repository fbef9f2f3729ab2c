"""Read and check the fields of a proposal in a JSON object, and define their schema for servers that enforce one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, ValidationError

from autoresearch_mlx.agents.edits.objects import NAMES, objects
from autoresearch_mlx.agents.edits.reply_parts import read_page
from autoresearch_mlx.models.wire import closed_object
from autoresearch_mlx.terms import one_line, printable

TITLE = 120
_HYPOTHESIS = 2000
_AXIS = 60
_KNOBS = 64
_TEXT = 200
_ENTRIES = 64
_REASON = 400
"""Maximum length of a hypothesis in a schema, in characters."""
MOST_CHANGES = 3
"""Maximum number of knobs that the schema lets a proposal change.  A person cannot reason about more at once."""

Text: TypeAlias = Annotated[str, Field(strict=True, max_length=_TEXT)]
Scalar: TypeAlias = StrictBool | StrictInt | StrictFloat | Text
Value: TypeAlias = Scalar | Annotated[list[Scalar], Field(max_length=_ENTRIES)]

_MUST_BE = {
    "title": "a short text",
    "axis": "a text such as lr.matrix, or null",
    "hypothesis": "a text",
    "expected_gain": "a finite number in the metric's unit, or null",
    "knobs": f"an object of at most {_KNOBS} constants and their new values",
}
_KNOB_MUST_BE = f"a number, true or false, a text of at most {_TEXT} characters, or a list of those"


def _line(most: int) -> BeforeValidator:
    return BeforeValidator(lambda value: _cut(one_line(value), most) if isinstance(value, str) else value)


def _paragraphs(value: Any) -> Any:
    if value is None:
        return ""
    return _cut(printable(value).strip(), _HYPOTHESIS) if isinstance(value, str) else value


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("no number")
    if isinstance(value, str):
        return float(value) if value.strip() else None
    return value


def _pairs(value: Any) -> Any:
    """Return the knobs of an object, or of a list of names and values as in the schema; null means no change."""
    if value is None:
        return {}
    if isinstance(value, list):
        if not all(isinstance(pair, dict) and isinstance(pair.get("name"), str) for pair in value):
            raise ValueError("no list of names and values")
        value = {pair["name"]: pair.get("value") for pair in value}
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


class Fields(BaseModel):
    """The checked fields of a proposal.

    Unknown keys are ignored, and null means the same as a missing key.  A number written as a string is read as a
    number.  A title or hypothesis that is too long is cut.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    title: Annotated[str, BeforeValidator(lambda value: "" if value is None else value), _line(TITLE)] = ""
    axis: Annotated[str | None, _line(_AXIS)] = None
    hypothesis: Annotated[str, BeforeValidator(_paragraphs)] = ""
    expected_gain: Annotated[float | None, Field(allow_inf_nan=False), BeforeValidator(_number)] = None
    """Expected improvement of the metric, in its unit; positive is better."""
    knobs: Annotated[Mapping[str, Value], Field(max_length=_KNOBS), BeforeValidator(_pairs)] = Field(
        default_factory=dict
    )
    """New values of knobs as the model wrote them; :mod:`apply` checks whether the values fit the file."""


def schema(knobs: Sequence[str] = ()) -> dict[str, Any]:
    """Return a JSON schema of the fields, in the part of JSON schema that all servers can enforce.

    Some servers do not allow objects with arbitrary keys, so the schema has knobs as a list of names and values.
    ``knobs`` has the names of the files' knobs; if it is given, no other name is allowed.  Each string has a maximum
    length, because a small model might otherwise write it without end.
    """
    value = {
        "anyOf": [
            {"type": "number"},
            text_of(_TEXT),
            {"type": "boolean"},
            {"type": "array", "items": {"type": "number"}, "maxItems": _ENTRIES},
        ]
    }
    name = {"type": "string", "enum": list(knobs)} if knobs else text_of(_TEXT)
    return closed_object(
        title=text_of(TITLE),
        axis={"type": ["string", "null"], "maxLength": _AXIS},
        hypothesis=text_of(_REASON),
        expected_gain={"type": ["number", "null"]},
        knobs={"type": "array", "items": closed_object(name=name, value=value), "maxItems": MOST_CHANGES},
    )


def text_of(most: int) -> dict[str, Any]:
    """Return the schema of a string of at most ``most`` characters."""
    return {"type": "string", "maxLength": most}


def read_fields(text: str) -> tuple[Fields | None, str]:
    """Return the fields of the first JSON object in a reply that has at least one field, or a problem for the model.

    The object may be the whole text, or be in a JSON fence, or be anywhere outside code.
    """
    found = next(iter(objects(read_page(text).prose)), None)
    if found is None:
        return None, f"There is no JSON object with {', '.join(NAMES)} in the reply. Send one."
    return check(found.value) if found.value is not None else (None, found.problem)


def check(value: Mapping[str, Any]) -> tuple[Fields | None, str]:
    """Return the fields of an object, or a problem that says for each wrong field what the field must be."""
    try:
        return Fields.model_validate(value), ""
    except ValidationError as error:
        wrong = dict.fromkeys(_words(e["loc"], value) for e in error.errors(include_url=False, include_context=False))
        return None, "; ".join([*wrong][:5])


def _words(place: tuple[int | str, ...], value: Mapping[str, Any]) -> str:
    name = str(place[0])
    got = value.get(name)
    if name == "knobs" and len(place) > 1 and isinstance(got, dict):
        knob = str(place[1])
        return f'"knobs": {_cut(one_line(knob), 60)} must be {_KNOB_MUST_BE}, not {_shown(got.get(knob))}'
    return f'"{name}" must be {_MUST_BE.get(name, "something else")}, not {_shown(got)}'


def _shown(value: Any) -> str:
    try:
        return _cut(one_line(json.dumps(value, ensure_ascii=False)), 80)
    except RecursionError:
        return "an object nested too deeply"
