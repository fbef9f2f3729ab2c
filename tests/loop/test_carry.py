"""A change is carried over from the version on which it was made to a newer version."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch_mlx.loop.carry import Overlap, carried, merge_texts

BASE = "X = 4.0  # knob: lin 0 10\nY = 2\n\n\ndef score():\n    return X + Y\n"


def put(mine: str, theirs: str, base: str = BASE) -> str | Overlap:
    found = carried({"s.py": mine}, {"s.py": base}, {"s.py": theirs})
    return found if isinstance(found, Overlap) else found["s.py"]


def test_knobs_are_set_by_name_even_on_neighbouring_lines() -> None:
    theirs = BASE.replace("Y = 2", "Y = 5")
    assert put(BASE.replace("X = 4.0", "X = 3.5"), theirs) == theirs.replace("X = 4.0", "X = 3.5")


def test_a_knob_that_both_moved_takes_the_later_wish() -> None:
    theirs = BASE.replace("X = 4.0", "X = 3.8")
    assert put(BASE.replace("X = 4.0", "X = 3.5"), theirs) == BASE.replace("X = 4.0", "X = 3.5")


def test_code_is_merged_line_by_line() -> None:
    mine, theirs = BASE.replace("return X + Y", "return X - Y"), "# a remark\n" + BASE
    assert put(mine, theirs) == theirs.replace("return X + Y", "return X - Y")


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (BASE.replace("X + Y", "X - Y"), BASE.replace("X + Y", "X * Y")),
        (BASE.replace("X = 4.0  # knob: lin 0 10", "X = 3.5"), BASE.replace("X = 4.0  # knob: lin 0 10", "X = f()")),
    ],
    ids=["the same line", "a knob that is no longer one"],
)
def test_changes_of_the_same_place_overlap(mine: str, theirs: str) -> None:
    assert put(mine, theirs) == Overlap("both changes edit the same lines of s.py")


def test_a_file_that_the_newer_version_left_alone_is_taken_whole() -> None:
    assert put("print(1)\n", BASE) == "print(1)\n"
    assert carried({"new.py": "A = 1\n"}, {}, {"s.py": BASE}) == {"new.py": "A = 1\n"}


def test_a_file_that_both_made_overlaps_unless_they_made_the_same() -> None:
    assert carried({"new.py": "A = 1\n"}, {}, {"new.py": "A = 1\n"}) == {"new.py": "A = 1\n"}
    assert isinstance(carried({"new.py": "A = 1\n"}, {}, {"new.py": "A = 2\n"}), Overlap)


@pytest.mark.parametrize(
    ("mine", "theirs", "merged"),
    [
        ("A = 9\nx\ny\nB = 2\n", "A = 1\nx\ny\nB = 8\n", "A = 9\nx\ny\nB = 8\n"),
        ("A = 1\nx\ny\nB = 2\n", "A = 7\nx\ny\nB = 2\n", "A = 7\nx\ny\nB = 2\n"),
        ("A = 9\nx\ny\nB = 2\n", "A = 8\nx\ny\nB = 2\n", None),
    ],
)
def test_two_changes_of_one_text_merge_when_they_do_not_overlap(
    tmp_path: Path, mine: str, theirs: str, merged: str | None
) -> None:
    assert merge_texts(tmp_path, mine, "A = 1\nx\ny\nB = 2\n", theirs) == merged
