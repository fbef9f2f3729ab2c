"""The rows that the two model processes are asked about, in which order, and where each is cut."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from autoresearch_mlx.trial.cuts import LEAD, Call, Plan, calls, draw_plan, rows_per_call
from autoresearch_mlx.trial.exchange import SLOTS

LENGTH = 20
SIZES = [(48, 4), (47, 5), (7, 4), (3, 1), (1, 4), (9, 2)]


def text(rows: int, length: int = LENGTH) -> np.ndarray:  # type: ignore[type-arg]
    """Return rows that share no token with each other, so that each token identifies its row."""
    return (np.arange(rows)[:, None] * 1000 + np.arange(length)).astype(np.int32)


def other(length: int = LENGTH) -> np.ndarray:  # type: ignore[type-arg]
    """Return rows of other text, one token longer."""
    return text(1200, length + 1)[1100:]


def drawn(rows: int, size: int, seed: int = 0, length: int = LENGTH) -> tuple[Plan, list[tuple[Call, ...]]]:
    rng = np.random.default_rng(seed)
    tails = other(length)
    plan = draw_plan(rows, len(tails), length, size, rng)
    return plan, list(calls(plan, text(rows, length), tails, size, rng))


@pytest.mark.parametrize(("rows", "size"), SIZES)
def test_every_row_is_scored_whole_by_one_process_and_shown_cut_to_the_other(rows: int, size: int) -> None:
    plan, rounds = drawn(rows, size)
    whole, cut = Counter(), Counter()  # type: ignore[var-annotated]
    for round_ in rounds:
        for process, call in enumerate(round_):
            for row, at in zip(call.rows[call.counts], call.cuts[call.counts], strict=True):
                (whole if at == LENGTH else cut)[int(row), process] += 1
    assert whole == {(row, int(plan.scorer[row])): 1 for row in range(rows)}
    assert cut == {(row, 1 - int(plan.scorer[row])): 1 for row in range(rows)}


@pytest.mark.parametrize(("rows", "size"), SIZES)
def test_a_row_is_shown_whole_only_after_the_answer_to_its_cut(rows: int, size: int) -> None:
    _, rounds = drawn(rows, size)
    at = {
        (int(row), bool(cut == LENGTH)): number
        for number, round_ in enumerate(rounds)
        for call in round_
        for row, cut in zip(call.rows[call.counts], call.cuts[call.counts], strict=True)
    }
    assert all(at[row, True] == at[row, False] + LEAD for row in range(rows))
    assert LEAD == SLOTS, "a round is asked while the one before it is computed, and no earlier"


@pytest.mark.parametrize(("rows", "size"), SIZES)
def test_all_calls_have_one_shape_and_mix_whole_and_cut_rows(rows: int, size: int) -> None:
    _, rounds = drawn(rows, size)
    assert {call.inputs.shape for round_ in rounds for call in round_} == {(size, LENGTH)}
    middle = [call for round_ in rounds[LEAD:-LEAD] for call in round_]
    if size > 2:
        assert all((call.cuts == LENGTH).any() and (call.cuts < LENGTH).any() for call in middle)


def test_a_cut_row_is_its_row_up_to_the_cut_and_other_text_from_there() -> None:
    _, rounds = drawn(48, 4)
    for call in (call for round_ in rounds for call in round_):
        for row, cut, counts, inputs in zip(call.rows, call.cuts, call.counts, call.inputs, strict=True):
            assert (inputs % 1000 == np.arange(LENGTH)).all()
            mine, others = inputs[: cut * counts] // 1000, set(inputs[cut * counts :] // 1000)
            assert (mine == row).all()
            assert len(others) <= 1 and all(each >= 1100 for each in others)


def test_no_process_sees_more_of_a_row_than_its_prefix_before_it_is_asked_about_it() -> None:
    """Tails and fillings come from other text, so remembering them does not reveal the next token of a cut row."""
    _, rounds = drawn(47, 5)
    seen: set[int] = set()
    for round_ in rounds:
        for call in round_:
            cut = call.counts & (call.cuts < LENGTH)
            for row, at in zip(call.rows[cut], call.cuts[cut], strict=True):
                assert row * 1000 + at not in seen
        seen |= {int(token) for call in round_ for token in call.inputs.ravel()}


def test_cuts_roles_and_orders_are_spread_evenly() -> None:
    plans = [drawn(48, 4, seed)[0] for seed in range(200)]
    cuts = np.concatenate([plan.cuts for plan in plans])
    assert set(cuts) == set(range(1, LENGTH))
    assert np.bincount(cuts)[1:] == pytest.approx(np.full(LENGTH - 1, len(cuts) / (LENGTH - 1)), rel=0.2)
    assert np.mean([plan.scorer for plan in plans], axis=0) == pytest.approx(np.full(48, 0.5), abs=0.15)
    assert len({plan.order.tobytes() for plan in plans}) == 200
    assert len({int(tail) for plan in plans for tail in plan.tails}) == 100


def test_a_tail_is_drawn_without_a_look_at_the_true_one() -> None:
    """A tail that never began with the true token would show which token is not the next one."""
    same = text(6)
    same[:] = same[0]
    rng = np.random.default_rng(1)
    rounds = list(calls(draw_plan(6, 6, LENGTH, 4, rng), same, same, 4, rng))
    assert all((call.inputs == same[0]).all() for round_ in rounds for call in round_)


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 2), (2, 1), (3, 5), (7, 2)])
def test_the_smallest_corpora_are_asked_too(rows: int, length: int) -> None:
    plan, rounds = drawn(rows, rows_per_call(rows, length, 10), length=length)
    assert {int(row) for round_ in rounds for call in round_ for row in call.rows[call.counts]} == set(range(rows))
    assert (plan.cuts >= 1).all()


def test_a_call_fits_its_memory_and_a_pass_has_many() -> None:
    assert rows_per_call(192, 256, 1024) == 8
    assert rows_per_call(768, 2048, 8192) == 2
    assert rows_per_call(10240, 2048, 8192) == 2
    assert rows_per_call(4, 256, 1024) == 4
    assert rows_per_call(768, 2048, 2**20) == 1
