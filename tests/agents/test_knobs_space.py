"""The search space: places in ranges, values as a person would write them, and files with these values set."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_mlx.agents.knobs.space import read_space
from autoresearch_mlx.lab.source import changed_knobs, read_knobs
from bench.knob_file import TEXT

SPACE = read_space({"train_mlx.py": TEXT})


@pytest.mark.parametrize("dimension", list(SPACE), ids=lambda d: d.name)
@given(unit=st.floats(-1, 2))
def test_every_place_is_a_value_of_the_kind_within_the_range(dimension, unit: float) -> None:
    value = dimension.at(unit)
    assert type(value) is type(dimension.value)
    if dimension.range.kind == "choice":
        assert value in dimension.range.choices
    else:
        assert dimension.range.low <= value <= dimension.range.high
    if dimension.range.kind == "pow2":
        assert value & (value - 1) == 0
    if isinstance(value, float):
        assert value in (float(f"{value:.3g}"), dimension.range.low, dimension.range.high)


@pytest.mark.parametrize("dimension", list(SPACE), ids=lambda d: d.name)
def test_the_value_in_the_file_is_found_again_at_its_place(dimension) -> None:
    assert dimension.at(dimension.unit(dimension.value)) == dimension.value


@pytest.mark.parametrize("dimension", [d for d in SPACE if d.tick and d.range.kind != "choice"], ids=lambda d: d.name)
def test_one_tick_reaches_the_next_value(dimension) -> None:
    assert dimension.at(dimension.unit(dimension.value) - dimension.tick) != dimension.value


def test_writing_a_point_changes_its_knobs_and_nothing_else() -> None:
    point = tuple(4 if d.name == "DEPTH" else d.value for d in SPACE)
    written = SPACE.write(point, {"train_mlx.py": TEXT})
    assert changed_knobs(TEXT, written["train_mlx.py"]) == {"DEPTH": (8, 4)} == SPACE.changes(point)


def test_knobs_come_from_all_python_files_and_clashing_names_carry_their_path() -> None:
    files = {
        "a.py": "DEPTH = 4\nMATRIX_LR = 0.04\n",
        "b.py": "DEPTH = 6\n",
        "notes.md": "WIDTH = 8\n",
        "bad.py": "A = (",
    }
    space = read_space(files)
    assert [d.name for d in space] == ["a.py:DEPTH", "MATRIX_LR", "b.py:DEPTH"]
    written = space.write((4, 0.04, 7), files)
    assert {p: read_knobs(t)["DEPTH"].value for p, t in written.items()} == {"b.py": 7}


def test_a_file_without_knobs_is_an_empty_space() -> None:
    assert len(read_space({"train.py": "print('hello')\n"})) == 0
