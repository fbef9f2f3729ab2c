"""A gain that is too good is audited on a second seed, and never rejected for being good."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from judge_cases import against

from autoresearch_mlx.experiment import Verdict
from autoresearch_mlx.judge.difference import difference
from autoresearch_mlx.judge.evidence import UNKNOWN, Again, Decision, Sigma
from autoresearch_mlx.judge.stages import decide


def huge(*values: float, **options: Any) -> Decision:
    return decide(against((1.798, 1.8, 1.802), values, **options))


def test_over_five_sigma_and_eight_percent_a_second_seed_and_an_audit_come_first() -> None:
    again = huge(1.2)
    assert isinstance(again, Again)
    assert (again.whom, again.seed, again.audit) == ("candidate", 1, True)
    assert again.reason == (
        "gain 0.600000, 33% of 1.800000: too good to be believed at once: a second seed and an audit first"
    )


def test_either_alone_is_not_enough_to_be_suspect() -> None:
    assert isinstance(huge(1.7), Verdict)  # 50 sigma, 6 %
    wide = against((1.7, 1.8, 1.9), (1.5,), sigma=Sigma(0.1, 30, 20, ""))
    assert "too good" not in decide(wide).reason  # 17 %, 3 sigma
    near_zero = against((0.001, -0.001, 0.0), (-0.009,))
    assert "too good" not in decide(near_zero).reason  # 4.5 sigma; a share of a value of 0 has no meaning


def test_audited_on_two_seeds_it_is_kept_like_any_other() -> None:
    assert isinstance(again := huge(1.2, audited=True), Again) and not again.audit
    kept = huge(1.2, 1.21, audited=True)
    assert isinstance(kept, Verdict) and kept.status == "keep"


def test_a_second_run_that_brings_it_down_ends_the_suspicion() -> None:
    assert isinstance(huge(1.62, 1.78), Verdict)


def test_without_an_audit_it_is_not_kept_however_often_it_is_measured() -> None:
    assert isinstance(again := huge(1.2, 1.2), Again) and again.audit
    lost = huge(1.2, 1.2, 1.2)
    assert isinstance(lost, Verdict) and lost.status == "invalid" and "none of its 3 runs was audited" in lost.reason


def test_while_sigma_is_unknown_eight_percent_alone_are_suspect() -> None:
    assert isinstance(huge(1.6, sigma=UNKNOWN), Again)
    assert isinstance(huge(1.7, sigma=UNKNOWN), Verdict)


@pytest.mark.parametrize("value", [3.0, 9.0])
def test_a_loss_is_never_too_good(value: float) -> None:
    assert isinstance(huge(value), Verdict)


def test_audited_by_the_target_and_beyond_belief_it_is_held_until_accepted() -> None:
    lost = huge(1.2, 1.21, audited=True, examined=True)
    assert isinstance(lost, Verdict) and lost.status == "discard" and lost.held
    assert huge(1.2, 1.21, audited=True, examined=True, accepted=True).reason.endswith("keep")
    small = huge(1.6, 1.61, audited=True, examined=True)
    assert isinstance(small, Verdict) and small.status == "keep", "11 % that an audit does not contradict"
    doubted = huge(1.6, 1.61, audited=True, examined=True, doubt="it told a loss of 5.4")
    assert isinstance(doubted, Verdict) and doubted.held and "5.4" in doubted.reason


@pytest.mark.parametrize(("own", "widens"), [(0.0, False), (1e-5, False), (0.01, True)])
def test_the_error_of_a_run_s_own_value_widens_the_interval_unless_it_is_negligible(own: float, widens: bool) -> None:
    plain = against((1.798, 1.8, 1.802), (1.79,))
    found = difference(replace(plain, candidate=tuple(replace(run, error=own) for run in plain.candidate)), 4)
    assert (found.error > difference(plain, 4).error) is widens
