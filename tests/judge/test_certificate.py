"""A certificate compares two heads in pairs A B B A, which cancels a linear drift exactly."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_mlx.judge.certificate import abba, block_effects, certificate, evidence_ratio, in_words, slots_of
from autoresearch_mlx.judge.evidence import UNKNOWN, Run, Sigma, Slope

KNOWN = Sigma(1.0, 400, 300, "many runs")
rational = st.fractions(-1000, 1000, max_denominator=997)


def measured(pairs: int, gain: float, noise: list[float] | None = None, drift: float = 0.0, sign: int = 1) -> list[Run]:
    """Return runs in the order of the plan, for a head that is ``gain`` lower than 10."""
    noise = noise or [0.0] * (2 * pairs)
    return [
        Run(10 - (gain if slot.side == "head" else 0) + drift * at + noise[at], slot.seed, pair=slot.pair)
        for at, slot in enumerate(slots_of(pairs, 100))
    ]


def split(pairs: int, runs: list[Run]) -> tuple[list[Run], list[Run]]:
    sides = [slot.side for slot in slots_of(pairs, 100)]
    return [r for r, s in zip(runs, sides, strict=True) if s == "before"], [
        r for r, s in zip(runs, sides, strict=True) if s == "head"
    ]


def test_the_plan_alternates_a_b_b_a_with_one_fresh_seed_a_pair() -> None:
    slots = slots_of(4, first_seed=900)
    assert [slot.side[0] for slot in slots] == list("bhhbbhhb")
    assert [slot.pair for slot in slots] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [slot.seed for slot in slots] == [900, 900, 901, 901, 902, 902, 903, 903]


@pytest.mark.parametrize("pairs", [0, 1, 3])
def test_pairs_must_fill_blocks(pairs: int) -> None:
    with pytest.raises(ValueError, match="even number of pairs"):
        slots_of(pairs, 0)


@given(rational, rational, rational, rational)
def test_linear_drift_cancels_exactly(level: Fraction, effect: Fraction, slope: Fraction, start: Fraction) -> None:
    """The test uses fractions, so that B minus A must be exactly the effect, whatever the drift is."""
    at = [level + slope * (start + k) for k in range(4)]
    assert abba(at[0], at[1] + effect, at[2] + effect, at[3]) == effect  # type: ignore[arg-type]


def test_what_a_slow_machine_did_to_one_side_is_no_gain_of_the_other() -> None:
    """All runs of the baseline were made on a busy machine, which by the slope accounts for 5 of their value of 10."""
    before, head = split(4, measured(4, 0.0))
    before = [replace(run, value=run.value + 5, log_work=-0.5) for run in before]
    blind = certificate(before, head, "min", KNOWN)
    seeing = certificate(before, head, "min", KNOWN, slope=Slope(-10.0, 1.0))
    assert (blind.certified, seeing.certified) == (True, False)
    assert seeing.effect == pytest.approx(0.0)
    assert seeing.high - seeing.low > blind.high - blind.low


def test_blocks_whose_runs_were_equally_fast_need_no_slope() -> None:
    before, head = split(4, measured(4, 2.0))
    slow = [[replace(run, log_work=-0.7) for run in side] for side in (before, head)]
    found, still = certificate(*slow, "min", KNOWN, slope=Slope(-9.0, 9.0)), certificate(before, head, "min", KNOWN)
    assert (found.effect, found.low) == pytest.approx((still.effect, still.low))


def test_a_drift_between_blocks_and_within_leaves_the_certificate_alone() -> None:
    still = certificate(*split(6, measured(6, 2.0)), "min", KNOWN)
    moving = certificate(*split(6, measured(6, 2.0, drift=0.5)), "min", KNOWN)
    assert moving.effect == pytest.approx(still.effect) == pytest.approx(2.0)
    assert (moving.low, moving.high) == pytest.approx((still.low, still.high))


def test_the_metric_may_point_up() -> None:
    before, head = split(2, measured(2, -3.0))
    assert certificate(before, head, "max", KNOWN).effect == pytest.approx(3.0)
    assert certificate(before, head, "min", KNOWN).effect == pytest.approx(-3.0)


def test_with_sigma_known_the_interval_is_that_of_the_pairs() -> None:
    found = certificate(*split(4, measured(4, 2.0)), "min", Sigma(1.0, 10**6, 10**6, ""))
    assert (found.high - found.low) / 2 == pytest.approx(1.645 * sqrt(2 / 4), rel=1e-3)
    assert found.probability_better == pytest.approx(0.9977, abs=1e-4)


def test_a_block_with_a_disturbed_or_missing_run_is_left_out_whole() -> None:
    runs = measured(4, 2.0)
    runs[1] = Run(99.0, runs[1].seed, pair=0, tainted=True)
    before, head = split(4, runs)
    assert certificate(before, head, "min", KNOWN).pairs == 2
    assert block_effects(before[:-1], head, "min") == ()
    with pytest.raises(ValueError, match="no block A B B A is complete"):
        certificate(before[:-1], head, "min", KNOWN)


def test_blocks_alone_tell_an_error_but_one_block_does_not() -> None:
    noise = [0.1, -0.2, 0.3, 0.0, -0.1, 0.2, 0.0, 0.1]
    found = certificate(*split(4, measured(4, 2.0, noise)), "min", UNKNOWN)
    assert found.low < found.effect < found.high
    with pytest.raises(ValueError, match="measure a second block"):
        certificate(*split(2, measured(2, 2.0)), "min", UNKNOWN)


@pytest.mark.parametrize(
    ("gain", "probability", "certified"), [(1.0, 1.0, True), (0.0, 0.5, False), (-1.0, 0.0, False)]
)
def test_runs_that_repeat_exactly_leave_no_doubt(gain: float, probability: float, certified: bool) -> None:
    found = certificate(*split(4, measured(4, gain)), "min", UNKNOWN)
    assert (found.low, found.high) == (gain, gain)
    assert (found.probability_better, found.certified) == (probability, certified)


@pytest.mark.parametrize(("pairs", "z"), [(1, 3.66), (2, 3.26), (3, 3.14), (4, 3.08)])
def test_the_label_needs_the_published_scores_at_one_in_twenty(pairs: int, z: float) -> None:
    assert log(evidence_ratio(z, pairs)) == pytest.approx(log(20), abs=0.03)


def test_a_worse_head_is_never_certified() -> None:
    found = certificate(*split(4, measured(4, -9.0)), "min", KNOWN)
    assert not found.certified and found.probability_better < 1e-6
    assert in_words(found) == "worse by 9.00 (90 %: -10.16 to -7.84), P(better) <0.001, 4 pairs: not certified"


def test_the_line_says_all_of_it() -> None:
    found = certificate(*split(4, measured(4, 3.0)), "min", Sigma(0.5, 99, 90, ""))
    assert in_words(found) == "better by 3.00 (90 %: 2.42 to 3.58), P(better) >0.999, 4 pairs: certified"


@pytest.mark.parametrize("dof", [2, 20])
def test_looking_after_every_block_certifies_at_most_a_tenth_of_nothing_and_intervals_hold_nine_in_ten(
    dof: int,
) -> None:
    """2000 comparisons of a head with itself, with an estimated sigma; a share of a tenth has an error of 0.7 %."""
    rng = np.random.default_rng(5)
    many, certified, held = 2000, 0, 0
    for _ in range(many):
        sigma = Sigma(float(np.sqrt(rng.chisquare(dof) / dof)), dof + 1, dof, "")
        before, head = split(8, measured(8, 0.0, list(rng.normal(0, 1, 16))))
        looks = [certificate(before[:n], head[:n], "min", sigma) for n in (2, 4, 6, 8)]
        certified += any(look.certified for look in looks)
        held += looks[1].low <= 0 <= looks[1].high
    assert certified / many <= 0.10
    assert held / many == pytest.approx(0.9, abs=0.02)


def test_a_close_certificate_tells_its_probability_in_three_digits() -> None:
    found = certificate(*split(4, measured(4, 0.5)), "min", KNOWN)
    assert in_words(found) == "better by 0.50 (90 %: -0.66 to 1.66), P(better) 0.760, 4 pairs: not certified"


def test_runs_that_agree_to_the_last_digit_need_one_block() -> None:
    before = [Run(2.0, 7, pair=0), Run(2.0, 8, pair=1)]
    head = [Run(1.5, 7, pair=0), Run(1.5, 8, pair=1)]
    found = certificate(before, head, "min", Sigma(0.0, 3, 2, "3 runs"))
    assert (found.effect, found.low, found.high, found.probability_better, found.certified) == (0.5, 0.5, 0.5, 1, True)
