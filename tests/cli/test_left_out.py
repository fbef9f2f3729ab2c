"""A message before the first run, and ``status``, say which parts of a user's checkout are not in the session."""

from __future__ import annotations

import json

import pytest
from conftest import command_line, git

from autoresearch_mlx.lab.lab import Lab


def edit(lab: Lab, *names: str) -> None:
    for name in names:
        with (lab.root / name).open("a") as file:
            file.write("# edited\n")


def told(lab: Lab, *arguments: str) -> list[str]:
    """Call a command that measures; return its notes, and check that it printed all of them before its first run."""
    done = command_line(*arguments, cwd=lab.root)
    assert done.returncode == 0, done.stderr
    before = done.stderr.partition(" #")[0]
    assert before.count("note: ") == done.stderr.count("note: ")
    return [line.partition("note: ")[2] for line in before.splitlines() if "note: " in line]


@pytest.mark.slow
def test_run_try_and_status_say_what_is_not_in_the_session(command_lab: Lab) -> None:
    edit(command_lab, "solver.py", "bench.py")
    (said,) = told(command_lab, "run", "--experiments", "0", "--tag", "t", "--agent", "knobs")
    start = git(command_lab.root, "rev-parse", "HEAD")
    where = f"session t (it began at commit {start[:7]})"
    assert said.startswith(f"uncommitted edits are not in {where}: bench.py, solver.py; commit them")
    shown = command_line("status", cwd=command_lab.root).stdout
    assert "left out     uncommitted edits are not in session t" in shown

    (command_lab.root / "solver.py").write_text("X = 3.5\nY = 2\n")
    (said,) = told(command_lab, "try", "-m", "mine")
    assert "): bench.py; commit them" in said, "the edit of solver.py is what `try` measures"

    git(command_lab.root, "commit", "-qam", "saved")
    found = json.loads(command_line("status", "--json", cwd=command_lab.root).stdout)["left_out"]
    assert found == {
        "start": start,
        "uncommitted": [],
        "unknown": [],
        "head": git(command_lab.root, "rev-parse", "HEAD"),
        "changed": ["bench.py"],
        "empty": [],
    }


@pytest.mark.slow
def test_a_note_is_said_once_while_its_facts_stay(command_lab: Lab) -> None:
    (command_lab.root / "notes.txt").write_text("mine\n")
    for turn, value in enumerate(("3.5", "3.25", "3.75")):
        (command_lab.root / "solver.py").write_text(f"X = {value}\nY = 2\n")
        assert ["notes.txt" in said for said in told(command_lab, "try", "-m", value)] == [True] * (turn == 0)
    (command_lab.root / "more.txt").touch()
    (command_lab.root / "solver.py").write_text("X = 3.6\nY = 2\n")
    (said,) = told(command_lab, "try", "-m", "another file")
    assert "more.txt, notes.txt" in said
