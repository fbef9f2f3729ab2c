"""Sigma comes from all repeats, and from nothing else."""

from __future__ import annotations

import math
from statistics import stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge_cases import runs

from autoresearch_mlx.judge.evidence import UNKNOWN, Run
from autoresearch_mlx.judge.sigma import pair_class, pair_differences, pooled, replicates, with_repeats


def test_of_one_group_it_is_the_standard_deviation() -> None:
    found = pooled([(1.0, 2.0, 4.0)])
    assert found.value == pytest.approx(stdev((1.0, 2.0, 4.0)))
    assert (found.n, found.dof, found.source) == (3, 2, "3 runs of 1 commit")


def test_groups_are_pooled_by_their_degrees_of_freedom() -> None:
    found = pooled([(1.0, 3.0), (10.0, 11.0, 12.0), (7.0,)])
    assert found.value == pytest.approx(math.sqrt((2.0 + 2.0) / 3))
    assert (found.n, found.dof) == (5, 3)


@pytest.mark.parametrize("groups", [[], [(1.0,)], [(1.0,), (2.0,)]])
def test_without_a_repeat_sigma_is_unknown_not_a_guess(groups: list[tuple[float, ...]]) -> None:
    assert pooled(groups) == UNKNOWN
    assert UNKNOWN.value is None and not UNKNOWN.known


def test_repeats_that_agree_to_the_last_digit_give_zero_which_is_no_known_noise() -> None:
    found = pooled([(2.0, 2.0, 2.0)])
    assert found.value == 0 and not found.known


def test_one_wild_run_is_cut_to_three_deviations() -> None:
    calm = [(0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0)]
    wild = [*calm, (0.0, 100.0)]
    plain, cut = pooled(calm).value, pooled(wild).value
    assert plain is not None and cut is not None
    assert plain < cut < 2.5 * plain


def test_with_a_handful_of_runs_nothing_is_cut() -> None:
    """If two of three runs are alike, the median deviation is tiny, and cutting by it would make sigma too small."""
    assert pooled([(1.0, 1.05, 3.0)]).value == pytest.approx(stdev((1.0, 1.05, 3.0)))


def test_cutting_hardly_moves_sigma_of_normal_noise() -> None:
    rng = np.random.default_rng(7)
    groups = [tuple(rng.normal(0, 1, 4)) for _ in range(2000)]
    # 6000 degrees of freedom give sigma to 0.9 %; cutting at 3 deviations may take away 1 % more.
    assert pooled(groups).value == pytest.approx(1, abs=0.03)


@given(st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=4), max_size=6), st.floats(-1e3, 1e3))
def test_where_a_group_lies_does_not_matter(groups: list[list[float]], shift: float) -> None:
    here, there = pooled(groups).value, pooled([[v + shift for v in g] for g in groups]).value
    assert (here is None) == (there is None)
    if here is not None:
        assert there == pytest.approx(here, abs=1e-6)


def test_only_undisturbed_unselected_runs_of_one_commit_and_regime_are_repeats() -> None:
    told = [
        ("a", Run(1.0, 0)),
        ("a", Run(2.0, 1)),
        ("a", Run(9.0, 2, tainted=True)),
        ("a", Run(5.0, 3, regime=1)),
        ("b", Run(3.0, 0, fresh=False)),
        ("b", Run(4.0, 1)),
    ]
    assert [[run.value for run in group] for group in replicates(told)] == [[1.0, 2.0], [5.0], [4.0]]


def test_a_candidates_own_repeats_add_to_what_was_known() -> None:
    before = pooled([(0.0, 2.0)])
    assert with_repeats(before, (5.0,)) == before
    after = with_repeats(before, (5.0, 5.0, 5.0))
    assert after.value == pytest.approx(math.sqrt(2 / 3)) and after.dof == 3
    with pytest.raises(ValueError, match="nothing was measured twice"):
        with_repeats(UNKNOWN, (1.0, 2.0))


def test_pairs_share_seed_and_regime_and_are_undisturbed() -> None:
    ours = (*runs(1.0, 2.0, 3.0), Run(0.0, 7, tainted=True), Run(9.0, 1, regime=1))
    theirs = (Run(0.5, 0), Run(1.0, 1), Run(1.5, 1), Run(5.0, 7))
    assert pair_differences(ours, theirs) == (0.5, 0.75)


@pytest.mark.parametrize(
    ("axis", "kind"),
    [
        ("lr.matrix", "local"),
        ("weight_decay.value", "local"),
        ("schedule.warmup", "schedule"),
        ("depth", "structural"),
        ("knob.new", "structural"),
        (None, "structural"),
    ],
)
def test_changes_pair_by_class_and_the_unknown_are_the_least_alike(axis: str | None, kind: str) -> None:
    assert pair_class(axis) == kind
