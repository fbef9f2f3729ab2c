"""``ideas`` and ``steer`` as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_runs import call, data, experiments, refused, script
from conftest import write_command_lab

from autoresearch_mlx.agents.ideas.backlog import add_ideas, take
from autoresearch_mlx.agents.ideas.idea import H100, Draft
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.locks import locked
from autoresearch_mlx.store.notes import FILE, read_notes


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Make a lab whose session has a baseline and one experiment."""
    lab = write_command_lab(tmp_path_factory.mktemp("ideas") / "lab")
    agent = script(lab, {"title": "X nearer", "knobs": {"X": 3.5}})
    done = call(lab, "run", "--tag", "t", "--agent", agent, "--experiments", "1")
    assert done.returncode == 0, done.stderr
    return lab


@pytest.fixture
def lab(begun: Lab) -> Lab:
    """Return the same session, without the notes and ideas of an earlier test."""
    for name in ("ideas.jsonl", FILE):
        (begun.folder("t") / name).unlink(missing_ok=True)
    return begun


def test_an_idea_is_added_listed_and_dropped(lab: Lab) -> None:
    assert call(lab, "ideas").stdout == "no ideas yet\n"
    done = call(lab, "ideas", "add", "X a little lower", "--axis", "knob.x", "--why", "the minimum is at 3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "idea 1: X a little lower\n")
    call(lab, "ideas", "add", "Y higher", "--tag", "t")
    table = call(lab, "ideas").stdout.splitlines()
    assert table[0].split() == ["id", "axis", "source", "state", "title"]
    assert table[1].split() == ["1", "knob.x", "you", "open", "X", "a", "little", "lower"]
    assert call(lab, "ideas", "--tag", "t", "drop", "1").stderr == "dropped idea 1: X a little lower\n"
    assert call(lab, "ideas").stdout.splitlines()[1:] == [
        " 2  -     you     open   Y higher",
        "",
        "1 idea done or dropped: --all shows them",
    ]
    assert "dropped" in call(lab, "ideas", "--all").stdout
    assert [idea["id"] for idea in data(lab, "ideas")] == [2]
    (first, _) = json.loads(call(lab, "ideas", "--all", "--json").stdout)
    assert (first["state"], first["axis"], first["hypothesis"]) == ("dropped", "knob.x", "the minimum is at 3")
    assert list(first)[:9] == [
        "id", "axis", "title", "hypothesis", "expected", "source", "added", "state", "experiment",
    ]  # fmt: skip


def test_ideas_of_others_and_what_came_of_them_are_listed(lab: Lab) -> None:
    folder = lab.folder("t")
    add_ideas(folder, [Draft("halve the batch", "batch"), Draft("deeper", "depth")], H100)
    add_ideas(folder, [Draft("wider", "width")], "model:ollama:qwen3-coder:30b")
    take(folder, 2, 2)
    table = call(lab, "ideas").stdout
    assert "taken (#2)" in table and "model:ollama:qwen3-coder:30b" in table and "H100" in table
    assert experiments(lab) == {0: "keep", 1: "keep"}


def test_what_cannot_be_is_told_with_the_next_step(lab: Lab) -> None:
    call(lab, "ideas", "add", "Y higher")
    assert "idea 1 already says that" in refused(lab, "ideas", "add", "y HIGHER!")
    assert "session t has no idea 9" in refused(lab, "ideas", "drop", "9")
    call(lab, "ideas", "drop", "1")
    assert "idea 1 is dropped already" in refused(lab, "ideas", "drop", "1")
    assert "needs a title" in refused(lab, "ideas", "add", " \t")
    assert "at most 120 characters" in refused(lab, "ideas", "add", "x" * 121)
    assert "such as lr.matrix" in refused(lab, "ideas", "add", "x", "--axis", "LR Matrix!")
    assert "no session nope" in refused(lab, "ideas", "--tag", "nope")
    assert "'x' is not a valid" in refused(lab, "ideas", "drop", "x", code=2)
    assert "No such command 'remove'" in refused(lab, "ideas", "remove", "1", code=2)
    assert "--json belong to the list" in refused(lab, "ideas", "--json", "drop", "1", code=2)
    assert "Missing argument 'TITLE'" in refused(lab, "ideas", "add", code=2)


def test_notes_are_taken_listed_and_withdrawn(lab: Lab) -> None:
    assert call(lab, "steer").stdout == "no notes yet\n"
    done = call(lab, "steer", "try smaller batches first")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "noted for session t: try smaller batches first\n")
    call(lab, "steer", "and", "leave", "Y", "--tag", "t")
    assert call(lab, "steer").stdout == "try smaller batches first\nand leave Y\n"
    assert data(lab, "steer") == ["try smaller batches first", "and leave Y"]
    assert call(lab, "steer", "--clear").stderr == "withdrawn: 2 notes\n"
    assert data(lab, "steer") == []
    assert "first" in (lab.folder("t") / FILE).read_text(), "nothing is deleted"
    assert "either TEXT or --clear" in refused(lab, "steer", "--clear", "x", code=2)
    assert "needs some text" in refused(lab, "steer", "")
    assert "at most 1,000 characters" in refused(lab, "steer", "x" * 1001)


def test_bytes_that_are_no_text_do_no_harm(lab: Lab) -> None:
    command = [sys.executable, "-m", "autoresearch_mlx", "steer", b"\xff\x1b[31m\xfe ok"]
    done = subprocess.run(command, cwd=lab.root, capture_output=True, timeout=60)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    assert read_notes(lab.folder("t"))[0].endswith("ok")


def test_a_person_may_speak_while_the_session_is_held_by_a_run(lab: Lab) -> None:
    with locked(lab.folder("t")):
        assert call(lab, "steer", "while it runs").returncode == 0
        assert call(lab, "ideas", "add", "while it runs").returncode == 0
        assert call(lab, "ideas", "drop", "1").returncode == 0
    assert read_notes(lab.folder("t")) == ("while it runs",)


def test_a_spoilt_line_is_reported_and_passed_over(lab: Lab) -> None:
    call(lab, "steer", "good")
    with (lab.folder("t") / FILE).open("a") as file:
        file.write("spoilt\n")
    done = call(lab, "steer")
    assert (done.returncode, done.stdout) == (0, "good\n")
    assert "warning: line 2 of " in done.stderr and "cannot be read and is ignored" in done.stderr


def test_without_a_session_there_is_nobody_to_tell(tmp_path: Path) -> None:
    fresh = write_command_lab(tmp_path / "lab")
    for words in (["steer", "x"], ["ideas"], ["ideas", "add", "x"], ["ideas", "drop", "1"]):
        assert "no session yet" in refused(fresh, *words)


def test_help_shows_examples(lab: Lab) -> None:
    assert "autoresearch-mlx ideas add" in call(lab, "ideas", "--help").stdout
    assert "autoresearch-mlx steer --clear" in call(lab, "steer", "--help").stdout
    for name in ("ideas", "steer"):
        assert name in call(lab, "--help").stdout


def test_a_person_is_told_that_no_model_reads_the_note_or_the_idea(tmp_path: Path) -> None:
    fresh = write_command_lab(tmp_path / "lab")
    assert call(fresh, "run", "--tag", "t", "--agent", "knobs", "--experiments", "1").returncode == 0
    unread = "your notes and ideas wait until a model is used: so far only knobs has proposed, and it asks no model\n"
    assert call(fresh, "steer", "smaller X").stderr == f"noted for session t: smaller X\n{unread}"
    assert call(fresh, "ideas", "add", "smaller X").stderr == f"idea 1: smaller X\n{unread}"
