"""When a call of ``run`` ends, and how long it will take."""

from __future__ import annotations

import pytest

from autoresearch_mlx.policy import Policy


def after(seconds: float, **limits: float) -> Policy:
    """A policy whose clock stands so many seconds after its beginning."""
    return Policy(clock=lambda: 1000.0 + seconds, began=1000.0, **limits)  # type: ignore[arg-type]


def test_without_limits_it_goes_on_and_no_end_is_foretold() -> None:
    policy = after(1e9)
    assert policy.stop(10**6) is None
    assert policy.seconds_left() is None
    assert policy.eta_seconds(3, 10.0) is None


@pytest.mark.parametrize(
    ("done", "reason"), [(0, None), (4, None), (5, "5 experiments done, as asked"), (6, "6 experiments done, as asked")]
)
def test_a_count_is_reached(done: int, reason: str | None) -> None:
    assert after(0, experiments=5).stop(done) == reason


def test_no_experiment_may_be_asked_for() -> None:
    assert after(0, experiments=0).stop(0) == "0 experiments done, as asked"


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(5399, None), (5400, "1.5 hours are over, as asked"), (9999, "1.5 hours are over, as asked")],
)
def test_hours_are_over(seconds: float, reason: str | None) -> None:
    assert after(seconds, hours=1.5).stop(0) == reason


def test_the_first_limit_decides() -> None:
    assert after(3600, experiments=5, hours=1).stop(4) == "1 hours are over, as asked"
    assert after(10, experiments=5, hours=1).stop(5) == "5 experiments done, as asked"


def test_the_end_is_the_nearer_of_both_limits() -> None:
    policy = after(600, experiments=10, hours=1)
    assert policy.seconds_left() == 3000
    assert policy.eta_seconds(4, 100.0) == 600
    assert policy.eta_seconds(4, 900.0) == 3000
    assert policy.eta_seconds(4, None) == 3000
    assert after(0, experiments=10).eta_seconds(0, None) is None


def test_the_clock_runs_from_the_making_of_the_policy() -> None:
    left = Policy(hours=1).seconds_left()
    assert left is not None
    assert 3590 < left <= 3600
