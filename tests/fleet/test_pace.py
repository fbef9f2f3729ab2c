"""A machine may get its next job shortly before its run is expected to end."""

from __future__ import annotations

import pytest

from autoresearch_mlx.fleet.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def after_one_run(seconds: float, candidate: bool = True) -> tuple[Pace, Clock]:
    clock = Clock()
    pace = Pace(clock)
    with pace.asking(candidate):
        clock.now += seconds
    return pace, clock


@pytest.mark.parametrize(("usual", "early", "late"), [(300.0, 299.0, 299.6), (2.0, 1.4, 1.6)])
def test_a_run_ends_soon_when_the_time_of_the_last_one_is_nearly_over(usual: float, early: float, late: float) -> None:
    pace, clock = after_one_run(usual)
    began = clock.now
    with pace.asking(True):
        clock.now = began + early
        assert not pace.ends_soon()
        clock.now = began + late
        assert pace.ends_soon()
    assert not pace.ends_soon(), "it has ended"


def test_nothing_is_foreseen_before_the_first_run_has_ended() -> None:
    clock = Clock()
    pace = Pace(clock)
    with pace.asking(True):
        clock.now += 1000
        assert not pace.ends_soon()


def test_after_a_run_of_the_incumbent_the_same_experiment_may_need_the_machine() -> None:
    pace, clock = after_one_run(10.0, candidate=False)
    with pace.asking(False):
        clock.now += 9.9
        assert not pace.ends_soon()


def test_a_machine_that_has_its_next_job_gets_no_third_one() -> None:
    pace, clock = after_one_run(10.0)
    with pace.asking(True), pace.asking(True):
        clock.now += 9.9
        assert not pace.ends_soon()


def test_the_time_of_a_job_counts_from_the_end_of_the_one_before() -> None:
    pace, clock = after_one_run(10.0)
    first = pace.asking(True)
    first.__enter__()
    clock.now += 9.6
    with pace.asking(True):
        clock.now += 0.4
        first.__exit__(None, None, None)
        clock.now += 9.0
        assert not pace.ends_soon()
        clock.now += 0.6
        assert pace.ends_soon()


def test_a_job_that_did_not_come_back_says_nothing_about_the_usual_time() -> None:
    pace, clock = after_one_run(10.0)
    with pytest.raises(ConnectionError), pace.asking(True):
        clock.now += 60
        raise ConnectionError
    with pace.asking(True):
        clock.now += 9.6
        assert pace.ends_soon()


def test_a_run_that_crashes_at_its_start_does_not_make_the_next_one_look_short() -> None:
    pace, clock = after_one_run(300.0)
    with pace.asking(True):
        clock.now += 0.5
    with pace.asking(True):
        clock.now += 200.0
        assert not pace.ends_soon() and pace.seconds_left() == 100.0
        clock.now += 99.6
        assert pace.ends_soon()


def test_the_time_until_a_machine_is_done_has_the_whole_time_of_its_next_job() -> None:
    pace, clock = after_one_run(20.0)
    assert pace.seconds_left() == 0.0
    with pace.asking(True), pace.asking(True):
        clock.now += 5.0
        assert pace.seconds_left() == 15.0 + 20.0
        clock.now += 30.0
        assert pace.seconds_left() == 20.0, "the first one takes longer than usual"
    new = Pace(clock)
    with new.asking(False):
        assert new.seconds_left() == float("inf")
