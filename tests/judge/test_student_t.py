"""Student's t agrees with printed tables, so that a threshold has the same error rate for any number of runs."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_mlx.judge.student_t import cumulative, normal_score, quantile


@pytest.mark.parametrize(
    ("share", "dof", "t"),
    [
        (0.975, 1, 12.706205),
        (0.975, 2, 4.302653),
        (0.95, 3, 2.353363),
        (0.995, 4, 4.604095),
        (0.975, 10, 2.228139),
        (0.9, 30, 1.310415),
        (0.999, 7, 4.785290),
    ],
)
def test_quantiles_are_those_of_the_tables(share: float, dof: int, t: float) -> None:
    assert quantile(share, dof) == pytest.approx(t, abs=2e-6)
    assert quantile(1 - share, dof) == pytest.approx(-t, abs=2e-6)


def test_one_degree_is_the_cauchy_law_and_many_are_the_normal_one() -> None:
    assert cumulative(2.0, 1) == pytest.approx(0.5 + math.atan(2) / math.pi)
    assert cumulative(1.5, 150) == pytest.approx(NormalDist().cdf(1.5), abs=2e-3)
    assert quantile(0.95, 10_000) == pytest.approx(1.644854, abs=1e-6)


@given(st.floats(-30, 30), st.floats(-30, 30), st.integers(1, 400))
def test_the_score_rises_with_t_is_odd_and_never_larger(one: float, other: float, dof: int) -> None:
    low, high = sorted((one, other))
    assert normal_score(low, dof) <= normal_score(high, dof)
    assert normal_score(-one, dof) == -normal_score(one, dof)
    assert abs(normal_score(one, dof)) <= abs(one) + 1e-9


def test_the_score_has_the_tail_of_t() -> None:
    assert normal_score(quantile(0.99, 2), 2) == pytest.approx(NormalDist().inv_cdf(0.99))
    assert normal_score(1e9, 3) == 8.0


@pytest.mark.parametrize(("share", "dof"), [(0.0, 3), (1.0, 3), (0.9, 0)])
def test_what_has_no_quantile_is_refused(share: float, dof: int) -> None:
    with pytest.raises(ValueError, match="no quantile"):
        quantile(share, dof)
