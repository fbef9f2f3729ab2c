"""Sleep and stalls are recognised from clock readings and from the times of steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from autoresearch_mlx.experiment import Progress
from autoresearch_mlx.trial.disturbance import (
    Clocks,
    Disturbance,
    Vigil,
    longest_gap,
    read_clocks,
    slept,
)


def test_sleep_is_what_one_clock_counts_and_the_other_does_not() -> None:
    before = Clocks(1000.0, 5000.0)
    assert slept(before, Clocks(1300.0, 5300.0)) == 0.0
    assert slept(before, Clocks(1300.0, 12500.0)) == 7200.0
    assert slept(before, Clocks(1300.0, 5300.4)) == 0.0, "two clocks are read one after the other"


def test_where_no_clock_tells_of_sleep_none_is_claimed() -> None:
    assert slept(Clocks(1000.0, None), Clocks(1300.0, None)) == 0.0


def test_this_machine_has_both_clocks_and_the_wall_clock_is_none_of_them() -> None:
    before, after = read_clocks(), read_clocks()
    assert before.total is not None and after.total is not None
    assert slept(before, after) == 0.0
    assert after.awake < 10**9, "seconds since 1970 can be set; seconds since the start cannot"


def steps(*apart: float) -> list[float]:
    at, times = 100.0, [100.0]
    for each in apart:
        at += each
        times.append(at)
    return times


@pytest.mark.parametrize(
    ("apart", "gap"),
    [
        pytest.param([0.3] * 12, 0.0, id="even"),
        pytest.param([0.3] * 6 + [4.0] + [0.3] * 6, 4.0, id="one stall"),
        pytest.param([0.3] * 6 + [2.5] + [0.3] * 6, 0.0, id="too short to matter"),
        pytest.param([2.0] * 6 + [12.0] + [2.0] * 6, 0.0, id="slow steps vary by seconds"),
        pytest.param([2.0] * 6 + [25.0] + [2.0] * 6, 25.0, id="a stall among slow steps"),
        pytest.param(([0.3] * 6 + [4.0]) * 2, 0.0, id="a script that evaluates now and then"),
        pytest.param([0.3, 0.3, 60.0, 0.3], 0.0, id="too few steps to know the usual"),
        pytest.param([], 0.0, id="none"),
    ],
)
def test_a_gap_is_one_time_out_of_all_proportion(apart: list[float], gap: float) -> None:
    assert longest_gap(steps(*apart)) == pytest.approx(gap)


def test_a_gap_that_an_earlier_run_had_too_is_the_scripts_own() -> None:
    found = Disturbance(gap=10.0)
    assert found.words() == "no step ended for 10 s, though the other steps were quick"
    assert found.words(habits=[9.0]) is None
    assert found.words(habits=[4.0]) is not None
    assert Disturbance(still=10.0, gap=10.0).words(habits=[9.0]) == "this program could not run for 10 s"
    assert Disturbance(slept=300.0, gap=10.0).words() == "the machine slept for 300 s"
    assert found.facts() == {"step_gap_seconds": 10.0} and Disturbance().facts() == {}


class Hands:
    """A set of clocks that the test moves by hand."""

    def __init__(self) -> None:
        self.awake, self.total = 50.0, 90.0

    def __call__(self) -> Clocks:
        return Clocks(self.awake, self.total)

    def pass_by(self, seconds: float, asleep: float = 0.0) -> None:
        self.awake += seconds
        self.total += seconds + asleep


def watched(events: Iterable[tuple[float, Progress]]) -> Vigil:
    hands, seen = Hands(), list[Progress]()
    vigil = Vigil(hands)
    watch = vigil.watching(seen.append)
    for seconds, progress in events:
        hands.pass_by(seconds)
        vigil.beat()
        watch(progress)
    assert len(seen) == len(list(events))
    return vigil


def training(step: int) -> Progress:
    return Progress("train", step, 3.0)


def test_a_pulse_that_comes_late_says_that_everything_stood_still() -> None:
    looks = [(0.5, training(n)) for n in range(20)]
    assert watched(looks).found() == Disturbance()
    assert watched([*looks, (8.0, training(21))]).found().still == pytest.approx(8.0)
    assert watched([(0.1, training(1)), (8.0, Progress("evaluate"))]).found().still == pytest.approx(8.0)


def test_the_pulse_ends_with_the_run_and_an_ordinary_wait_is_no_stop() -> None:
    before = threading.active_count()
    with Vigil() as vigil:
        assert threading.active_count() == before + 1
        time.sleep(0.6)
        assert vigil.found() == Disturbance()
    assert threading.active_count() == before


def test_a_child_that_stood_still_alone_shows_in_its_steps() -> None:
    quick = [(0.1, training(n // 3)) for n in range(60)]
    stalled = [(0.1, training(20)) for _ in range(50)]
    found = watched([*quick, *stalled, *((0.1, training(21 + n // 3)) for n in range(30))]).found()
    assert found.still == 0.0
    assert found.gap == pytest.approx(5.3, abs=0.3)


def test_a_script_that_repeats_a_step_number_hides_no_stall_of_everything() -> None:
    fake = [(0.1, training(1)) for _ in range(20)]
    assert watched([*fake, (30.0, training(1))]).found().still == pytest.approx(30.0)


def test_no_early_stop_judges_a_disturbed_curve() -> None:
    hands = Hands()
    vigil = Vigil(hands)
    asked = list[int]()

    def lost(curve: Sequence[tuple[float, float]], tokens: int | None) -> Mapping[str, Any] | None:
        assert tokens == 64
        asked.append(len(curve))
        return {"reason": "lost"}

    stop = vigil.stopping(lost)
    assert stop is not None and vigil.stopping(None) is None
    assert stop([(0.5, 9.0)], 64) == {"reason": "lost"}
    hands.pass_by(1.0, asleep=60.0)
    assert stop([(0.5, 9.0)], 64) is None and len(asked) == 1
