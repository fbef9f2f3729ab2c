"""Effects of several machines are combined: worked examples from the literature, and properties of the result."""

import math

import pytest

from autoresearch_mlx.judge.combined import (
    Between,
    Combined,
    Estimate,
    between,
    chi_square_tail,
    cochran,
    combine,
    moments,
    paule_mandel,
)


def estimates(effects: list[float], variances: list[float]) -> list[Estimate]:
    return [Estimate(y, math.sqrt(v)) for y, v in zip(effects, variances, strict=True)]


LABORATORIES = estimates(
    [61.0, 61.4, 62.21, 62.3, 62.34, 62.6, 62.7, 62.84, 65.9],
    [0.2025, 1.21, 0.09, 0.2025, 0.3844, 0.5625, 0.0676, 0.0225, 1.8225],
)
"""Nine laboratories that measured one sample (Kacker, Metrologia 41, 2004, table 1)."""

TRIALS = (
    (4, 119, 11, 128),
    (6, 300, 29, 274),
    (3, 228, 11, 209),
    (62, 13536, 248, 12619),
    (33, 5036, 47, 5761),
    (180, 1361, 372, 1079),
    (8, 2537, 10, 619),
    (505, 87886, 499, 87892),
    (29, 7470, 45, 7232),
    (17, 1699, 65, 1600),
    (186, 50448, 141, 27197),
    (5, 2493, 3, 2338),
    (27, 16886, 29, 17825),
)
"""Thirteen trials of a vaccine: ill and well people with the vaccine, ill and well people without it (Colditz et
al., JAMA 271, 1994)."""


def vaccine() -> list[Estimate]:
    """Return the logarithms of the risk ratios; most programs for meta-analysis have these trials as an example."""
    return [
        Estimate(math.log(a / (a + b)) - math.log(c / (c + d)), math.sqrt(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)))
        for a, b, c, d in TRIALS
    ]


def test_nine_laboratories_as_r_metafor_combines_them() -> None:
    found = combine(LABORATORIES)

    assert found.q == pytest.approx(24.8018977, abs=1e-6)
    assert found.chance == pytest.approx(0.00167935, abs=1e-7)
    assert found.tau**2 == pytest.approx(0.7053953, abs=1e-6)
    assert (found.effect, found.error) == pytest.approx((62.4076199, 0.3380306), abs=1e-6)
    assert found.dof == 8


def test_thirteen_trials_as_r_metafor_combines_them() -> None:
    found = combine(vaccine())
    excess, c = moments(vaccine())

    assert found.q == pytest.approx(152.2330, abs=1e-4)
    assert excess / c == pytest.approx(0.3088, abs=1e-4), "DerSimonian and Laird's tau^2"
    assert found.tau**2 == pytest.approx(0.3181, abs=1e-4), "Paule and Mandel's"
    assert (found.effect, found.error) == pytest.approx((-0.7150, 0.1809), abs=1e-4)
    assert found.i_squared == pytest.approx(0.9212, abs=1e-4)


def test_a_known_spread_gives_dersimonian_and_lairds_result() -> None:
    excess, c = moments(vaccine())
    found = combine(vaccine(), Between(excess / c))

    assert (found.effect, found.error) == pytest.approx((-0.7141, 0.1787), abs=1e-4)


def test_equal_effects_are_not_called_more_certain_than_their_errors_allow() -> None:
    found = combine([Estimate(1.0, 0.5), Estimate(1.0, 0.5)])

    assert found.error == pytest.approx(0.5 / math.sqrt(2))
    assert (found.tau, found.q, found.i_squared, found.chance) == (0, 0, 0, 1)


def test_two_machines_alone_say_little_about_others() -> None:
    found = combine([Estimate(3.0, 0.5), Estimate(1.0, 0.5)])

    assert found.effect == pytest.approx(2.0)
    assert found.tau**2 == pytest.approx(1.75), "half the square of the difference, minus that of an error"
    assert found.error == pytest.approx(1.0), "half the difference"
    assert found.low < 0 < found.high


def test_what_other_changes_showed_about_the_machines_makes_the_same_two_say_more() -> None:
    pair = [Estimate(3.0, 0.5), Estimate(2.0, 0.5)]

    assert combine(pair).low < 0 < combine(pair, Between(0.1)).low
    assert combine(pair, Between(0.1)).score > 2 > combine(pair).score


def test_the_more_precise_machine_counts_for_more() -> None:
    found = combine([Estimate(1.0, 0.1), Estimate(3.0, 1.0)], Between(0.0))

    assert found.effect == pytest.approx((100 * 1 + 1 * 3) / 101)


def test_one_machine_is_its_own_mean() -> None:
    found = combine([Estimate(2.0, 0.5, dof=4)])

    assert (found.effect, found.error, found.dof, found.tau, found.machines) == (2.0, 0.5, 4, 0.0, 1)


def test_few_degrees_of_freedom_on_the_machine_that_counts_most_stay_few() -> None:
    assert combine([Estimate(1, 0.1, dof=2), Estimate(1, 5.0, dof=100)], Between(0)).dof == 2
    assert combine([Estimate(1, 0.5, dof=2), Estimate(1, 0.5, dof=2)], Between(0)).dof == 4


def test_the_spread_between_machines_is_learned_from_many_changes() -> None:
    apart = [[Estimate(0.0, 0.5), Estimate(2.0, 0.5)]] * 20
    alike = [[Estimate(1.0, 0.5), Estimate(1.2, 0.5)]] * 20

    assert between(apart, assumed=0.25, weight=4).variance == pytest.approx(1.75, rel=0.2)
    assert between(alike, assumed=0.25, weight=4).variance == 0
    assert between([], assumed=0.25, weight=4) == Between(0.25, 0)
    assert between([[Estimate(1.0, 0.5)]], assumed=0.25, weight=4) == Between(0.25, 0), "one machine shows no spread"


def test_changes_that_lie_much_further_apart_are_left_out_and_counted() -> None:
    alike = [[Estimate(1.0, 0.5), Estimate(1.2, 0.5)]] * 3
    found = between([*alike, [Estimate(500.0, 1.0), Estimate(480.0, 1.0)]], assumed=0.25, weight=4)

    assert found == Between(between(alike, assumed=0.25, weight=4).variance, changes=4, left_out=1)


@pytest.mark.parametrize(("q", "dof", "tail"), [(3.841459, 1, 0.05), (5.991465, 2, 0.05), (7.814728, 3, 0.05)])
def test_the_tail_of_chi_square_as_tables_have_it(q: float, dof: int, tail: float) -> None:
    assert chi_square_tail(q, dof) == pytest.approx(tail, abs=1e-6)


def test_an_effect_without_an_error_is_refused() -> None:
    for effect, error, dof in ((1.0, 0.0, 5), (math.nan, 1.0, 5), (1.0, math.inf, 5), (1.0, 1.0, 0)):
        with pytest.raises(ValueError, match="not an estimate"):
            Estimate(effect, error, dof)
    with pytest.raises(ValueError, match="nothing to combine"):
        combine([])


def test_the_unit_does_not_matter() -> None:
    small = [Estimate(e.effect / 1000, e.error / 1000) for e in LABORATORIES]

    assert cochran(small) == pytest.approx(cochran(LABORATORIES))
    assert paule_mandel(small) == pytest.approx(paule_mandel(LABORATORIES) / 1e6)
    assert isinstance(combine(small), Combined)
