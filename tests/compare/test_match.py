"""When two logs contain the same change (same knobs and direction, similar ratio), and how far two logs agree."""

from __future__ import annotations

from typing import Any

import pytest

from autoresearch_mlx.compare.agreement import agreement, disagreements, spearman
from autoresearch_mlx.compare.comparison import untried
from autoresearch_mlx.compare.effects import Effect, Run
from autoresearch_mlx.compare.log_noise import UNKNOWN, Noise, of_effects
from autoresearch_mlx.compare.match import distance, pairs, same_way
from autoresearch_mlx.compare.verdict import judged, verdict
from autoresearch_mlx.judge.intervals import wilson


def run(order: int = 1, axis: str = "a", status: str = "discard", **changes: Any) -> Run:
    return Run(order, None, 1.0, status, axis, changes, "")


def effect(order: int, gain: float, axis: str = "a", status: str = "discard", **changes: Any) -> Effect:
    return Effect(run(order, axis, status, **changes), 1.0, gain, 100 * gain)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ((0.04, 0.03), (0.02, 0.015), True),
        ((524288, 262144), (65536, 16384), True),  # in logarithms, a quarter is twice a half
        ((524288, 262144), (65536, 8192), False),
        ((0.04, 0.03), (0.03, 0.04), False),
        ((8, 9), (4, 5), True),
        ((8, 9), (4, 6), False),
        ((0.0, 0.05), (0.0, 0.1), True),
        ((0.0, 0.05), (0.0, 0.2), False),
        ((0.0, 0.05), (0.05, 0.1), False),
        (("SSSL", "L"), ("SSLL", "L"), True),
        (("SSSL", "L"), ("SSSL", "SL"), False),
        ((None, 0.05), (0.1, 0.05), False),
        (((0.8, 0.95), (0.9, 0.95)), ((0.8, 0.99), (0.9, 0.99)), True),
    ],
)
def test_direction_and_ratio(a: tuple[Any, Any], b: tuple[Any, Any], same: bool) -> None:
    assert (distance(run(KNOB=a), run(KNOB=b)) is not None) == same


def test_other_knobs_are_another_change_but_the_devices_share_of_a_batch_is_none() -> None:
    both = run(TOTAL_BATCH_SIZE=(4, 2), DEVICE_BATCH_SIZE=(16, 8))
    assert distance(run(TOTAL_BATCH_SIZE=(8, 4)), both) == 0.0
    assert distance(run(DEPTH=(4, 5)), run(DEPTH=(4, 5), ASPECT_RATIO=(64, 57))) is None


def test_a_change_of_code_is_known_by_an_axis_that_names_one_change() -> None:
    assert distance(run(axis="weight_tying"), run(axis="weight_tying")) == 0.0
    assert distance(run(axis="attention"), run(axis="attention")) is None


def test_each_run_is_used_once_and_the_gain_does_not_choose() -> None:
    there = [effect(1, 0.1, K=(4, 2)), effect(2, -0.1, K=(4, 2))]
    here = [effect(5, -0.3, K=(8, 4)), effect(6, 0.9, K=(8, 4)), effect(7, 0.5, K=(8, 3))]
    assert [(p.there.run.order, p.here.run.order) for p in pairs(there, here)] == [(1, 5), (2, 6)]


def test_winners_that_nothing_here_resembles() -> None:
    there = [
        effect(1, 0.1, "depth", "keep", DEPTH=(8, 9)),
        effect(2, 0.3, "batch", "keep", TOTAL_BATCH_SIZE=(4, 2)),
        effect(3, 0.2, "rope", "keep", ROPE_BASE=(1, 20)),
        effect(4, 0.05, "rope", "keep", ROPE_BASE=(20, 40)),
        effect(5, 0.4, "seed", "keep", SEED=(1, 2)),
        effect(6, 0.4, "mlp"),
    ]
    here = [effect(1, -0.2, "depth", DEPTH=(4, 6), WIDTH=(1, 2)), effect(2, 0.1, "batch", TOTAL_BATCH_SIZE=(2, 4))]
    assert [e.run.order for e in untried(there, here)] == [2, 3]
    assert same_way(there[0].run, here[0].run) and not same_way(there[1].run, here[1].run)


def test_signs_ranks_and_their_intervals() -> None:
    gains = [(0.3, 0.2), (0.2, 0.3), (0.1, -0.1), (-0.1, -0.2), (-0.2, 0.1), (-0.3, -0.3)]
    found = agreement(pairs(*_sides(gains)))
    assert (found.pairs, found.signed, found.same) == (6, 6, 4)
    assert found.share == pytest.approx(2 / 3) and found.chance == pytest.approx(0.5)
    assert found.share_interval == pytest.approx(wilson(4 / 6, 6, 0.9))
    # Ranks 6 5 4 3 2 1 against 5 6 3 2 4 1: d^2 = 1 1 1 1 4 0.
    assert found.rank == pytest.approx(1 - 6 * 8 / (6 * 35))
    assert found.rank_interval is not None and found.rank_interval[0] < found.rank < found.rank_interval[1]


def _sides(gains: list[tuple[float, float]]) -> tuple[list[Effect], list[Effect]]:
    knobs = [{f"K{i}": (1, 2)} for i in range(len(gains))]
    there = [effect(i, a, **k) for i, ((a, _), k) in enumerate(zip(gains, knobs, strict=True), 1)]
    return there, [effect(i, b, **k) for i, ((_, b), k) in enumerate(zip(gains, knobs, strict=True), 1)]


def test_the_largest_disagreement_is_that_whose_weaker_side_is_largest() -> None:
    gains = [(0.3, -0.001), (0.02, -0.9), (-0.01, 0.01), (0.5, 0.5), (0.0, -0.4)]
    assert [p.there.run.order for p in disagreements(pairs(*_sides(gains)))] == [2, 3, 1]


def test_few_pairs_have_no_rank_correlation() -> None:
    found = agreement(pairs(*_sides([(0.1, 0.2), (0.2, 0.1)])))
    assert (found.rank, found.rank_interval) == (None, None)
    empty = agreement([])
    assert (empty.share, empty.share_interval, empty.chance) == (None, None, None)


def test_ties_share_their_rank() -> None:
    assert spearman([(1, 1), (2, 2), (2, 3), (3, 4)]) == pytest.approx(0.9487, abs=1e-4)
    assert spearman([(1, 1), (1, 2), (1, 3)]) is None
    assert spearman([(1, 3), (2, 2), (3, 1)]) == pytest.approx(-1)


def test_the_noise_of_others_is_an_estimate_from_runs_that_change_nothing() -> None:
    found = of_effects([effect(14, -0.0007, "seed"), effect(51, -0.0004, "rope.table"), effect(3, 0.1)])
    assert found.sigma == pytest.approx(((0.0007**2 + 0.0004**2) / 4) ** 0.5)
    assert (found.dof, found.estimate) == (2, True)
    assert found.source == "an estimate from 2 runs that change nothing (order 14, 51)"
    assert of_effects([effect(3, 0.1)]) == UNKNOWN


SIGMA = Noise(0.01, 1000, False, "many repeats")


@pytest.mark.parametrize(
    ("there", "here", "ours", "word"),
    [
        (0.1, 0.2, SIGMA, "carries over"),
        (-0.1, -0.2, SIGMA, "carries over"),
        (0.1, -0.2, SIGMA, "reverses"),
        (0.1, 0.02, SIGMA, "within noise"),
        (0.02, -0.2, SIGMA, "within noise"),
        (0.1, 0.2, UNKNOWN, "same sign?"),
        (0.1, -0.2, UNKNOWN, "opposite sign?"),
        (0.02, -0.2, UNKNOWN, "within noise"),
        (0.1, 0.0, UNKNOWN, "within noise"),
    ],
)
def test_verdicts(there: float, here: float, ours: Noise, word: str) -> None:
    assert verdict(judged(effect(1, there), SIGMA), judged(effect(1, here), ours)) == word


def test_an_interval_holds_nine_tenths_and_sigmas_count_single_runs() -> None:
    told = judged(effect(1, 0.05), SIGMA)
    assert told.low == pytest.approx(0.05 - 1.6449 * 0.01 * 2**0.5, abs=1e-5)
    assert told.sigmas == pytest.approx(5)


def test_nobody_tried_it() -> None:
    told = judged(effect(1, 0.1), SIGMA)
    assert (verdict(told, None), verdict(None, told)) == ("untested here", "tried only here")
