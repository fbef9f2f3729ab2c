"""The incumbent is measured again from time to time, and a shift of the machine opens a new regime."""

from __future__ import annotations

import math

import pytest
from judge_cases import WELL_KNOWN, runs

from autoresearch_mlx.judge.drift import drifted
from autoresearch_mlx.judge.evidence import UNKNOWN, Run, Sigma
from autoresearch_mlx.judge.sigma import age_of, refresh_due

KNOWN = Sigma(1.0, 300, 250, "many runs")


@pytest.mark.parametrize(
    ("measured", "age"), [((), 0), ((True,), 0), ((True, False, False), 2), ((False,) * 4, 4), ((False, True), 0)]
)
def test_age_counts_experiments_since_the_incumbent_was_measured(measured: tuple[bool, ...], age: int) -> None:
    assert age_of(measured) == age


def test_it_is_due_every_so_many_experiments() -> None:
    assert not refresh_due((True, *[False] * 9), every=10)
    assert refresh_due((True, *[False] * 10), every=10)
    with pytest.raises(ValueError, match="every 0"):
        refresh_due((), every=0)


@pytest.mark.parametrize("way", [1, -1])
@pytest.mark.parametrize(("stored", "new"), [(1, 1), (4, 1), (4, 2)])
def test_beyond_three_standard_errors_of_the_difference_either_way_the_machine_has_changed(
    way: int, stored: int, new: int
) -> None:
    error = math.sqrt(1 / stored + 1 / new)
    old = runs(*[10.0] * stored)
    assert drifted(old, runs(*[10 + way * 3.01 * error] * new), KNOWN)
    assert not drifted(old, runs(*[10 + way * 2.99 * error] * new), KNOWN)


def test_three_runs_do_not_know_sigma_well_enough_for_an_alarm_at_four() -> None:
    assert not drifted(runs(10.0, 10.0, 10.0), runs(14.5), Sigma(1.0, 3, 2, ""))
    assert drifted(runs(10.0, 10.0, 10.0), runs(14.5), Sigma(1.0, 30, 20, ""))


def test_one_wild_run_is_settled_by_a_second() -> None:
    assert drifted(runs(10.0, 10.0, 10.0), runs(14.0), KNOWN)
    assert not drifted(runs(10.0, 10.0, 10.0), runs(14.0, 9.8), KNOWN)


def test_selected_and_tainted_runs_tell_no_drift_and_nothing_compares_without_sigma() -> None:
    lucky = (Run(1.0, 0, fresh=False), *runs(10.0, 10.0, first_seed=1))
    assert not drifted(lucky, runs(10.1), KNOWN)
    assert not drifted(runs(10.0), (Run(99.0, 1, tainted=True),), KNOWN)
    assert not drifted((), runs(10.0), WELL_KNOWN)
    assert not drifted(runs(10.0), runs(99.0), UNKNOWN)
