"""The fields of a proposal are found anywhere in a reply; clear text is accepted, anything else is explained."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autoresearch_mlx.agents.edits.fields import Fields, read_fields, schema

WANTED = Fields(title="more", axis="lr.matrix", hypothesis="why", expected_gain=0.002, knobs={"MATRIX_LR": 0.05})
OBJECT = WANTED.model_dump_json()


def read(text: str) -> Fields:
    found, problem = read_fields(text)
    assert found is not None, problem
    assert problem == ""
    return found


def refused(text: str) -> str:
    found, problem = read_fields(text)
    assert found is None
    return problem


@pytest.mark.parametrize(
    "text",
    [
        OBJECT,
        f"\n\n  {OBJECT}  \n",
        f"```json\n{OBJECT}\n```",
        f"```\n{OBJECT}\n```",
        f"```json\n{OBJECT}\n",
        f"```python\n{OBJECT}\n```",
        f"The {{title}} and {{'axis'}} are below; {{\"knobs\"}} too. {OBJECT}",
        f"The rate {{as it stands}} is low.\n\n{OBJECT}\n\nThat is all {{really}}.",
        f"```python\nx = {{'title': 1}}\ny = {{\"title\": 2}}\n```\n{OBJECT}",
        f'{{"proposal": {OBJECT}}}',
        f"[{OBJECT}]",
        json.dumps({**json.loads(OBJECT), "confidence": 3, "code": "x = 1"}),
        OBJECT[:-1] + ",}",
        OBJECT.replace("{", "{  // a comment\n", 1),
        OBJECT.replace("0.05", "0.05,  # a comment\n"),
        OBJECT.replace('"expected_gain":0.002', '"expected_gain":"0.002"'),
        OBJECT.replace('"knobs":{"MATRIX_LR":0.05}', '"knobs":[{"name":"MATRIX_LR","value":0.05}]'),
        OBJECT.replace('"knobs":{', '"knobs":{"DEPTH":null,'),
        OBJECT.replace('"more"', '" more\n"'),
    ],
)
def test_the_object_is_found_and_read(text: str) -> None:
    assert read(text) == WANTED


def test_what_is_missing_or_null_is_unknown() -> None:
    nothing = read('{"title": null, "axis": null, "hypothesis": null, "expected_gain": null, "knobs": null}')
    assert nothing == read('{"knobs": {}}') == Fields()
    assert nothing.expected_gain is None


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("2**15", "2**15"),
        ("2 ** 15", "2 ** 15"),
        ("(0.9, 0.95)", [0.9, 0.95]),
        ("[0.9, 0.95,]", [0.9, 0.95]),
        ("True", True),
        ("5", 5),
        ('"2**14"', "2**14"),
        ('"a # b // c, ] (1) None"', "a # b // c, ] (1) None"),
    ],
)
def test_values_written_as_python_writes_them_are_taken(written: str, value: Any) -> None:
    found = read(f'{{"title": "x", "knobs": {{"A": {written}}}}}').knobs["A"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON object"),
        ("I would raise the rate.", "no JSON object with title, axis, hypothesis, expected_gain, knobs"),
        ('{"momentum": 0.9}', "no JSON object"),
        ('{"title": "x" "axis": "y"}', "',' delimiter"),
        ('{"title": "x", "knobs": {"A": 0.1}', "delimiter"),
        ('{"title": ["x"]}', '"title" must be a short text, not ["x"]'),
        ('{"title": 3}', '"title" must be a short text'),
        ('{"title": "x", "axis": 3}', '"axis" must be a text such as lr.matrix, or null'),
        ('{"title": "x", "expected_gain": "some"}', '"expected_gain" must be a finite number'),
        ('{"title": "x", "expected_gain": NaN}', "finite number"),
        ('{"title": "x", "expected_gain": "inf"}', "finite number"),
        ('{"title": "x", "expected_gain": true}', "finite number"),
        ('{"title": "x", "knobs": "MATRIX_LR = 0.05"}', '"knobs" must be an object'),
        ('{"title": "x", "knobs": ["MATRIX_LR"]}', '"knobs" must be an object'),
        ('{"title": "x", "knobs": {"A": {"B": 1}}}', '"knobs": A must be a number, true or false'),
        ('{"title": "x", "knobs": {"A": [[1]]}}', '"knobs": A must be'),
        (json.dumps({"title": "x", "knobs": {"A": "y" * 300}}), "at most 200 characters"),
        (json.dumps({"title": "x", "knobs": {f"A{k}": k for k in range(65)}}), "at most 64 constants"),
        ('{"title": ' + '{"a":' * 100_000, "deeply"),
        ('{"title": 1' + "0" * 5000 + "}", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_words(text: str, said: str) -> None:
    assert said in refused(text)


def test_every_wrong_field_is_named_at_once() -> None:
    said = refused('{"title": 1, "axis": 2, "hypothesis": 3}')
    assert all(name in said for name in ('"title"', '"axis"', '"hypothesis"'))


def test_a_title_becomes_one_printable_line_and_long_texts_are_cut() -> None:
    found = read(json.dumps({"title": "a\tb\n\x1b[31mc\x00 " + "d" * 200, "hypothesis": "e" * 5000}))
    assert found.title.startswith("a b c ddd")
    assert found.title.isprintable()
    assert len(found.title) == 120
    assert len(found.hypothesis) == 2000


def test_half_a_character_is_no_character() -> None:
    assert read('{"title": "a\\ud83d b", "hypothesis": "c \\udc00"}').title == "a b"


def test_the_schema_is_of_the_plain_kind_that_every_server_takes() -> None:
    def nodes(schema: Any) -> list[dict[str, Any]]:
        if isinstance(schema, list):
            return [n for item in schema for n in nodes(item)]
        return [schema, *(n for value in schema.values() for n in nodes(value))] if isinstance(schema, dict) else []

    assert list(schema()["properties"]) == list(Fields.model_fields)
    for node in nodes(schema()):
        assert not node.keys() & {"$ref", "$defs", "default", "pattern", "allOf", "oneOf"}
        if node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])


def test_what_the_schema_asks_for_can_be_read() -> None:
    pairs = [{"name": "DEPTH", "value": 5}, {"name": "ADAM_BETAS", "value": [0.9, 0.95]}, {"name": "W", "value": "SL"}]
    sent = {"title": "x", "axis": None, "hypothesis": "", "expected_gain": None, "knobs": pairs}
    assert read(json.dumps(sent)).knobs == {"DEPTH": 5, "ADAM_BETAS": [0.9, 0.95], "W": "SL"}
