"""The reported gain: shrunk, with its error, in as many digits as the error supports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_mlx.judge.difference import Difference
from autoresearch_mlx.judge.shrinkage import Effect, digits_of, effect_of, effect_variance, in_words


def comparison(gain: float, error: float = 0.8, dof: int = 30, sigma: float = 1.0) -> Difference:
    return Difference(gain, error, dof, sigma, 100.0, 2, 2)


def told(gain: float, error: float, candidate: int = 2, incumbent: int = 2) -> str:
    return in_words(Effect(gain, 0, 0, gain / error, candidate, incumbent, error, gain))


def test_the_line_is_the_one_that_people_read() -> None:
    assert told(0.0041, 0.0018) == "gain 0.0041 +- 0.0018 (2.3 sigma, 2 runs each)"


@pytest.mark.parametrize(
    ("candidate", "incumbent", "words"),
    [(1, 1, "1 run each"), (2, 2, "2 runs each"), (1, 3, "1 run against 3"), (3, 1, "3 runs against 1")],
)
def test_runs_are_counted_in_words_that_fit(candidate: int, incumbent: int, words: str) -> None:
    assert told(1.0, 1.0, candidate, incumbent).endswith(f", {words})")


@pytest.mark.parametrize(
    ("error", "digits"), [(0.0018, 4), (0.00999, 4), (0.021, 3), (0.5, 2), (3.0, 1), (47.0, 0), (1e-30, 12), (0.0, 6)]
)
def test_two_digits_of_the_error_decide_how_many_are_shown(error: float, digits: int) -> None:
    assert digits_of(error) == digits


def test_a_loss_is_called_one() -> None:
    assert told(-0.0041, 0.0018).startswith("loss 0.0041 +- 0.0018 (2.3 sigma")


@given(st.floats(-50, 50), st.floats(0.1, 3), st.lists(st.floats(-20, 20), max_size=6))
def test_a_gain_is_shrunk_towards_nothing_never_past_it(gain: float, error: float, recent: list[float]) -> None:
    effect = effect_of(comparison(gain, error), recent)
    assert abs(effect.gain) <= abs(gain)
    assert effect.gain * gain >= 0
    assert effect.low <= effect.gain <= effect.high


@given(st.floats(-20, 20), st.floats(-20, 20))
def test_a_larger_gain_is_told_larger(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert effect_of(comparison(low), ()).gain <= effect_of(comparison(high), ()).gain


def test_a_gain_that_is_large_against_its_error_is_nearly_told_in_full_and_a_small_one_is_not() -> None:
    assert effect_of(comparison(20.0), ()).gain > 0.98 * 20
    assert effect_of(comparison(0.8), ()).gain < 0.6 * 0.8


def test_a_night_of_large_effects_shrinks_less() -> None:
    assert effect_of(comparison(2.0), (9.0, 8.0)).gain > 1.3 * effect_of(comparison(2.0), (0.5, 0.2)).gain


def test_effects_no_larger_than_their_error_leave_the_prior_only() -> None:
    assert effect_variance((0.5, -0.5), 1.0, 0.8) == pytest.approx(3 * 0.8**2 / 5)


def test_few_repeats_behind_sigma_widen_the_interval() -> None:
    sure, unsure = effect_of(comparison(2.0), ()), effect_of(comparison(2.0, dof=2), ())
    assert unsure.high - unsure.low > 1.6 * (sure.high - sure.low)


def test_a_difference_without_an_error_is_no_effect() -> None:
    with pytest.raises(ValueError, match="standard error"):
        effect_of(comparison(1.0, error=0.0), ())
