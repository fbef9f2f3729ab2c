"""Values change with the machine's speed; the judge estimates from repeats by how much, and allows for it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from judge_cases import SIGMA, WELL_KNOWN

from autoresearch_mlx.experiment import Measurement, Verdict
from autoresearch_mlx.judge.difference import difference
from autoresearch_mlx.judge.drift import drifted
from autoresearch_mlx.judge.evidence import Again, Evidence, Run, Sigma, Slope
from autoresearch_mlx.judge.removal import decide_removal
from autoresearch_mlx.judge.slope import learned, prior, steepness
from autoresearch_mlx.judge.speeds import log_work
from autoresearch_mlx.judge.stages import decide

STEEP = -0.034
"""Slope of the value, seventeen sigma for each e-fold of work, as on two busy cores; less work gives a higher value."""
HALF = math.log(0.5)
GROUPS = [[Run(1.8 + STEEP * x + noise, seed, log_work=x) for seed, (x, noise) in enumerate(group)] for group in (
    [(0.0, 0.001), (0.0, -0.002), (0.0, 0.001), (HALF, 0.0)],
    [(0.0, -0.001), (-0.9, 0.002), (-0.3, -0.001)],
)]  # fmt: skip


def ran(speed: float | None, stretch: float | None = None, **fields: object) -> Measurement:
    return replace(Measurement(1.8, 1), speed=speed, stretch=stretch, **fields)  # type: ignore[arg-type]


def runs(*work: float, gain: float = 0.0, first_seed: int = 0) -> tuple[Run, ...]:
    """Return runs without noise, one for each logarithm of an amount of work."""
    return tuple(Run(1.8 - gain + STEEP * x, seed, log_work=x) for seed, x in enumerate(work, first_seed))


def case(candidate: tuple[Run, ...], incumbent: tuple[Run, ...], **fields: object) -> Evidence:
    return Evidence(candidate, incumbent, WELL_KNOWN, **fields)  # type: ignore[arg-type]


# -- the work that a run did at its speed --------------------------------------------------------------


@pytest.mark.parametrize(
    "measured",
    [
        ran(None),
        ran(1.0, 1.0),
        ran(0.97, 1.0),  # the speed is not measured more exactly than that
        ran(0.4, None, tokens=5000),  # a number of tokens or steps ended it, however long it took
        ran(0.4, None, steps=40),
        ran(0.0, 1.0),
        ran(math.inf, 1.0),
    ],
)
def test_a_run_did_all_its_work_where_nothing_says_otherwise(measured: Measurement) -> None:
    assert log_work(measured) == 0


def test_a_budget_that_was_cut_by_the_clock_left_less_work_and_one_that_was_evened_out_nearly_all() -> None:
    cut, evened = log_work(ran(0.5, 1.0)), log_work(ran(0.7, 1 / 0.7))
    assert cut == pytest.approx(1.2 * (HALF + 0.05))
    assert 0.2 * math.log(0.7) < evened < 0


def test_of_another_program_only_its_speed_is_known() -> None:
    assert log_work(ran(0.5)) == pytest.approx(HALF + 0.05)


def test_a_run_that_was_faster_than_the_reference_did_more() -> None:
    assert log_work(ran(2.0, 1.0)) > 0.5


# -- the slope ----------------------------------------------------------------------------------------


def test_the_end_of_a_learning_curve_tells_how_much_work_is_worth() -> None:
    """A loss of 3 * share ** -0.1 falls by a tenth of itself for each e-fold."""
    curve = [(share / 20, 3 * (share / 20) ** -0.1) for share in range(1, 21)]
    assert steepness(curve) == pytest.approx(0.1, abs=0.01)
    assert steepness(curve[:9]) is None
    assert steepness([(at, 2.0) for at, _ in curve]) == pytest.approx(0)


def test_a_noisy_curve_is_taken_as_steep_as_it_may_be() -> None:
    curve = [(share / 20, 3 + 0.1 * (-1) ** share) for share in range(1, 21)]
    assert (steepness(curve) or 0) > 0.02


def test_before_repeats_the_slope_may_be_anything_within_what_the_curve_shows() -> None:
    curve = tuple((share / 20, 3 * (share / 20) ** -0.1) for share in range(1, 21))
    assert prior([ran(1.0, curve=curve)], 1.8) == Slope(0.0, pytest.approx(0.18, abs=0.02))
    assert prior([ran(1.0)], -2.0) == Slope(0.0, 1.0)


def test_it_is_learned_from_repeats_at_different_speeds() -> None:
    slope, sigma = learned(GROUPS, Slope(0.0, 0.1))
    assert slope.value == pytest.approx(STEEP, abs=0.004)
    assert slope.error < 0.003
    assert sigma.value == pytest.approx(0.0018, abs=0.0006)
    assert (sigma.n, sigma.dof) == (7, 4)  # two for the means, one for the slope


def test_repeats_at_one_speed_leave_it_as_it_was_and_sigma_too() -> None:
    groups = [[replace(run, log_work=0.0) for run in group] for group in GROUPS]
    assert learned(groups, Slope(0.0, 0.1))[0] == Slope(0.0, 0.1)
    assert learned([[replace(run, log_work=-1.0) for run in group] for group in GROUPS], Slope(0.0, 0.1)) == learned(
        groups, Slope(0.0, 0.1)
    )


# -- comparing ----------------------------------------------------------------------------------------


def test_an_edit_without_effect_on_a_slow_machine_is_no_loss() -> None:
    evidence = case(runs(-1.0), runs(0.0, 0.0, 0.0), slope=Slope(STEEP, 0.002))
    found = difference(evidence, 4)
    assert found.gain == pytest.approx(0, abs=1e-12)
    assert found.speed_gain == pytest.approx(-STEEP)
    assert found.error > 2 * SIGMA


def test_the_error_of_the_slope_is_in_the_interval() -> None:
    sharp = difference(case(runs(-0.3), runs(0.0, 0.0), slope=Slope(STEEP, 0.001)), 4)
    blunt = difference(case(runs(-0.3), runs(0.0, 0.0), slope=Slope(STEEP, 0.034)), 4)
    assert blunt.error > 3 * sharp.error
    assert blunt.blurred
    assert not sharp.blurred


def test_runs_at_a_like_speed_are_compared_where_the_slope_is_unknown() -> None:
    evidence = case(runs(-1.0, gain=3 * SIGMA), runs(0.0, 0.0, 0.0, -1.05), slope=Slope(0.0, 0.03))
    found = difference(evidence, 4)
    assert found.runs_incumbent == 1
    assert not found.blurred


@pytest.mark.parametrize("gain", [0.0, 3 * SIGMA, -3 * SIGMA])
def test_a_case_that_the_speed_blurs_has_the_incumbent_measured_beside_it(gain: float) -> None:
    evidence = case(runs(-0.8, gain=gain, first_seed=1), runs(0.0, 0.0, 0.0), slope=Slope(0.0, 0.05))
    asked = decide(evidence)
    assert isinstance(asked, Again)
    assert asked.whom == "incumbent"
    assert "the machine was not as fast" in asked.reason
    beside = replace(evidence, incumbent=(*evidence.incumbent, *runs(-0.8, first_seed=9)), refreshes=1)
    assert decide(beside) != asked


def test_it_is_not_measured_beside_it_for_ever() -> None:
    evidence = case(runs(-0.8), runs(0.0, 0.0, 0.0), slope=Slope(0.0, 0.05), refreshes=3)
    assert isinstance(decide(evidence), Verdict)


def test_a_clear_loser_needs_no_second_look_whatever_the_speed() -> None:
    loser = case(runs(-0.5, gain=-0.3), runs(0.0, 0.0, 0.0), slope=Slope(0.0, 0.05))
    assert isinstance(found := decide(loser), Verdict)
    assert found.status == "discard"
    assert "allowing for the machine's speed" in found.reason


def test_shorter_code_and_removals_are_not_waved_through_because_nothing_can_be_seen() -> None:
    blurred = case(runs(-1.0, -1.0, gain=-8 * SIGMA), runs(0.0, 0.0, 0.0), slope=Slope(0.0, 0.2), refreshes=3)
    assert isinstance(shorter := decide(replace(blurred, lines_removed=5)), Verdict)
    assert shorter.status == "discard"
    assert isinstance(without := decide_removal(blurred), Verdict)
    assert without.status == "discard"
    assert "stays" in without.reason


def test_fast_keeps_no_gain_that_the_speed_may_have_made() -> None:
    """The baseline ran on a busy machine, so everything after it looks better."""
    evidence = case(runs(0.0), runs(-1.0, -1.0, -1.0), slope=Slope(0.0, 0.05), refreshes=3)
    assert isinstance(found := decide(evidence, "fast"), Verdict)
    assert found.status == "discard"


# -- drift --------------------------------------------------------------------------------------------


def test_a_drift_that_the_speed_explains_opens_no_regime() -> None:
    known = Sigma(SIGMA, 300, 250, "many runs")
    assert drifted(runs(0.0, 0.0, 0.0), runs(-0.7), known)
    assert not drifted(runs(0.0, 0.0, 0.0), runs(-0.7), known, Slope(STEEP, 0.002))
    assert drifted(runs(0.0, 0.0, 0.0), runs(-0.7, gain=-8 * SIGMA), known, Slope(STEEP, 0.002))
