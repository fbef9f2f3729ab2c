"""From logits to nats: the same function on every device, also for extreme logits."""

from __future__ import annotations

import numpy as np
import pytest

from autoresearch_mlx.trial.exchange import Invalid
from autoresearch_mlx.trial.scoring import BOUND, Losses, Score, bits_per_byte, check_finite, check_sums, score_on


@pytest.fixture(params=["cpu", "gpu"])
def score(request: pytest.FixtureRequest) -> Score:
    """Return the scores by the CPU's code and by the GPU's code; MLX runs both on a CPU here."""
    return score_on(request.param)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_losses_are_log_softmax_whatever_the_type(score: Score, dtype: str) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 4, (2, 5, 30)).astype(np.float32)
    targets = rng.integers(0, 30, (2, 5)).astype(np.int32)
    if dtype == "bfloat16":
        bits = (logits.view(np.uint32) >> 16).astype(np.uint16)
        logits = (bits.astype(np.uint32) << 16).view(np.float32)
    else:
        bits = logits.astype(dtype)
        logits = bits.astype(np.float32)
    wide = logits.astype(np.float64)
    normalisers = np.log(np.exp(wide).sum(-1))
    exact = normalisers - np.take_along_axis(wide, targets[..., None], -1)[..., 0]
    found = score(bits, dtype, targets)
    assert found.nats == pytest.approx(exact, abs=1e-5)
    assert found.normalisers == pytest.approx(normalisers, abs=1e-5)
    assert (found.nats.dtype, found.clipped) == (np.float32, 0)
    check_sums(bits, dtype, found, rng)


@pytest.mark.parametrize("height", [1e3, 1e6, 1e9, 1e30, -1e9])
def test_constant_logits_of_any_height_are_worth_the_whole_vocabulary(score: Score, height: float) -> None:
    logits = np.full((1, 3, 1024), height, np.float32)
    found = score(logits, "float32", np.array([[0, 7, 1023]], np.int32))
    assert found.nats[0] == pytest.approx(np.full(3, np.log(1024)), abs=1e-4)
    assert found.clipped == (0 if abs(height) <= BOUND else logits.size)
    check_sums(logits, "float32", found, np.random.default_rng(0))


def test_logits_beyond_the_bound_are_clipped_and_counted(score: Score) -> None:
    logits = np.array([[[1e30, -1e30, 0.0], [2e6, 1.5e6, 0.0]]], np.float32)
    found = score(logits, "float32", np.array([[0, 1]], np.int32))
    assert found.nats[0] == pytest.approx([0.0, np.log(2)], abs=1e-6)
    assert found.clipped == 4


def test_forbidden_tokens_have_no_finite_loss_and_leave_the_others_alone(score: Score) -> None:
    logits = np.array([[[0.0, -np.inf, 0.0], [0.0, -np.inf, 0.0]]], np.float32)
    nats = score(logits, "float32", np.array([[0, 1]], np.int32)).nats
    assert nats[0, 0] == pytest.approx(np.log(2)) and np.isposinf(nats[0, 1])
    check_finite(nats, np.array([[True, False]]))
    with pytest.raises(Invalid, match=r"finite: .* for 1 of 2 tokens"):
        check_finite(nats, np.array([[True, True]]))


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_nan_and_infinity_anywhere_are_not_finite_even_where_nothing_counts(score: Score, odd: float) -> None:
    logits = np.array([[[0.0, odd, 0.0], [0.0, 1.0, 0.0]]], np.float32)
    nats = score(logits, "float32", np.array([[0, 0]], np.int32)).nats
    assert np.isnan(nats[0, 0]) and np.isfinite(nats[0, 1])
    with pytest.raises(Invalid, match="finite"):
        check_finite(nats, np.array([[False, True]]))


def test_a_wrong_normaliser_is_found_in_float64(score: Score) -> None:
    logits = np.random.default_rng(2).normal(0, 3, (4, 6, 50)).astype(np.float32)
    right = score(logits, "float32", np.zeros((4, 6), np.int32))
    wrong = Losses(right.nats, right.normalisers + np.float32(0.01), 0)
    with pytest.raises(Invalid, match=r"arithmetic: the probabilities of a token sum to 0\.99"):
        check_sums(logits, "float32", wrong, np.random.default_rng(3))


def test_special_tokens_weigh_nothing() -> None:
    weight, targets = np.array([0, 2, 4], np.int32), np.array([[1, 2, 0]], np.int32)
    assert bits_per_byte(3.0, targets, weight) == pytest.approx(3 / (6 * np.log(2)))
