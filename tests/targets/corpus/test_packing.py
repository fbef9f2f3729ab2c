"""Rows are packed by best fit, begin with BOS and are not padded; the rest of a cut document is dropped or kept."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch_mlx.targets.corpus.packing import WAITING, pack

BOS = 9


def documents(*lengths: int) -> list[list[np.ndarray]]:
    """Return one batch of documents; document i consists of the token 10 + i."""
    return [[np.full(length, 10 + i, dtype=np.uint16) for i, length in enumerate(lengths)]]


def rows(batches: list[list[np.ndarray]], width: int, policy: str) -> list[list[int]]:
    return [row.tolist() for row in pack(batches, width, BOS, policy)]  # type: ignore[arg-type]


def test_a_row_takes_the_longest_document_that_still_fits() -> None:
    assert rows(documents(1, 4, 2), 8, "crop") == [[BOS, 11, 11, 11, 11, BOS, 12, 12]]


def test_among_documents_of_one_length_the_first_that_came_goes_first() -> None:
    assert rows(documents(3, 3), 4, "crop") == [[BOS, 10, 10, 10], [BOS, 11, 11, 11]]


def test_crop_cuts_the_shortest_document_and_drops_its_rest() -> None:
    assert rows(documents(9, 5), 4, "crop") == [[BOS, 11, 11, 11], [BOS, 10, 10, 10]]


def test_split_keeps_the_rest_behind_a_bos_of_its_own() -> None:
    assert rows(documents(6), 4, "split") == [[BOS, 10, 10, 10], [BOS, 10, 10, 10]]
    assert rows(documents(3, 2, 1, 1), 5, "split")[:2] == [[BOS, 10, 10, 10, BOS], [BOS, 11, 11, BOS, 13]]


def test_an_incomplete_last_row_is_left_out() -> None:
    assert rows(documents(2), 8, "crop") == rows(documents(2), 8, "split") == []


def test_only_as_much_text_is_read_as_is_needed() -> None:
    read = 0

    def endless() -> Iterator[list[np.ndarray]]:
        nonlocal read
        while True:
            read += 128
            yield [np.array([10], dtype=np.uint16)] * 128

    assert len(list(islice(pack(endless(), 4, BOS, "crop"), 3))) == 3
    assert read < WAITING + 2 * 128


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=60), st.integers(4, 24))
def test_split_loses_no_more_than_one_incomplete_row(lengths: list[int], width: int) -> None:
    packed = rows(documents(*lengths), width, "split")
    assert all(len(row) == width and row[0] == BOS for row in packed)
    kept = sum(token != BOS for row in packed for token in row)
    assert sum(lengths) - kept < width


def upstream(lengths: list[int], width: int, buffer: int) -> list[list[int]]:
    """Follow the rule in its plainest form: search the whole buffer each time."""
    waiting = [[BOS, *[10 + i] * length] for i, length in enumerate(lengths)]
    buffered: list[list[int]] = []
    packed: list[list[int]] = []
    while True:
        row: list[int] = []
        while len(row) < width:
            while len(buffered) < buffer and waiting:
                buffered.append(waiting.pop(0))
            if not buffered:
                return packed
            room = width - len(row)
            fitting = [i for i, document in enumerate(buffered) if len(document) <= room]
            best = max(fitting, key=lambda i: (len(buffered[i]), -i)) if fitting else None
            if best is None:
                best = min(range(len(buffered)), key=lambda i: len(buffered[i]))
            row += buffered.pop(best)[:room]
        packed.append(row)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=60), st.integers(4, 24))
def test_crop_agrees_with_a_search_through_the_whole_buffer(lengths: list[int], width: int) -> None:
    assert rows(documents(*lengths), width, "crop") == upstream(lengths, width, WAITING)


@pytest.mark.parametrize("policy", ["crop", "split"])
def test_empty_text_gives_no_rows(policy: str) -> None:
    assert rows([], 4, policy) == rows([[]], 4, policy) == []
