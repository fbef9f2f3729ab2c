"""Tokens show a slow run's work exactly if the files' steps cost the same; the speed shows it with an error."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from history_cases import tried

from autoresearch_mlx.experiment import History, Measurement
from autoresearch_mlx.judge.drift import drifted
from autoresearch_mlx.judge.evidence import Run, Sigma, Slope
from autoresearch_mlx.judge.history import runs, standing
from autoresearch_mlx.judge.slope import learned
from autoresearch_mlx.judge.work import by_tokens, compared, doubt

STEEP = -0.45
FAST = [Run(3.3, seed, log_tokens=math.log(16_000)) for seed in range(3)]


def slow(tokens: int, seed: int = 9, told: float = -0.3, gain: float = 0.0) -> Run:
    """Return a run on a slow machine; its value follows its tokens, and its measured speed is off."""
    work = math.log(tokens / 16_000)
    return Run(3.3 - gain + STEEP * work, seed, log_work=told, log_tokens=math.log(tokens), off_speed=True)


def test_between_files_of_equal_cost_the_tokens_tell_it() -> None:
    candidate, incumbent = compared([slow(8_000)], FAST, Slope(STEEP, 0.01), same_cost=True)
    assert candidate[0].log_work == pytest.approx(math.log(0.5))
    assert [run.log_work for run in incumbent] == [0, 0, 0]
    assert candidate[0].error == 0


def test_between_other_files_the_speed_does_and_its_error_becomes_one_of_the_values() -> None:
    candidate, incumbent = compared([slow(8_000)], FAST, Slope(STEEP, 0.0, doubt=0.1), same_cost=False)
    assert candidate[0].log_work == -0.3
    assert candidate[0].error == pytest.approx(0.045)
    assert list(incumbent) == FAST


@pytest.mark.parametrize(
    "side",
    [
        [replace(slow(8_000), off_speed=False)],  # on a quiet machine tokens vary by chance alone
        [replace(slow(8_000), log_tokens=None)],  # a program that is not counted, or a run of an older version
    ],
)
def test_tokens_are_left_alone_where_they_tell_nothing(side: list[Run]) -> None:
    assert by_tokens(side, FAST) is None
    assert compared(side, FAST, Slope(STEEP, 0.01), same_cost=True)[1] == tuple(FAST)


def test_a_disturbed_run_without_tokens_spoils_nothing() -> None:
    spoiled = Run(9.9, 1, tainted=True)
    assert by_tokens([slow(8_000), spoiled], FAST) is not None


def test_repeats_are_learned_from_by_their_tokens() -> None:
    """Three slow runs have the same speed and differ only in the number of their tokens."""
    group = [*FAST, slow(8_000), slow(12_000, 10), slow(10_000, 11)]
    found, sigma = learned([group], Slope(0.0, 0.5))
    assert found.value == pytest.approx(STEEP, abs=0.01)
    assert sigma.value == pytest.approx(0.0, abs=0.005)
    assert found.doubt == pytest.approx(doubt([group])) != 0


def test_the_error_of_the_speed_is_learned_once_there_are_enough_repeats() -> None:
    exact = [slow(8_000, told=math.log(0.5)), slow(4_000, told=math.log(0.25)), slow(12_000, told=math.log(0.75))]
    assert doubt([exact, exact]) == pytest.approx(0)
    assert doubt([exact]) == doubt([]) > 0.1


def test_a_drift_is_judged_by_tokens() -> None:
    known = Sigma(0.01, 40, 30, "")
    assert drifted(FAST, [slow(8_000, told=0.0)], known)
    assert not drifted(FAST, [slow(8_000, told=0.0)], known, Slope(STEEP, 0.01))


def test_the_incumbent_counts_with_the_runs_that_did_their_work() -> None:
    """Runs on a slow machine did too little work to compare; they count only if the incumbent has no others."""

    def ran(value: float, tokens: int, speed: float) -> Measurement:
        return Measurement(value, 1, tokens=tokens, speed=speed, stretch=1.0)

    quiet, busy = [ran(3.3, 16_000, 1.0), ran(3.32, 15_800, 0.99)], [ran(3.9, 8_000, 0.4), ran(3.8, 8_500, 0.5)]
    assert standing_of(*quiet, *busy, ran(3.9, 8_000, 0.93)) == pytest.approx(3.31)  # whatever its speed says
    assert standing_of(*busy) == pytest.approx(3.85)
    assert standing_of(*quiet, ran(3.34, 15_900, 0.5)) == pytest.approx(3.32)  # its time was stretched enough


def standing_of(*measured: Measurement) -> float:
    baseline = tried(0, "keep", gain=0.0, measurements=measured)
    return standing(History((baseline,), "val_bpb", "min"), baseline)


@pytest.mark.parametrize(("speed", "told"), [(0.5, True), (1.0, True), (2.0, True), (None, False)])
def test_a_record_without_a_speed_is_read_as_before(speed: float | None, told: bool) -> None:
    (run,) = runs([Measurement(3.3, 1, tokens=8_000, speed=speed, stretch=1.0 if speed else None)], 0)
    assert (run.log_tokens is not None) == told
    assert run.off_speed == (speed in (0.5, 2.0))
