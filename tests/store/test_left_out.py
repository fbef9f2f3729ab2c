"""The parts of a user's checkout that are not in a session: uncommitted edits, unknown files, newer commits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import git

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.left_out import LeftOut, left_out

UNCOMMITTED = "uncommitted edits are not in session t"
UNKNOWN = "files that are not under git are not in session t"
MOVED = "HEAD has moved on from"


def head(lab: Lab) -> str:
    return git(lab.root, "rev-parse", "HEAD")


def edit(lab: Lab, name: str = "solver.py") -> None:
    with (lab.root / name).open("a") as file:
        file.write("# edited\n")


def save(lab: Lab) -> None:
    git(lab.root, "add", "-A")
    git(lab.root, "commit", "-qm", "saved")


def look(lab: Lab, start: str = "", incumbent: str = "", lines: Sequence[str] = ()) -> LeftOut:
    """Return what is left out by a session that began at ``start`` (by default HEAD) and has this incumbent."""
    start = start or head(lab)
    found = left_out(lab.root, start, incumbent or start, {start, incumbent or start}, lines)
    assert found is not None
    return found


def notes(lab: Lab, start: str = "", incumbent: str = "", lines: Sequence[str] = ()) -> list[str]:
    return list(look(lab, start, incumbent, lines).sentences("t"))


def test_a_clean_checkout_has_nothing_to_say(command_lab: Lab) -> None:
    assert notes(command_lab) == []


@pytest.mark.parametrize("staged", ["no", "yes", "yes, then edited", "yes, then put back", "removed", "now a link"])
def test_uncommitted_edits_are_named_staged_or_not(command_lab: Lab, staged: str) -> None:
    edit(command_lab)
    if staged.startswith("yes"):
        git(command_lab.root, "add", "solver.py")
    if staged == "yes, then edited":
        edit(command_lab)
    elif staged == "yes, then put back":
        (command_lab.root / "solver.py").write_text(git(command_lab.root, "show", "HEAD:solver.py") + "\n")
    elif staged in ("removed", "now a link"):
        (command_lab.root / "solver.py").unlink()
    if staged == "now a link":
        (command_lab.root / "solver.py").symlink_to("bench.py")
    edit(command_lab, "bench.py")
    (said,) = notes(command_lab)
    began = f"(it began at commit {head(command_lab)[:7]})"
    assert said.startswith(f"{UNCOMMITTED} {began}: bench.py, solver.py; commit them, then `run --tag NAME`")


@pytest.mark.parametrize("marks", [("skip-worktree",), ("assume-unchanged",), ("skip-worktree", "assume-unchanged")])
def test_edits_that_git_was_told_to_overlook_are_named(command_lab: Lab, marks: tuple[str, ...]) -> None:
    for mark in marks:
        git(command_lab.root, "update-index", f"--{mark}", "solver.py")
    assert notes(command_lab) == []
    edit(command_lab)
    marked = git(command_lab.root, "ls-files", "-v")
    (said,) = notes(command_lab)
    assert said.startswith(UNCOMMITTED) and ": solver.py; commit them" in said
    assert git(command_lab.root, "ls-files", "-v") == marked  # the person's own index keeps its marks


def test_what_a_sparse_checkout_leaves_out_is_not_an_edit(command_lab: Lab) -> None:
    (command_lab.root / "far").mkdir()
    (command_lab.root / "far" / "notes.txt").write_text("far\n")
    save(command_lab)
    git(command_lab.root, "sparse-checkout", "set", "near")
    assert not (command_lab.root / "far").exists() and notes(command_lab) == []


def test_edits_that_are_measured_now_are_left_to_that(command_lab: Lab) -> None:
    edit(command_lab)
    edit(command_lab, "bench.py")
    (said,) = look(command_lab).sentences("t", lambda path: path == "solver.py")
    assert "): bench.py; commit them" in said


def test_settings_and_the_brief_are_read_from_the_disk_and_not_named(command_lab: Lab) -> None:
    start = head(command_lab)
    edit(command_lab, "lab.toml")
    (command_lab.root / "program.md").write_text("# be bold\n")
    assert notes(command_lab, start) == []
    save(command_lab)
    assert notes(command_lab, start) == []


def test_edits_outside_of_the_lab_are_named_after_the_labs_own(tmp_path: Path, command_lab: Lab) -> None:
    top = tmp_path / "top"
    top.mkdir()
    command_lab.root.rename(top / "lab")
    lab = Lab(top / "lab")
    (lab.root / ".git").rename(top / ".git")
    for name in ("one.py", "two.py", "three.py"):
        (top / name).touch()
    save(Lab(top))
    for name in ("one.py", "two.py", "three.py", "lab/solver.py"):
        edit(Lab(top), name)
    (said,) = notes(lab)
    assert "): solver.py, ../one.py, ../three.py and 1 more;" in said


def test_files_that_git_does_not_know_are_named_and_caches_are_not(command_lab: Lab) -> None:
    for name in ("helper.py", "data/rows.txt", "__pycache__/solver.pyc"):
        (command_lab.root / name).parent.mkdir(exist_ok=True)
        (command_lab.root / name).touch()
    (said,) = notes(command_lab)
    assert said.startswith(UNKNOWN) and "): data/, helper.py; if a run needs them, commit them" in said


def test_nobody_is_told_to_commit_a_virtual_environment(command_lab: Lab) -> None:
    (command_lab.root / "tools").mkdir()
    (command_lab.root / "tools" / "pyvenv.cfg").touch()
    assert notes(command_lab) == []


def test_an_ignored_file_that_the_line_to_measure_names_is_named(command_lab: Lab) -> None:
    (command_lab.root / ".gitignore").write_text("rows.txt\n*.log\n")
    save(command_lab)
    (command_lab.root / "rows.txt").touch()
    (command_lab.root / "old.log").touch()
    (said,) = notes(command_lab, lines=["python bench.py rows.txt '--to=a b' /dev/null", "a quote that is 'open"])
    assert said.startswith(UNKNOWN) and "): rows.txt;" in said


def test_a_head_that_moved_on_is_said_with_what_it_changed(command_lab: Lab) -> None:
    start = head(command_lab)
    edit(command_lab)
    edit(command_lab, "bench.py")
    save(command_lab)
    (said,) = notes(command_lab, start)
    moved = f"{MOVED} {start[:7]}, where session t began, to {head(command_lab)[:7]}"
    assert said.startswith(f"{moved}; later changes are not in the session: bench.py, solver.py; `run --tag NAME`")
    assert notes(command_lab) == []


def test_a_head_on_another_line_of_history_is_said_too(command_lab: Lab) -> None:
    start = head(command_lab)
    git(command_lab.root, "checkout", "-q", "--orphan", "other")
    edit(command_lab)
    save(command_lab)
    assert [MOVED in said for said in notes(command_lab, start)] == [True]


@pytest.mark.parametrize("how", ["merged", "checked out", "amended", "empty"])
def test_a_head_that_brings_nothing_new_is_not_said(command_lab: Lab, how: str) -> None:
    start = head(command_lab)
    edit(command_lab)
    save(command_lab)
    kept = head(command_lab)
    git(command_lab.root, "reset", "-q", "--hard", start)
    if how == "merged":
        git(command_lab.root, "merge", "-q", "--no-ff", "-m", "merged", kept)
    elif how == "checked out":
        git(command_lab.root, "checkout", "-q", kept, "--", "solver.py")
    elif how == "amended":
        git(command_lab.root, "commit", "-q", "--amend", "-m", "other words")
    else:
        git(command_lab.root, "commit", "-q", "--allow-empty", "-m", "nothing")
    assert notes(command_lab, start, kept) == []


def test_looking_does_not_write_the_persons_index(command_lab: Lab) -> None:
    (command_lab.root / "solver.py").touch()  # git would note that it is unchanged
    before = (command_lab.root / ".git" / "index").stat().st_mtime_ns
    assert notes(command_lab) == []
    assert (command_lab.root / ".git" / "index").stat().st_mtime_ns == before


def test_outside_of_a_repository_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert left_out(tmp_path, "0" * 40, "0" * 40, set()) is None


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("staged", [True, False])
def test_an_edit_that_the_session_measured_is_not_left_out(command_lab: Lab, kept: bool, staged: bool) -> None:
    start = head(command_lab)
    edit(command_lab)
    save(command_lab)
    tried = head(command_lab)
    git(command_lab.root, "reset", "-q", "--mixed", start)  # the edit stays in the checkout
    if staged:
        git(command_lab.root, "add", "solver.py")
    found = left_out(command_lab.root, start, tried if kept else start, {start, tried, "0" * 40})
    assert found is not None and found.uncommitted == ()
    edit(command_lab)
    found = left_out(command_lab.root, start, tried if kept else start, {start, tried})
    assert found is not None and found.uncommitted == ("solver.py",)


def test_another_mode_of_a_measured_text_is_still_an_edit(command_lab: Lab) -> None:
    (command_lab.root / "solver.py").chmod(0o755)
    assert look(command_lab).uncommitted == ("solver.py",)
