"""A whole reply has one edit or several, each with files, a problem, or an idea whose code comes in a second call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from edit_cases import ACTIVATION, FILES, GENTLER, PATH, SCRIPT, SMALL, block, fenced, fields, only

from autoresearch_mlx.agents.edits.fields import Fields
from autoresearch_mlx.agents.edits.reply import read_reply
from autoresearch_mlx.lab.source import set_knobs

GOOD = block(ACTIVATION, GENTLER)
WANTED = SCRIPT.replace(ACTIVATION, GENTLER)


def knob(title: str, **knobs: Any) -> str:
    return json.dumps({"title": title, "knobs": knobs})


def test_fields_and_code_make_an_edit() -> None:
    edit = only(f"I smooth it.\n\n{fields(expected_gain=0.01)}\n\n{fenced(GOOD)}")
    assert (edit.title, edit.axis, edit.hypothesis, edit.expected_gain) == ("gentler activation", "mlp", "smooth", 0.01)
    assert edit.files == {PATH: WANTED}
    assert (edit.problem, edit.mismatch, edit.wants_code) == ("", False, False)


def test_fields_alone_leave_the_code_to_be_asked_for() -> None:
    edit = only(fields())
    assert edit.wants_code
    assert (edit.title, edit.files, edit.problem) == ("gentler activation", {}, "")


def test_code_alone_is_an_edit_named_by_its_first_changed_line() -> None:
    edit = only(fenced(GOOD))
    line = SCRIPT.split(ACTIVATION)[0].count("\n") + 1
    assert edit.title == f"train_mlx.py, line {line}: return self.c_proj(nn.silu(self.c_fc(x)))"
    assert edit.axis is None
    assert only(block("    return mx.fast.rms_norm(x, None, 1e-6)\n", "    return x\n")).title.endswith(": return x")


@pytest.mark.parametrize("reply", ["", "   \n", "I cannot help with that.", "```bash\nls\n```", "{}", "null", "\ufeff"])
def test_a_reply_without_a_proposal_says_what_to_send(reply: str) -> None:
    edit = only(reply)
    assert "There is no proposal in the reply" in edit.problem
    assert '"knobs"' in edit.problem
    assert "SEARCH" in edit.problem


def test_bad_fields_spoil_their_own_code() -> None:
    edit = only('{"title": "x", "knobs": {"DEPTH": 5}, "axis": }\n' + fenced(GOOD))
    assert "the JSON object cannot be read" in edit.problem
    assert not edit.files


# --- the code of a second call


def test_code_that_was_asked_for_goes_with_the_fields_of_the_earlier_call() -> None:
    known = Fields(title="smooth", axis="mlp", knobs={"DEPTH": 5})
    (edit,) = read_reply(f"Here it is.\n{fenced(GOOD)}", FILES, known)
    assert (edit.title, edit.axis) == ("smooth", "mlp")
    assert edit.files == {PATH: set_knobs(WANTED, {"DEPTH": 5})}


def test_objects_beside_code_that_was_asked_for_do_not_count() -> None:
    known = Fields(title="smooth")
    (edit,) = read_reply(f"{fields()}\n{fenced(GOOD)}\n{fenced(fields(title='other'), 'json')}", FILES, known)
    assert (edit.title, edit.files) == ("smooth", {PATH: WANTED})


def test_code_that_was_asked_for_and_did_not_come_is_a_problem() -> None:
    (edit,) = read_reply("I will change the activation.", FILES, Fields(title="smooth"))
    assert "There is no code in the reply" in edit.problem
    assert edit.title == "smooth"
    assert not edit.wants_code


# --- several proposals


def test_headings_part_proposals() -> None:
    edits = read_reply(
        f"Three ideas.\n\n## Proposal 1: deeper\n{knob('deeper', DEPTH=5)}\n\n"
        f"## Proposal 2: smoother activation\n{fenced(GOOD)}\n\n**Proposal 3**\n{fields()}",
        FILES,
    )
    assert [e.title for e in edits] == ["DEPTH 4 -> 5", "smoother activation", "gentler activation"]
    assert edits[0].files == {PATH: set_knobs(SCRIPT, {"DEPTH": 5})}
    assert edits[1].files == {PATH: WANTED}
    assert edits[2].wants_code


def test_objects_part_proposals() -> None:
    edits = read_reply(
        f"{knob('deeper', DEPTH=5)}\n\n{fields()}\n{fenced(GOOD)}\n{knob('wider', ASPECT_RATIO=80)}", FILES
    )
    assert [e.title for e in edits] == ["DEPTH 4 -> 5", "gentler activation", "ASPECT_RATIO 64 -> 80"]
    assert edits[1].files == {PATH: WANTED}
    assert edits[2].files == {PATH: set_knobs(SCRIPT, {"ASPECT_RATIO": 80})}


@pytest.mark.parametrize("form", ["[{}, {}]", '{{"proposals": [{}, {}]}}', "```json\n[\n{},\n{}\n]\n```"])
def test_a_list_of_objects_is_a_list_of_proposals(form: str) -> None:
    edits = read_reply(form.format(knob("deeper", DEPTH=5), knob("wider", ASPECT_RATIO=80)), FILES)
    assert [(e.title, bool(e.files)) for e in edits] == [("DEPTH 4 -> 5", True), ("ASPECT_RATIO 64 -> 80", True)]


BAD = [
    '{"title": "broken", knobs: }',
    '{"title": ["wrong"]}',
    '{"title": "unclosed", "knobs": {"DEPTH": 5}',
    knob("unknown", DEEP=5),
    fields(title="misfit") + "\n" + fenced(block("nowhere", "x")),
    fields(title="torn") + "\n```python\n" + "<<<<<<< SEARCH\nMATRIX_LR = 0.04\n=======\n",
    fields(title="syntax") + "\n" + fenced(block(ACTIVATION, "        return (")),
    fields(title="elsewhere") + "\n" + fenced(GOOD, "python other.py"),
]


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_proposal_spoils_no_other(bad: str) -> None:
    good = f"{fields()}\n{fenced(GOOD)}"
    reply = f"## Proposal 1\n{knob('deeper', DEPTH=5)}\n## Proposal 2\n{bad}\n## Proposal 3\n{good}"
    first, second, third = read_reply(reply, FILES)
    assert first.files == {PATH: set_knobs(SCRIPT, {"DEPTH": 5})}
    assert second.problem
    assert not second.files
    assert third.files == {PATH: WANTED}


def test_a_broken_object_without_headings_spoils_no_other_either() -> None:
    edits = read_reply(f"{BAD[0]}\n\n{fields()}\n{fenced(GOOD)}\n{knob('wider', ASPECT_RATIO=80)}", FILES)
    assert [bool(e.problem) for e in edits] == [True, False, False]


def test_each_proposal_starts_from_the_same_files() -> None:
    first, second = read_reply(f"{knob('deeper', DEPTH=5)}\n{knob('wider', ASPECT_RATIO=80)}", FILES)
    assert first.files == {PATH: set_knobs(SCRIPT, {"DEPTH": 5})}
    assert second.files == {PATH: set_knobs(SCRIPT, {"ASPECT_RATIO": 80})}


def test_a_heading_inside_code_parts_nothing() -> None:
    text = SMALL.replace("# fmt: off", "# Proposal 1: the knobs")
    (edit,) = read_reply(fenced(text), {PATH: SMALL})
    assert edit.files == {PATH: text}
    (edit,) = read_reply(block("# fmt: off", "# Proposal 1: the knobs"), {PATH: SMALL})
    assert edit.files == {PATH: text}


def test_no_more_than_sixteen_proposals_are_read() -> None:
    assert len(read_reply("\n".join(knob(f"depth {k}", DEPTH=k) for k in range(5, 40)), FILES)) == 16
