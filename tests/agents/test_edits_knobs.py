"""Constants that a reply sets by name: a value gets the type of the old one, or is refused with the reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from edit_cases import ACTIVATION, FILES, GENTLER, PATH, SCRIPT, block, fenced, fields, new_text, only, problem

from autoresearch_mlx.agents.edits.reply import read_reply
from autoresearch_mlx.lab.source import changed_knobs, read_knobs, set_knobs


def setting(**knobs: Any) -> str:
    return json.dumps({"title": "", "knobs": knobs})


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("MATRIX_LR", 0.05, 0.05),
        ("EMBEDDING_LR", 1, 1.0),
        ("MATRIX_LR", "5e-2", 0.05),
        ("DEPTH", 5, 5),
        ("DEPTH", 5.0, 5),
        ("DEPTH", "5", 5),
        ("TOTAL_BATCH_SIZE", "2**15", 2**15),
        ("TOTAL_BATCH_SIZE", 32768, 2**15),
        ("WINDOW_PATTERN", "SSSL", "SSSL"),
        ("ADAM_BETAS", [0.9, 0.99], (0.9, 0.99)),
        ("ADAM_BETAS", "(0.9, 0.99)", (0.9, 0.99)),
        ("ADAM_BETAS", [0, "0.99"], (0.0, 0.99)),
        ("matrix_lr", 0.05, 0.05),
        ("train_mlx.py:MATRIX_LR", 0.05, 0.05),
    ],
)
def test_a_value_that_means_one_thing_is_set(name: str, written: Any, value: Any) -> None:
    bare = name.rsplit(":", 1)[-1].upper()
    text = new_text(setting(**{name: written}))
    assert text == set_knobs(SCRIPT, {bare: value})
    assert type(read_knobs(text)[bare].value) is type(value)


@pytest.mark.parametrize(
    ("name", "written", "said"),
    [
        ("MATRIX_RATE", 0.05, "no constant MATRIX_RATE at the top level of train_mlx.py; did you mean MATRIX_LR"),
        ("zzzz", 1, "the constants are DEPTH, ASPECT_RATIO"),
        ("MATRIX_LR", "fast", "MATRIX_LR (now 0.04) must be a finite number, not fast"),
        ("MATRIX_LR", "1e999", "must be a finite number"),
        ("MATRIX_LR", True, "must be a finite number, not True"),
        ("MATRIX_LR", "MATRIX_LR * 2", "must be a finite number"),
        ("MATRIX_LR", "0.1; import os", "must be a finite number"),
        ("MATRIX_LR", [0.1], "must be a finite number"),
        ("DEPTH", 4.5, "DEPTH (now 4) must be a whole number, not 4.5"),
        ("DEPTH", True, "must be a whole number"),
        ("DEPTH", 10**40, "must be a whole number"),
        ("WINDOW_PATTERN", 3, 'WINDOW_PATTERN (now "L") must be a text, not 3'),
        ("WINDOW_PATTERN", "S\nL", "one line"),
        ("WINDOW_PATTERN", "S\ud800L", "WINDOW_PATTERN must be"),
        ("ADAM_BETAS", 0.9, "ADAM_BETAS (now (0.8, 0.95)) must be a list of 2 values"),
        ("ADAM_BETAS", [0.9], "must have 2 values"),
        ("ADAM_BETAS", [0.9, "x"], "must be a finite number"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_words(name: str, written: Any, said: str) -> None:
    assert said in problem(setting(**{name: written}))


def test_every_knob_that_cannot_be_set_is_named_and_none_is() -> None:
    said = problem(setting(MATRIX_LR=0.05, DEPTH="deep", SOFTCAPS=1))
    assert "DEPTH" in said
    assert "did you mean SOFTCAP" in said


@pytest.mark.parametrize(("written", "value"), [("true", True), (True, True), ("True", True)])
def test_truth_may_be_written_as_text(written: Any, value: bool) -> None:
    text = "TIED = False\nN = 1\n"
    assert read_knobs(new_text(setting(TIED=written), text))["TIED"].value is value
    assert "true or false" in problem(setting(TIED=1), text)


def test_the_value_that_stands_there_already_is_no_edit() -> None:
    assert "changes nothing: MATRIX_LR" in problem(setting(MATRIX_LR=0.04))


def test_a_title_and_an_axis_come_from_the_knobs_when_none_is_given() -> None:
    edit = only(setting(MATRIX_LR=0.05, DEPTH=5))
    assert edit.title == "DEPTH 4 -> 5, MATRIX_LR 0.04 -> 0.05"
    assert edit.axis == "lr.matrix"  # the first file that is named
    assert only('{"title": "x", "axis": "Depth Scaling!", "knobs": {"DEPTH": 5}}').axis == "depth"
    assert only('{"title": "x", "axis": "LR.Matrix", "knobs": {"DEPTH": 5}}').axis == "depth"


def test_a_knob_is_set_in_the_file_that_has_it() -> None:
    files = {"model.py": "DEPTH = 4\nBOTH = 1\n", "optim.py": "LR = 0.1\nBOTH = 2\n"}
    assert only(setting(LR=0.2), files).files == {"optim.py": "LR = 0.2\nBOTH = 2\n"}
    assert only(setting(LR=0.2, DEPTH=5), files).files.keys() == {"model.py", "optim.py"}
    assert "BOTH is in model.py and in optim.py; write model.py:BOTH" in only(setting(BOTH=3), files).problem
    assert only(setting(**{"optim.py:BOTH": 3}), files).files == {"optim.py": "LR = 0.1\nBOTH = 3\n"}


# --- together with code


def test_knobs_and_code_make_one_edit() -> None:
    text = new_text(fields(knobs={"MATRIX_LR": 0.05}) + "\n" + block(ACTIVATION, GENTLER))
    assert GENTLER in text
    assert changed_knobs(SCRIPT, text) == {"MATRIX_LR": (0.04, 0.05)}


@pytest.mark.parametrize("line", ["MATRIX_LR = 0.05", "MATRIX_LR = 0.06"])
def test_a_knob_that_the_code_sets_keeps_the_value_of_the_code(line: str) -> None:
    text = new_text(fields(knobs={"MATRIX_LR": 0.05}) + "\n" + block("MATRIX_LR = 0.04", line))
    assert read_knobs(text)["MATRIX_LR"].value == float(line[-4:])


def test_a_knob_that_the_code_adds_may_be_named_among_the_knobs() -> None:
    reply = fields(knobs={"GAIN": 2.0}) + "\n" + block("import math", "import math\n\nGAIN = 2.0")
    assert read_knobs(new_text(reply))["GAIN"].value == 2.0
    assert "no constant GAIN" in problem(fields(knobs={"GAIN": 2.0}))


@pytest.mark.parametrize(
    "shown", ["# before\nMATRIX_LR = 0.04\n# after\nMATRIX_LR = 0.05", "lr = rate * MATRIX_LR", "0.04 (before) -> 0.05"]
)
def test_a_fence_beside_knobs_that_only_shows_what_they_do_is_left(shown: str) -> None:
    reply = f"{fields(knobs={'MATRIX_LR': 0.05})}\n\nThat is\n{fenced(shown)}"
    assert new_text(reply) == set_knobs(SCRIPT, {"MATRIX_LR": 0.05})


def test_an_excerpt_of_nothing_but_constants_sets_them() -> None:
    assert new_text(fenced("MATRIX_LR = 0.05\nDEPTH = 5  # deeper")) == set_knobs(
        SCRIPT, {"MATRIX_LR": 0.05, "DEPTH": 5}
    )
    (edit,) = read_reply(fields(knobs={"DEPTH": 5}) + "\n" + fenced("DEPTH = 5"), FILES)
    assert edit.files == {PATH: set_knobs(SCRIPT, {"DEPTH": 5})}


RANGED = """\
RATE = 0.04  # knob: log 0.004 0.4
SHARE = 0.5  # knob: lin 0 1
DEPTH = 4  # knob: int 1 12
BATCH = 1024  # knob: pow2 256 4096
WINDOW = "L"  # knob: choice L SL SSSL
FREE = 4
"""


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RATE", 1.0, "RATE (now 0.04) must lie from 0.004 to 0.4, as its range comment says, not 1.0"),
        ("SHARE", -0.1, "SHARE (now 0.5) must lie from 0 to 1"),
        ("DEPTH", 13, "DEPTH (now 4) must lie from 1 to 12"),
        ("BATCH", 8192, "BATCH (now 2**10) must lie from 256 to 4096"),
        ("WINDOW", "LLL", "must be one of"),
    ],
)
def test_a_value_outside_the_range_of_its_comment_is_refused_once(name: str, value: Any, said: str) -> None:
    files = {PATH: RANGED}
    line = next(each for each in RANGED.splitlines() if each.startswith(name))
    moved = line.replace(line.split("  #")[0], f"{name} = {value!r}")
    for reply in (setting(**{name: value}), f"{fields()}\n{fenced(block(line, moved))}"):
        (edit,) = read_reply(reply, files)
        assert said in edit.problem and not edit.files
        (again,) = read_reply(reply, files, insisted=edit.beyond)
        assert not again.problem and read_knobs(again.files[PATH])[name].value == value, "a model that insists"


def test_a_value_within_its_range_a_free_knob_and_a_new_range_are_not_refused() -> None:
    files = {PATH: RANGED}
    assert not read_reply(setting(RATE=0.4, FREE=10**6), files)[0].problem
    wider = fenced(block("DEPTH = 4  # knob: int 1 12", "DEPTH = 20  # knob: int 1 30"))
    assert not read_reply(f"{fields()}\n{wider}", files)[0].problem
