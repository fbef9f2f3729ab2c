"""Versions that scored the same cases are compared case by case, and a keep may not break guard cases or limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from math import comb
from statistics import NormalDist, fmean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch_mlx.experiment import Experiment, History, Measurement, Verdict
from autoresearch_mlx.judge.by_case import by_case, sign_flip_score
from autoresearch_mlx.judge.certificate import certificate
from autoresearch_mlx.judge.evidence import UNKNOWN, Again, Run
from autoresearch_mlx.judge.judge import Case, Judge
from autoresearch_mlx.judge.side_conditions import side_conditions


def scores(text: str) -> dict[str, float]:
    """Return one case for each digit of ``text``, with that digit as its score: 1 is right, 0 is wrong."""
    return {f"c{n:02}": float(digit) for n, digit in enumerate(text)}


def measured(text: str, seed: int = 1, **extra: Any) -> Measurement:
    table = scores(text)
    return Measurement(fmean(table.values()), seed, extra={"cases": table, **extra})


def run(text: str, seed: int = 1, pair: int | None = None) -> Run:
    table = scores(text)
    return Run(fmean(table.values()), seed, cases=table, pair=pair)


def history(*runs: Measurement) -> History:
    value = fmean(m.value for m in runs if m.value is not None)
    first = Experiment(0, "keep", value, None, "a", "a", None, "b", None, {}, "b", "", "", "", runs)
    return History((first,), "score", "max")


@pytest.mark.parametrize(("better", "worse"), [(2, 0), (3, 0), (5, 1), (4, 4), (30, 10), (0, 6)])
def test_for_right_and_wrong_the_test_is_mcnemars_with_mid_p(better: int, worse: int) -> None:
    n = better + worse
    tail = sum(comb(n, k) for k in range(better + 1, n + 1)) / 2**n + comb(n, better) / 2 ** (n + 1)
    found = sign_flip_score([1.0] * better + [-1.0] * worse + [0.0] * 7)
    assert found == pytest.approx(NormalDist().inv_cdf(1 - tail), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([-1, -0.5, -1 / 3, 0, 1 / 3, 0.5, 1]), min_size=1, max_size=40))
def test_the_score_turns_with_the_sign_and_follows_it(differences: list[float]) -> None:
    score = sign_flip_score(differences)
    assert math.isfinite(score) and sign_flip_score([-d for d in differences]) == pytest.approx(-score, abs=1e-9)
    assert score * sum(round(24 * d) for d in differences) >= 0


def decided(incumbent: Sequence[Measurement], *candidate: Measurement) -> Any:
    return Judge(0.0).decide(history(*incumbent), Case(1, candidate))


SAME = [measured("1111100000", seed) for seed in (1, 2, 3)]


@pytest.mark.parametrize(
    ("candidate", "status"), [("1111111100", "keep"), ("1111111000", "discard"), ("1111111110", "keep")]
)
def test_three_cases_won_are_kept_and_two_are_not_when_runs_repeat_themselves(candidate: str, status: str) -> None:
    verdict = decided(SAME, measured(candidate))
    assert isinstance(verdict, Verdict) and verdict.status == status, verdict
    assert "of 10 cases better, 0 worse" in verdict.reason


def test_a_close_call_is_measured_again_while_answers_change_from_run_to_run() -> None:
    shaky = [measured("1111100000", 1), measured("1111000001", 2), measured("1111100010", 3)]
    assert isinstance(decided(shaky, measured("1111111000", 1)), Again)


def test_a_session_whose_runs_agree_does_not_keep_every_small_gain() -> None:
    """Sigma is 0 in such a session, so a judge that does not compare the cases would keep any gain."""
    assert decided(SAME, measured("1111110000")).status == "discard"


def test_without_cases_nothing_changes() -> None:
    assert by_case([Run(1.0, 1)], [run("10")], "max") is None
    assert by_case([run("1")], [run("0")], "max") is None


def test_a_certificate_rests_on_the_cases() -> None:
    def found(before: str, head: str) -> Any:
        sides = ([run(text, pair, pair) for pair in range(2)] for text in (before, head))
        return certificate(*sides, "max", UNKNOWN)

    won = found("000000000000", "111100000000")
    assert won.certified and won.low < won.effect < won.high and won.effect == pytest.approx(1 / 3)
    assert not found("000000000000", "111000000000").certified
    assert not found("111100000000", "000000000000").certified


# --- what a keep may not cost

KEEP = Verdict("keep", "gain 0.2: keep")


def sided(before: Mapping[str, Any], *now: Mapping[str, Any], runs: int = 3) -> Any:
    past = [measured("10", seed, **before) for seed in range(runs)]
    return side_conditions(KEEP, history(*past), [measured("11", seed, **each) for seed, each in enumerate(now)])


def test_a_guard_case_that_passed_and_now_fails_blocks_a_keep() -> None:
    verdict = sided({"guard": {"a": 1.0, "b": 0.0}}, {"guard": {"a": 0.0, "b": 0.0}})
    assert verdict.status == "discard" and "the guard case a passed before and now fails" in verdict.reason
    assert sided({"guard": {"a": 1.0, "b": 0.0}}, {"guard": {"a": 1.0, "b": 1.0}}) == KEEP


def test_the_majority_decides_where_runs_differ() -> None:
    past = [measured("10", seed, guard={"a": float(seed < 2)}) for seed in range(3)]

    def after(*passed: float) -> Any:
        return side_conditions(KEEP, history(*past), [measured("11", n, guard={"a": p}) for n, p in enumerate(passed)])

    assert isinstance(after(0.0), Again) and isinstance(after(0.0, 0.0), Again)
    assert after(0.0, 1.0, 1.0) == KEEP
    assert after(0.0, 1.0, 0.0).status == "discard"


@pytest.mark.parametrize(
    ("before", "now", "limit", "kept"),
    [(100.0, 149.0, 0.5, True), (100.0, 151.0, 0.5, False), (100.0, 900.0, None, True), (None, 900.0, 0.5, True)],
)
def test_a_secondary_figure_may_rise_by_its_limit(
    before: float | None, now: float, limit: float | None, kept: bool
) -> None:
    def told(value: float | None) -> dict[str, Any]:
        return {"secondary": {"tokens": {"value": value, "limit": limit}}}

    verdict = sided(told(before), told(now))
    assert (verdict == KEEP) == kept
    assert kept or "tokens" in verdict.reason
