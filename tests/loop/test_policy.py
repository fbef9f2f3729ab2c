"""When a call of ``run`` ends, and how long it will take."""

from __future__ import annotations

import time

import pytest

from autoresearch_mlx.loop.policy import Policy, Sofar
from autoresearch_mlx.report.terminal import limits_in_words


def after(seconds: float, **limits: float) -> Policy:
    """Return a policy whose clock shows that it began this number of seconds ago."""
    return Policy(now=lambda: 1000.0 + seconds, began=1000.0, **limits)  # type: ignore[arg-type]


def test_without_limits_it_goes_on_and_no_end_is_foretold() -> None:
    policy = after(1e9)
    assert policy.stop(Sofar(10**6)) is None
    assert policy.seconds_left() is None
    assert policy.eta_seconds(3, 10.0) is None


@pytest.mark.parametrize(
    ("done", "reason"), [(0, None), (4, None), (5, "5 experiments done, as asked"), (6, "6 experiments done, as asked")]
)
def test_a_count_is_reached(done: int, reason: str | None) -> None:
    assert after(0, experiments=5).stop(Sofar(done)) == reason


def test_no_experiment_may_be_asked_for() -> None:
    assert after(0, experiments=0).stop(Sofar(0)) == "0 experiments done, as asked"


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [
        (5399, None),
        (5400, "the time limit of 1.5 h is over, as asked"),
        (9999, "the time limit of 1.5 h is over, as asked"),
    ],
)
def test_hours_are_over(seconds: float, reason: str | None) -> None:
    assert after(seconds, hours=1.5).stop(Sofar(0)) == reason


def test_so_many_experiments_in_a_row_that_keep_nothing_are_enough() -> None:
    policy = after(0, stall=3)
    assert policy.stop(Sofar(done=9, idle=2)) is None
    assert policy.stop(Sofar(done=9, idle=3)) == "3 experiments in a row kept nothing, which is the limit"


def test_a_time_of_day_is_reached() -> None:
    seven = time.mktime((2026, 3, 2, 7, 0, 0, 0, 0, -1))
    assert Policy(until=seven, wall=lambda: seven - 1).stop(Sofar()) is None
    assert Policy(until=seven, wall=lambda: seven).stop(Sofar()) == "it is 07:00, as asked"


@pytest.mark.parametrize(
    ("takes", "closing", "reason"),
    [
        (None, 0.0, None),
        (300.0, 0.0, None),
        (301.0, 0.0, "the next experiment takes about 301.0 s, and the time limit of 1 h is over in 300.0 s"),
        (240.0, 60.0, None),
        (
            240.0,
            2400.0,
            "the next experiment takes about 240.0 s and the certification 40:00, "
            "and the time limit of 1 h is over in 300.0 s",
        ),
    ],
)
def test_what_cannot_end_in_time_is_not_begun(takes: float | None, closing: float, reason: str | None) -> None:
    assert after(3300, hours=1).stop(Sofar(3, 0, takes, closing)) == reason


def test_without_a_limit_of_time_nothing_is_too_long() -> None:
    assert after(0, experiments=5).stop(Sofar(4, 0, 1e9, 1e9)) is None


def test_every_limit_can_be_told_in_words() -> None:
    seven = time.mktime((2026, 3, 2, 7, 0, 0, 0, 0, -1))
    limits = Policy(40, 7.5, seven, 12, 2_000_000, 2.5).limits()
    assert limits_in_words(limits) == (
        "at 07:00, or 7.5 hours after its start, or after 40 experiments, or after 12 experiments in a row without"
        " a keep, or once 2,000,000 tokens are spent, or once models have cost 2.5, whichever comes first"
    )
    assert limits_in_words({"experiments": 1}) == "after 1 experiment"
    assert limits_in_words(Policy().limits()) == "when told to"


def test_the_first_limit_decides() -> None:
    assert after(3600, experiments=5, hours=1).stop(Sofar(4)) == "the time limit of 1 h is over, as asked"
    assert after(10, experiments=5, hours=1).stop(Sofar(5)) == "5 experiments done, as asked"


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
