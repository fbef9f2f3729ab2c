"""The range of a knob comes from its comment, or else from its name and value."""

import pytest

from autoresearch_mlx.agents.knobs.ranges import Range, range_of
from autoresearch_mlx.lab.source import read_knobs


def found(line: str) -> Range | None:
    (knob,) = read_knobs(line).values()
    return range_of(knob)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("MATRIX_LR = 0.04  # knob: log 0.004 0.4", Range("log", 0.004, 0.4)),
        ("WARMDOWN_RATIO = 0.5  # knob: lin 0 1", Range("lin", 0, 1)),
        ("DEPTH = 4  # layers", Range("int", 2, 8)),
        ("DEPTH = 4  # knob: int 2 12, layers", Range("int", 2, 12)),
        ("TOTAL_BATCH_SIZE = 2**16  # knob: pow2 2**13 2**19", Range("pow2", 2**13, 2**19)),
        ("WINDOW = 'SSSL'  # knob: choice SSSL L", Range("choice", choices=("SSSL", "L"))),
        ("HEADS = 4  # knob: choice 2 4 8", Range("choice", choices=(2, 4, 8))),
        ("TIED = True  # knob: choice True False", Range("choice", choices=(True, False))),
    ],
)
def test_a_comment_gives_the_range(line: str, expected: Range) -> None:
    assert found(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("MATRIX_LR = 0.04", Range("log", 0.004, 0.4)),
        ("LR = 1.0", Range("log", 0.1, 10.0)),
        ("WARMUP_RATIO = 0.0", Range("lin", 0, 1)),
        ("FINAL_LR_FRAC = 0.05", Range("lin", 0, 1)),
        ("X0_LAMBDA = 0.1", Range("lin", 0, 1)),
        ("VALUE_WD = 0.002", Range("log", 0.00025, 0.016)),
        ("SOFTCAP = 15.0", Range("log", 1.875, 120.0)),
        ("DROPOUT_P = 0.0", Range("lin", 0, 0.1)),
        ("SHIFT = -0.5", Range("lin", -1.0, 0.0)),
        ("TOTAL_BATCH_SIZE = 2**16", Range("pow2", 2**13, 2**19)),
        ("DEPTH = 4", Range("int", 2, 8)),
        ("NS_STEPS = 5", Range("int", 2, 10)),
        ("RAMP_STEPS = 300", Range("int", 150, 600)),
        ("EXTRA = 0", Range("int", 0, 2)),
        ("TIED = False", Range("choice", choices=(False, True))),
    ],
)
def test_without_a_comment_name_and_value_decide(line: str, expected: Range) -> None:
    assert found(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        "MATRIX_LR = 0.04  # knob: fixed",
        "WINDOW_PATTERN = 'SSSL'",
        "ADAM_BETAS = (0.8, 0.95)",
        "INIT_SEED = 42",
        "NOTHING = None",
        "SENTINEL = -1",
    ],
)
def test_what_must_not_move_has_no_range(line: str) -> None:
    assert found(line) is None


@pytest.mark.parametrize(
    "comment",
    [
        "log", "log 0.1", "log a b", "log 1 0.1", "log 0 1", "log -1 1", "log 1 2 3", "log nan 1", "log 1e400 1e500",
        "pow2 8 16", "int 1 2", "choice", "choice 0.1", "choice 0.1 fast", "banana 1 2", "lin 9**9**9 1",
    ],
)  # fmt: skip
def test_a_malformed_comment_counts_as_none(comment: str) -> None:
    assert found(f"MATRIX_LR = 0.04  # knob: {comment}") == Range("log", 0.004, 0.4)


def test_lists_are_no_options() -> None:
    assert found("SIZES = [1]  # knob: choice [1] [2]") is None


@pytest.mark.parametrize("comment", ["pow2 33 60", "pow2 0.1 64", "pow2 -8 64", "choice 64 big"])
def test_a_size_with_an_impossible_comment_falls_back_to_three_doublings(comment: str) -> None:
    assert found(f"BATCH_SIZE = 64  # knob: {comment}") == Range("pow2", 8, 512)


def test_a_value_outside_its_own_range_widens_it() -> None:
    assert found("MATRIX_LR = 0.9  # knob: log 0.004 0.4") == Range("log", 0.004, 0.9)
    assert found("DEPTH = 1  # knob: int 2 12") == Range("int", 1, 12)
    assert found("WINDOW = 'S'  # knob: choice SSSL L") == Range("choice", choices=("SSSL", "L", "S"))
