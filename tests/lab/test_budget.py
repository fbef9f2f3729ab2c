"""Budgets of a run as they are written, recorded and put into words."""

from __future__ import annotations

from typing import Any

import pytest

from autoresearch_mlx.compare.reference import h100
from autoresearch_mlx.lab.budget import Budget, normal, of_conditions, read, short, to_conditions


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (300, Budget("seconds", 300.0)),
        ("20.5", Budget("seconds", 20.5)),
        ("match-tokens:500000000", Budget("match-tokens", 500_000_000.0)),
        ("match-tokens:5e8", Budget("match-tokens", 500_000_000.0)),
        ("match-tokens: 500M", Budget("match-tokens", 500_000_000.0)),
        ("match-tokens:2.5B", Budget("match-tokens", 2_500_000_000.0)),
        ("match-tokens:65_536", Budget("match-tokens", 65_536.0)),
        ("match-flops:2e15", Budget("match-flops", 2e15)),
        ("match-flops:1.5P", Budget("match-flops", 1.5e15)),
        ("auto", None),
    ],
)
def test_a_budget_is_read_as_people_write_it(written: Any, meant: Budget | None) -> None:
    assert read(written) == meant


def test_one_budget_has_one_spelling_that_is_read_back() -> None:
    assert normal("match-tokens:500M") == normal("match-tokens:5e8") == "match-tokens:500000000"
    for text in ("match-tokens:499646464", "match-flops:1.2345678901234e+17", "match-flops:7"):
        assert read(normal(text)) == read(text)


def test_the_h100s_tokens_are_those_of_the_table_with_their_source() -> None:
    assert read("match-tokens:h100") == Budget("match-tokens", 953 * 524_288.0)
    assert h100().facts["tokens_each"] == "499646464"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("match-tokens:", "not a number of tokens"),
        ("match-tokens:0", "not a number of tokens"),
        ("match-tokens:-5", "not a number of tokens"),
        ("match-tokens:0.2", "not a number of tokens"),
        ("match-tokens:1e400", "not a number of tokens"),
        ("match-tokens:many", "not a number of tokens"),
        ("match-flops:inf", "not a number of FLOPs"),
        ("match-flops:h100", "upstream also counts attention"),
        ("match-steps:5", "'match-steps' is not a kind of budget"),
        ("seconds:5", "'seconds' is not a kind of budget"),
        ("tokens", "a number of seconds, or another budget"),
        (True, "finite number of seconds"),
        (None, "a number of seconds"),
        ("nan", "finite number"),
        (-1, "greater than 0"),
    ],
)
def test_what_is_no_budget_is_refused_with_what_would_be(written: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        read(written)
    assert "match-tokens:" in str(caught.value) or written == -1


@pytest.mark.parametrize("written", [300.0, "match-tokens:h100", "match-flops:2.5e15"])
def test_the_conditions_of_a_session_keep_kind_and_amount(written: Any) -> None:
    budget = read(written)
    assert budget is not None
    kept = to_conditions(budget, most_seconds=60.0)
    assert of_conditions(kept) == budget
    assert kept["budget_seconds"] == (300.0 if written == 300.0 else None)
    assert kept.get("max_seconds") == (None if written == 300.0 else 60.0)


def test_a_ledger_without_a_kind_has_seconds_and_one_of_a_later_kind_is_not_known() -> None:
    assert of_conditions({"budget_seconds": 20}) == Budget("seconds", 20.0)
    assert of_conditions({"run": "make"}) is None
    assert of_conditions({"budget_kind": "match-joules", "budget_seconds": 20}) is None
    assert of_conditions({"budget_kind": "match-tokens", "budget_tokens": "many"}) is None


def test_a_budget_in_words() -> None:
    words = [Budget(*each).in_words() for each in (("seconds", 20.0), ("match-tokens", 5e8), ("match-flops", 2e15))]  # type: ignore[arg-type]
    assert words == ["20 s of training", "500 M tokens of training", "2e+15 FLOPs of training"]
    assert [short(n) for n in (512, 65_536, 499_646_464, 2.5e9)] == ["512", "65,536", "499.6 M", "2.5 B"]
