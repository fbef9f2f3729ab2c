"""The time that a run may take outside its budget, from what the baseline took."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch_mlx.experiment import Usual
from autoresearch_mlx.trial.allowances import (
    Spent,
    after_the_budget,
    compile_seconds,
    evaluation_limit,
    larger,
    scoring,
    start_seconds,
)

USUAL = Usual(start=1.0, compile=0.4, ending=0.4, ending_cpu=0.5, evaluate=2.0, evaluate_cpu=3.0)
GPU = replace(USUAL, ending_cpu=None, evaluate_cpu=None)


def test_without_a_baseline_only_the_general_limits_hold() -> None:
    assert (start_seconds(None, 33.0), compile_seconds(None, 60.0)) == (33.0, 60.0)
    assert after_the_budget(None, Spent(99.0, 99.0), 0.0, 0, 1.0) is None
    assert scoring(None, Spent(99.0, 99.0), 1.0) is None


def test_start_and_first_step_have_a_little_more_than_the_baseline_and_what_lab_toml_sets_is_never_exceeded() -> None:
    assert start_seconds(USUAL, 33.0) == pytest.approx(2.5)
    assert compile_seconds(USUAL, 60.0) == pytest.approx(0.75)
    assert compile_seconds(USUAL, 0.5) == 0.5


@pytest.mark.parametrize(
    ("spent", "steps", "size", "holds"),
    [
        pytest.param(Spent(0.7, 9.0), 0.0, 0, True, id="short by the clock"),
        pytest.param(Spent(9.0, 0.8), 0.0, 0, True, id="it waited: the machine was busy"),
        pytest.param(Spent(3.0, 3.0), 0.0, 0, False, id="it worked"),
        pytest.param(Spent(3.0, 3.0), 2.5, 0, True, id="its steps are long"),
        pytest.param(Spent(3.0, 3.0), 0.0, 250_000_000, True, id="its weights are large"),
    ],
)
def test_after_the_budget(spent: Spent, steps: float, size: int, holds: bool) -> None:
    said = after_the_budget(USUAL, spent, steps, size, 1.0)
    assert (said is None) == holds, said


def test_the_reason_has_the_figures() -> None:
    said = after_the_budget(USUAL, Spent(16.2, 20.0), 0.0, 0, 1.5)
    assert said is not None
    assert said.startswith("the run went on for 16.2 s after its budget, and the baseline for 0.4 s; ")
    assert said.endswith("the run used 20.0 s of processor time, and 1.2 s are allowed")


def test_on_a_gpu_the_clock_alone_decides_and_allows_more() -> None:
    assert after_the_budget(GPU, Spent(2.2, None), 0.0, 0, 1.0) is None
    assert after_the_budget(GPU, Spent(2.4, None), 0.0, 0, 1.0) is not None
    assert scoring(GPU, Spent(5.4, None), 1.0) is None
    assert scoring(GPU, Spent(5.6, None), 1.0) is not None


def test_an_evaluation_may_take_what_a_model_of_its_size_takes() -> None:
    assert scoring(USUAL, Spent(90.0, 4.7), 1.0) is None, "the machine was busy"
    assert scoring(USUAL, Spent(9.0, 13.0), 3.0) is None
    said = scoring(USUAL, Spent(9.0, 14.0), 1.0)
    assert said is not None
    assert said.endswith("the evaluation used 14.0 s of processor time, and 4.8 s are allowed for a model of this size")


def test_an_evaluation_is_killed_after_five_times_the_baselines_and_a_minute() -> None:
    limit = evaluation_limit(USUAL, 1.0, 1200.0)
    assert limit.seconds == 70.0
    assert limit.why.startswith("the baseline's took 2.0 s; make the model answer faster")
    assert evaluation_limit(USUAL, 8.0, 1200.0).seconds == 140.0, "a larger model"
    assert limit.times(12.0).seconds == 840.0, "an audit"


@pytest.mark.parametrize("usual", [None, Usual(), replace(USUAL, evaluate=400.0)])
def test_the_setting_is_the_upper_bound_and_alone_bounds_the_baseline(usual: Usual | None) -> None:
    limit = evaluation_limit(usual, 1.0, 1200.0)
    assert limit.seconds == 1200.0
    assert limit.why.endswith("begin a session with a larger evaluate_seconds")


def test_a_model_is_as_large_as_its_evaluation_is_long() -> None:
    assert larger(USUAL, Spent(9.0, 3.0)) == 1.0
    assert larger(USUAL, Spent(9.0, 6.0)) == 5.0, "start and scoring are the same for both"
    assert larger(USUAL, Spent(9.0, 1.0)) == 1.0
    assert larger(GPU, Spent(3.0, None)) == 3.0
    assert larger(None, Spent(3.0, 3.0)) is None and larger(Usual(), Spent(3.0, 3.0)) is None
