"""What the witness is asked, and which differences between two answers are one too many."""

from __future__ import annotations

import numpy as np
import pytest

from autoresearch_mlx.trial.exchange import Answer, Invalid
from autoresearch_mlx.trial.scoring import bits_per_byte, check_finite, losses
from autoresearch_mlx.trial.witness import TOLERANCES, Questions, check, draw_questions, rows_per_call

ROWS, LENGTH, SIZE = 48, 20, 4


@pytest.fixture
def inputs() -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(0).integers(0, 50, (ROWS, LENGTH)).astype(np.int32)


def drawn(inputs: np.ndarray, count: int = 30) -> list[Questions]:  # type: ignore[type-arg]
    return [draw_questions(inputs, SIZE, np.random.default_rng(i)) for i in range(count)]


def test_probes_have_the_shape_of_scored_calls_and_are_few(inputs: np.ndarray) -> None:  # type: ignore[type-arg]
    for one in drawn(inputs):
        assert one.inputs.shape == (8, LENGTH) and one.inputs.dtype == np.int32
        assert len(one.again) == SIZE and one.again[0] % SIZE == 0


def test_a_mixed_row_is_its_row_up_to_the_cut_and_another_one_from_there(inputs: np.ndarray) -> None:  # type: ignore[type-arg]
    for one in drawn(inputs):
        for row, cut, probe in zip(one.mixed, one.cuts, one.inputs, strict=True):
            assert (probe[:cut] == inputs[row, :cut]).all()
            if cut < LENGTH:
                assert probe[cut] != inputs[row, cut]
                assert any((probe[cut:] == other).all() for other in inputs[:, cut:])


def test_rows_and_positions_are_spread_over_the_whole_pass(inputs: np.ndarray) -> None:  # type: ignore[type-arg]
    many = drawn(inputs, 200)
    assert {int(row) for one in many for row in one.mixed} == set(range(ROWS))
    assert {int(cut) for one in many for cut in one.cuts} == set(range(1, LENGTH + 1))
    assert {int(one.again[0]) for one in many} == set(range(ROWS // 2, ROWS, SIZE))
    assert all(any(one.cuts == LENGTH) and any(one.cuts < LENGTH) for one in many)


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 2), (2, 1), (3, 5), (7, 2)])
def test_the_smallest_corpora_get_questions(rows: int, length: int) -> None:
    one = draw_questions(np.zeros((rows, length), np.int32), rows_per_call(rows, length, 10), np.random.default_rng(1))
    assert len(one.again) >= 1 and len(one.mixed) >= 8
    nats = np.zeros((rows, length), np.float32)
    check(one, nats, nats[one.again], nats[one.mixed], TOLERANCES["float32"])


def test_a_call_fits_its_memory_and_a_pass_has_many() -> None:
    assert rows_per_call(192, 256, 1024) == 8
    assert rows_per_call(768, 2048, 8192) == 2
    assert rows_per_call(10240, 2048, 8192) == 2
    assert rows_per_call(4, 256, 1024) == 4
    assert rows_per_call(768, 2048, 2**20) == 1


@pytest.fixture
def scored() -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(5).uniform(0, 8, (ROWS, LENGTH)).astype(np.float32)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_rounding_passes_and_a_small_shift_of_all_losses_does_not(
    dtype: str,
    inputs: np.ndarray,
    scored: np.ndarray,  # type: ignore[type-arg]
) -> None:
    tolerance, rng = TOLERANCES[dtype], np.random.default_rng(3)
    for one in drawn(inputs):
        again, mixed = (
            scored[rows] + rng.normal(0, tolerance.noise / 2, scored[rows].shape) for rows in (one.again, one.mixed)
        )
        check(one, scored, again, mixed, tolerance)
        with pytest.raises(Invalid, match=r"repeat: .*on average"):
            check(one, scored, again + 1.5 * tolerance.noise, mixed, tolerance)
        with pytest.raises(Invalid, match=r"rows: .*on average"):
            check(one, scored, again, mixed + 1.5 * tolerance.noise * (one.cuts == LENGTH)[:, None], tolerance)


def test_one_large_difference_is_enough(inputs: np.ndarray, scored: np.ndarray) -> None:  # type: ignore[type-arg]
    one = drawn(inputs, 1)[0]
    row = int(np.flatnonzero(one.cuts < LENGTH)[0])
    mixed = scored[one.mixed].copy()
    mixed[row, one.cuts[row]] += 9  # after the cut all may differ
    check(one, scored, scored[one.again], mixed, TOLERANCES["float32"])
    mixed[row, one.cuts[row] - 1] += 0.02
    with pytest.raises(Invalid, match=r"causality: .*one loss by 0.02 nats, and 0.01 are allowed"):
        check(one, scored, scored[one.again], mixed, TOLERANCES["float32"])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_losses_are_log_softmax_whatever_the_type(dtype: str) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 4, (2, 5, 30)).astype(np.float32)
    targets = rng.integers(0, 30, (2, 5)).astype(np.int32)
    if dtype == "bfloat16":
        bits = (logits.view(np.uint32) >> 16).astype(np.uint16)
        logits = (bits.astype(np.uint32) << 16).view(np.float32)
    else:
        bits = logits.astype(dtype)
        logits = bits.astype(np.float32)
    exact = logits.astype(np.float64)
    exact = np.log(np.exp(exact).sum(-1)) - np.take_along_axis(exact, targets[..., None], -1)[..., 0]
    assert losses(Answer(bits, dtype, dtype), targets) == pytest.approx(exact, abs=1e-5)
    assert losses(Answer(bits, dtype, dtype), targets).dtype == np.float32


def test_huge_and_forbidden_logits_are_no_trouble_and_infinite_losses_are() -> None:
    logits = np.array([[[1e30, -1e30, 0.0], [0.0, -np.inf, 0.0], [np.inf, 0.0, 0.0]]], np.float32)
    nats = losses(Answer(logits, "float32", "float32"), np.array([[0, 0, 0]], np.int32))
    assert nats[0, :2] == pytest.approx([0.0, np.log(2)])
    counted = np.array([[True, True, False]])
    check_finite(nats, counted)
    with pytest.raises(Invalid, match=r"finite: .* for 1 of 3 tokens"):
        check_finite(nats, np.ones_like(counted))


def test_special_tokens_weigh_nothing() -> None:
    nats = np.array([[1.0, 2.0, 99.0]], np.float32)
    weight = np.array([0, 2, 4], np.int32)
    assert bits_per_byte(nats, np.array([[1, 2, 0]], np.int32), weight) == pytest.approx(3 / (6 * np.log(2)))
