"""A result that a stranger published is read within limits, or refused with a reason; it never raises an exception."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from share_cases import mutated, result_fields

from autoresearch_mlx.share.result import MOST_BYTES, Result, read_result, result_from, result_to


def read(**changes: Any) -> Result | str:
    return result_from({**result_fields(), **changes})


def test_a_result_is_read_as_it_was_written() -> None:
    result = result_from(result_fields())
    assert isinstance(result, Result)
    assert result_from(json.loads(json.dumps(result_to(result)))) == result


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "claim"}, "it is not a result"),
        ({"schema": 2}, "a schema that this version does not read"),
        ({"lab": "../../etc"}, "its lab is not 10 hexadecimal digits"),
        ({"status": ["keep"]}, "its status is not one that labs publish"),
        ({"experiment": True}, "its experiment is not the number"),
        ({"title": {"a": 1}}, "its title is not a string"),
        ({"effect": {"gain": float("nan")}}, "not a finite number"),
        ({"effect": {"gain": 1.0, "low": 2.0, "high": 3.0}}, "outside of its own interval"),
        ({"effect": [0.1]}, "its effect is not an object"),
        ({"knobs": {"DEPTH": 6}}, "is not a pair"),
        ({"knobs": {"__import__": [1, 2]}}, "not in capitals"),
        ({"knobs": {"DEPTH": [8, 10**400]}}, "not a plain, short value"),
        ({"knobs": {"DEPTH": [8, "\x1b[2J"]}}, "not a plain, short value"),
        ({"knobs": {f"K{n}": [0, 1] for n in range(99)}}, "at most 32"),
        ({"files": ["../../.ssh/authorized_keys"]}, "lies outside of the lab"),
        ({"files": ["/etc/passwd"]}, "lies outside of the lab"),
        ({"patch": "x" * 20_000}, "its patch is not a string"),
        ({"finished": "٢٠٢٦-01-01T00:00:00Z"}, "its time is not written"),
        ({"machine": {"id": "46954e61", "chip": ["M3"]}}, "neither a text nor a number"),
    ],
)
def test_a_wrong_field_is_a_reason(changes: dict[str, Any], said: str) -> None:
    found = read(**changes)
    assert isinstance(found, str) and said in found


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff\xfe", b"[" * 60_000, b"1" * 9000, b"{" + b" " * MOST_BYTES])
def test_what_is_no_json_object_is_a_reason(text: bytes) -> None:
    assert isinstance(read_result(text), str)


def test_texts_lose_their_escape_codes_and_are_cut() -> None:
    result = read(title="\x1b]0;owned\x07\x1b[31mred\u202etxt\ud800 " + "a" * 500, note="one\ntwo\r\x9b2J")
    assert isinstance(result, Result)
    assert result.title.isprintable() and len(result.title) <= 120 and result.note == "one two"


def test_a_published_value_is_not_read() -> None:
    result = read(value=0.1, val_bpb=0.1, measurements=[{"value": 0.1}])
    assert isinstance(result, Result) and not {"value", "val_bpb", "measurements"} & result_to(result).keys()


def test_five_hundred_mutated_texts_are_results_or_reasons() -> None:
    dice = random.Random(16)
    found = [read_result(mutated(dice)) for _ in range(500)]
    assert all(isinstance(each, Result | str) for each in found)
    assert sum(isinstance(each, str) for each in found) > 250
