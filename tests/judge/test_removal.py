"""The loop tests the head without its weak keeps, and leaves them out if it is as good without them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from judge_cases import SIGMA, WELL_KNOWN, against, gains, runs

from autoresearch_mlx.experiment import Verdict
from autoresearch_mlx.judge.evidence import UNKNOWN, Again, Run, Sigma
from autoresearch_mlx.judge.removal import Kept, decide_removal, removal_due, suspects


def test_a_pass_is_due_every_eight_keeps() -> None:
    assert [keeps for keeps in range(20) if removal_due(keeps)] == list(range(8, 20))
    assert not removal_due(15, at_last_pass=8)
    assert removal_due(16, at_last_pass=8)
    with pytest.raises(ValueError, match="not after 0"):
        removal_due(1, every=0)


def test_keeps_under_two_sigma_are_suspect_weakest_first() -> None:
    strong, weak, weaker = Kept(1, 2.0 * SIGMA), Kept(2, 1.9 * SIGMA), Kept(5, 0.1 * SIGMA)
    assert suspects((strong, weak, weaker), WELL_KNOWN) == (weaker, weak)


def test_what_was_tried_already_is_left_alone_and_without_sigma_nothing_is_weak() -> None:
    assert suspects((Kept(1, 0.0, tried=True),), WELL_KNOWN) == ()
    assert suspects((Kept(1, 0.0),), UNKNOWN) == ()


def test_a_change_that_is_not_missed_goes_after_one_run() -> None:
    verdict = decide_removal(gains(0.0))
    assert isinstance(verdict, Verdict) and verdict.status == "keep"
    assert verdict.reason.startswith("without the change, gain") and verdict.reason.endswith(": the change is dropped")


@pytest.mark.parametrize(("score", "status"), [(-0.29, "keep"), (-0.31, "discard")])
def test_it_is_missed_from_three_tenths_of_a_standard_error(score: float, status: str) -> None:
    error = (1 + 1 / 3) ** 0.5
    well = Sigma(SIGMA, 999, 900, "")
    verdict = decide_removal(gains(score * error, sigma=well))
    assert isinstance(verdict, Verdict) and verdict.status == status


def test_a_head_with_only_its_lucky_run_is_measured_before_a_change_counts_as_missed() -> None:
    thin = replace(gains(-1.0), incumbent=runs(1.8, first_seed=4, selected=True))
    assert isinstance(again := decide_removal(thin), Again) and again.whom == "incumbent"
    assert isinstance(decide_removal(replace(thin, refreshes=3)), Verdict)


def test_without_sigma_a_change_stays_and_where_runs_repeat_exactly_an_idle_one_goes() -> None:
    stays = decide_removal(against((7.0,), (7.0,), sigma=UNKNOWN))
    assert stays == Verdict("discard", "the effect cannot be judged without a sigma: the change stays")
    exact = Sigma(0.0, 3, 2, "")
    assert decide_removal(against((7.0,), (7.0,), sigma=exact)) == Verdict(
        "keep", "the head is as good without the change: the change is dropped"
    )


def test_nothing_measured_asks_for_a_run_and_tainted_runs_never_count() -> None:
    assert decide_removal(gains()) == Again("not measured yet", seed=0)
    spoiled = replace(gains(), candidate=(Run(1.0, 0, tainted=True),))
    assert isinstance(decide_removal(spoiled), Again)
