"""A clear loser is stopped, one in eight is allowed to finish, and no stop ever leads to a keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_mlx.experiment import Verdict
from autoresearch_mlx.judge.early import Account, Past, Stop, account, gap_to, highest_rate, pace, should_stop
from autoresearch_mlx.judge.next_run import steps_in_budget

Points = list[tuple[float, float]]


def curve(scale: float = 1.0, until: float = 1.0) -> Points:
    """Return the curve of a loss that falls from 8 to 2, in twenty points."""
    shares = [k / 20 for k in range(21) if k / 20 <= until + 1e-9]
    return [(share, scale * (2 + 6 * (1 - share) ** 3)) for share in shares]


INCUMBENT = curve()


def stop(points: Points, number: int = 1, axis: str | None = "lr.matrix", full_runs: int = 20) -> Stop | None:
    return should_stop(points, INCUMBENT, number, axis, full_runs)


def test_at_sixty_percent_a_loss_well_above_the_incumbents_is_stopped() -> None:
    found = stop(curve(1.05, until=0.6))
    assert found == Stop("loss 5.0% above the incumbent's at 60% of the budget", 0.6, gap=pytest.approx(0.05))


@pytest.mark.parametrize(
    ("scale", "until"), [(1.02, 0.6), (1.05, 0.55), (1.3, 0.3), (0.9, 0.8)], ids=["close", "early", "earlier", "better"]
)
def test_what_is_close_early_or_better_runs_on(scale: float, until: float) -> None:
    assert stop(curve(scale, until)) is None


def test_with_fewer_than_twenty_full_runs_nothing_is_stopped() -> None:
    assert stop(curve(1.2, 0.7), full_runs=19) is None


@pytest.mark.parametrize("axis", ["schedule", "schedule.warmup", "batch", "batch.device", "ema", None])
def test_changes_that_reshape_the_curve_or_may_have_are_exempt(axis: str | None) -> None:
    assert stop(curve(1.2, 0.7), axis=axis) is None


def test_an_axis_that_only_begins_alike_is_not_exempt() -> None:
    assert stop(curve(1.2, 0.7), axis="batchnorm") is not None


def test_one_in_eight_is_left_to_finish_as_an_audit() -> None:
    found = [stop(curve(1.2, 0.7), number) for number in range(1, 17)]
    assert [number for number, each in enumerate(found, 1) if each is not None and each.audit] == [8, 16]


@pytest.mark.parametrize("speed", [0.3, 0.5, 0.8])
def test_a_run_on_a_slow_machine_is_compared_after_as_much_work(speed: float) -> None:
    """The run follows the incumbent's curve more slowly, so at 60 % of the budget its loss is far above that curve."""
    behind = [(share, 2 + 6 * (1 - share * speed) ** 3) for share, _ in curve(until=0.6)]
    then = pace(behind, tokens=int(0.6 * speed * 10_000), whole=10_000)
    assert then == pytest.approx(speed, abs=0.01)
    assert stop(behind) is not None
    assert should_stop(behind, INCUMBENT, 1, "lr.matrix", 20, pace=then) is None
    worse = [(share, 1.06 * loss) for share, loss in behind]
    found = should_stop(worse, INCUMBENT, 1, "lr.matrix", 20, pace=then)
    assert found is not None
    assert "above the incumbent's after the same number of tokens, at 60% of the budget" in found.reason


def test_a_run_that_is_quicker_than_the_incumbent_keeps_what_it_has_won() -> None:
    assert pace(curve(until=0.6), tokens=9000, whole=10_000) == 1


@pytest.mark.parametrize(("tokens", "whole"), [(None, 10_000), (0, 10_000), (6000, None), (6000, 0)])
def test_without_a_count_of_tokens_equal_shares_are_equal_work(tokens: int | None, whole: int | None) -> None:
    assert pace(curve(until=0.6), tokens, whole) == 1
    assert pace([], 6000, 10_000) == 1


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_any_run_at_once(loss: float) -> None:
    found = stop([(0.0, 8.0), (0.05, loss)], number=8, axis="schedule", full_runs=0)
    assert found == Stop("the loss is not a number at 5% of the budget", 0.05)


def test_a_loss_that_rises_far_over_its_start_has_diverged() -> None:
    found = stop([(0.0, 8.0), (0.1, 6.0), (0.25, 13.0)], full_runs=0)
    assert found is not None and found.reason == "the loss diverged from 8 at the start to 13 at 25% of the budget"
    assert stop([(0.0, 8.0), (0.25, 9.0)], full_runs=0) is None


def test_progress_compares_at_equal_shares_though_the_points_differ() -> None:
    between = [(share + 0.013, loss) for share, loss in curve(1.0, 0.6)]
    gap = gap_to(between, [(share + 0.013, loss) for share, loss in curve(1.0, 1.0)], 0.1)
    assert gap == pytest.approx(0)
    coarse = [(0.0, 4.0), (1.0, 2.0)]
    assert gap_to([(0.5, 3.3)], coarse, 0.1) == pytest.approx(0.1)


def test_one_noisy_point_stops_nothing() -> None:
    points = curve(1.0, 0.6)
    points[-1] = (0.6, points[-1][1] * 1.05)
    assert stop(points) is None


@pytest.mark.parametrize("before", [[], [(0.0, 8.0)], [(0.0, -1.0), (1.0, -2.0)]])
def test_without_a_curve_that_compares_nothing_is_stopped(before: Points) -> None:
    assert should_stop(curve(1.2, 0.7), before, 1, "lr.matrix", 99) is None
    assert stop([]) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-1e6, 1e6)), max_size=12), st.integers(0, 99))
def test_a_stop_never_feeds_a_keep(points: Points, number: int) -> None:
    found = stop(sorted(points), number)
    assert found is None or found.verdict == Verdict("discard", found.reason)


def test_the_account_tells_what_was_saved_and_how_often_the_rule_was_wrong() -> None:
    past = [
        Past(0.6, 300, False, "discard"),
        Past(0.1, 300, False, "discard"),
        Past(0.6, 300, True, "discard"),
        Past(0.6, 300, True, "keep"),
        Past(0.7, 300, True, "interrupted"),
    ]
    found = account(past)
    assert (found.stopped, found.audits, found.wrong, found.error_rate) == (2, 2, 1, 0.5)
    assert found.saved_seconds == pytest.approx(120 + 270)
    assert found.error_high == pytest.approx(0.9747, abs=1e-4)


def test_without_an_audit_the_error_rate_is_unknown() -> None:
    assert account([]) == Account(0, 0.0, 0, 0, None, None)


@pytest.mark.parametrize(("wrong", "of", "high"), [(0, 10, 0.2589), (1, 20, 0.2161), (3, 3, 1.0), (0, 59, 0.0495)])
def test_the_highest_rate_is_that_of_the_exact_interval(wrong: int, of: int, high: float) -> None:
    assert highest_rate(wrong, of) == pytest.approx(high, abs=1e-4)


def test_calibrated_steps_fill_the_budget_at_the_median_speed() -> None:
    assert steps_in_budget([(100, 50.0), (100, 52.0), (40, 100.0)], 300.0) == 576
    assert steps_in_budget([(0, 50.0), (10, 0.0)], 300.0) is None
    assert steps_in_budget([(1, 900.0)], 300.0) == 1
