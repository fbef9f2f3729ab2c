"""Git changes only what the session owns: which files may change, commits, refs, the branch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import git
from workspaces import NEW, head, started, workspace

from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.git import diff

# --- paths


@pytest.mark.parametrize(
    "path",
    [
        "../solver.py",
        "/solver.py",
        "src/../solver.py",
        "./solver.py",
        "solver.py/",
        "src//a.py",
        "",
        ".",
        "..",
        "other/solver.py",
        "src/deep/a.py",
        "src/a.txt",
        "bench.py",
        "solver.py\n",
        "src/a\0.py",
        "src/\ud800.py",
    ],
)
def test_what_may_not_be_edited(command_lab: Lab, path: str) -> None:
    assert not workspace(command_lab, "solver.py", "src/*.py").may_edit(path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("solver.py", "solver.py"),
        ("src/*.py", "src/a.py"),
        ("src/*.py", "src/ä ö.py"),
        ("**/*.py", "a.py"),
        ("**/*.py", "src/deep/a.py"),
        ("src/**/*.py", "src/a.py"),
        ("src/**", "src/deep/a.txt"),
        ("src/[ab].py", "src/b.py"),
        ("odd [name].py", "odd [name].py"),
    ],
)
def test_editable_is_a_path_or_a_glob_over_the_whole_path(command_lab: Lab, pattern: str, path: str) -> None:
    assert workspace(command_lab, pattern).may_edit(path)


def test_a_glob_finds_files_in_subfolders_and_leaves_the_others(command_lab: Lab) -> None:
    for name in ("src/a.py", "src/ä ö.py", "src/deep/b.py", "src/c.txt", "other/src/d.py"):
        (command_lab.root / name).parent.mkdir(parents=True, exist_ok=True)
        (command_lab.root / name).write_text(f"# {name}\n", encoding="utf-8")
    git(command_lab.root, "add", "-A")
    git(command_lab.root, "commit", "-qm", "more")
    ws = started(command_lab, "src/*.py", "solver.py")
    assert sorted(ws.read(head(command_lab))) == ["solver.py", "src/a.py", "src/ä ö.py"]
    sha = ws.commit(1, head(command_lab), {"src/ä ö.py": "Ä = 1\n", "src/new.py": "N = 1\n"}, "both\n")
    ws.worktree.checkout(sha)
    assert (ws.worktree.tree / "src" / "ä ö.py").read_text(encoding="utf-8") == "Ä = 1\n"
    assert git(
        command_lab.root, "-c", "core.quotePath=off", "diff", "--name-only", head(command_lab), sha
    ).splitlines() == [
        "src/new.py",
        "src/ä ö.py",
    ]


def test_a_link_is_no_editable_file_and_never_becomes_one_that_leads_away(command_lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("KEY = 1\n")
    (command_lab.root / "link.py").symlink_to(tmp_path / "secret.py")
    git(command_lab.root, "add", "-A")
    git(command_lab.root, "commit", "-qm", "a link")
    ws = started(command_lab, "*.py")
    assert "link.py" not in ws.read(head(command_lab))
    sha = ws.commit(1, head(command_lab), {"link.py": str(tmp_path / "secret.py")}, "escape\n")
    ws.worktree.checkout(sha)
    assert not (ws.worktree.tree / "link.py").is_symlink()
    assert (tmp_path / "secret.py").read_text() == "KEY = 1\n"


def test_the_mode_of_a_file_is_kept(command_lab: Lab) -> None:
    (command_lab.root / "solver.py").chmod(0o755)
    git(command_lab.root, "commit", "-qam", "executable")
    ws = started(command_lab)
    sha = ws.commit(1, head(command_lab), {"solver.py": NEW}, "m\n")
    assert git(command_lab.root, "ls-tree", sha, "solver.py").startswith("100755")
    ws.worktree.checkout(sha)
    assert os.access(ws.worktree.tree / "solver.py", os.X_OK)


def test_texts_are_stored_byte_for_byte(command_lab: Lab) -> None:
    git(command_lab.root, "config", "core.autocrlf", "input")
    ws = started(command_lab)
    text = "A = 'é'\r\nB = 1\n\n\nC = '\u2028'"
    sha = ws.commit(1, head(command_lab), {"solver.py": text}, "m\n")
    assert ws.read(sha) == {"solver.py": text}


def test_an_editable_file_that_is_no_text_is_named(command_lab: Lab) -> None:
    (command_lab.root / "solver.py").write_bytes(b"\xff\xfe\n")
    git(command_lab.root, "commit", "-qam", "binary")
    with pytest.raises(WorkspaceError, match=r"solver\.py at .* is not UTF-8 text"):
        workspace(command_lab).read(head(command_lab))


# --- commits and refs


def test_a_commit_needs_no_identity_and_keeps_the_words(command_lab: Lab) -> None:
    ws = started(command_lab)
    words = "Ünïcode 試: a title\n\n" + "why " * 60_000 + "\n"
    sha = ws.commit(1, head(command_lab), {"solver.py": NEW}, words)
    assert (
        git(command_lab.root, "log", "-1", "--format=%an <%ae>", sha) == "autoresearch-mlx <autoresearch-mlx@localhost>"
    )
    assert git(command_lab.root, "log", "-1", "--format=%B", sha) == words.strip()
    assert ws.title(sha) == "Ünïcode 試: a title"


@pytest.mark.parametrize("title", ["", "\0", "a\0b", "-F", "--amend", "\n\n", "# a comment?"])
def test_no_title_stops_a_commit(command_lab: Lab, title: str) -> None:
    ws = started(command_lab)
    sha = ws.commit(1, head(command_lab), {"solver.py": NEW}, f"{title}\n")
    assert ws.title(sha) == title.replace("\0", "").strip()


def test_a_commit_is_found_by_number_only_on_the_base_it_was_made_on(command_lab: Lab) -> None:
    ws = started(command_lab)
    base = head(command_lab)
    sha = ws.commit(1, base, {"solver.py": NEW}, "m\n")
    assert git(command_lab.root, "rev-parse", "refs/autoresearch/t/1") == sha
    assert ws.made_on(1, {base, sha}) == (base, sha)
    assert ws.made_on(1, {sha}) is None
    assert ws.made_on(2, {base}) is None


def test_the_ref_of_an_experiment_that_never_was_is_dropped(command_lab: Lab) -> None:
    ws = started(command_lab)
    sha = ws.commit(1, head(command_lab), {"solver.py": NEW}, "m\n")
    ws.forget(1, sha)
    ws.forget(1, sha)
    assert ws.made_on(1, {head(command_lab)}) is None


def test_a_ref_that_another_made_is_neither_overwritten_nor_dropped(command_lab: Lab) -> None:
    ws = started(command_lab)
    theirs = ws.commit(1, head(command_lab), {"solver.py": NEW}, "theirs\n")
    with pytest.raises(WorkspaceError, match=r"refs/autoresearch/t/1 is at .* this session did not make") as caught:
        ws.commit(1, head(command_lab), {"solver.py": "X = 2\n"}, "ours\n")
    assert "--tag NAME" in caught.value.hint
    ws.forget(1, head(command_lab))
    assert git(command_lab.root, "rev-parse", "refs/autoresearch/t/1") == theirs
    again = ws.commit(1, head(command_lab), {"solver.py": "X = 2\n"}, "again\n", earlier=theirs)
    assert git(command_lab.root, "rev-parse", "refs/autoresearch/t/1") == again


@pytest.mark.parametrize("variable", ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"])
def test_what_git_tells_its_hooks_does_not_lead_us_to_the_users_index(
    command_lab: Lab, tmp_path: Path, variable: str
) -> None:
    """A run may be started by a hook of git, which has these variables."""
    environment = {**os.environ, variable: str(tmp_path / "theirs")}
    work = f"""
from pathlib import Path
from autoresearch_mlx.store.workspace import Workspace
from autoresearch_mlx.store.worktree import Worktree
folder = Path({str(command_lab.folder("t"))!r})
folder.mkdir(parents=True)
ws = Workspace(Path({str(command_lab.root)!r}), folder, "t", ["solver.py"])
ws.start({head(command_lab)!r})
Worktree(ws).ensure()
"""
    subprocess.run([sys.executable, "-c", work], env=environment, check=True)
    assert (command_lab.folder("t") / "worktree" / "solver.py").exists()
    assert not (tmp_path / "theirs").exists()


def test_nothing_but_the_files_given_differs_from_the_base(command_lab: Lab) -> None:
    (command_lab.root / "bench.py").write_text("print('METRIC score=0')\n")  # the user's uncommitted change
    ws = started(command_lab)
    sha = ws.commit(1, head(command_lab), {"solver.py": NEW}, "m\n")
    assert diff(command_lab.root, head(command_lab), sha).count("diff --git") == 1


# --- the branch


def test_a_keep_on_a_branch_that_was_reset_to_an_earlier_commit_of_ours_or_deleted_moves_it(command_lab: Lab) -> None:
    ws = started(command_lab)
    base = head(command_lab)
    first = ws.commit(1, base, {"solver.py": NEW}, "m\n")
    ws.keep(first, base)
    branch = "refs/heads/autoresearch/t"
    for number, act in ((2, [branch, base]), (3, ["-d", branch])):
        git(command_lab.root, "update-ref", *act)
        sha = ws.commit(number, first, {"solver.py": f"X = {number}\n"}, "m\n")
        ws.keep(sha, first, {base, first})
        assert ws.tip() == sha


def test_a_keep_on_a_branch_that_somebody_moved_is_refused(command_lab: Lab) -> None:
    ws = started(command_lab)
    base = head(command_lab)
    sha = ws.commit(1, base, {"solver.py": NEW}, "m\n")
    theirs = ws.commit(2, base, {"solver.py": "X = 2\n"}, "theirs\n")
    git(command_lab.root, "update-ref", "refs/heads/autoresearch/t", theirs)
    with pytest.raises(WorkspaceError, match="somebody committed to it"):
        ws.keep(sha, base)
    assert ws.tip() == theirs


def test_settling_brings_an_own_commit_back_and_stops_at_a_foreign_one(command_lab: Lab) -> None:
    ws = started(command_lab)
    base = head(command_lab)
    ours = ws.commit(1, base, {"solver.py": NEW}, "m\n")
    git(command_lab.root, "update-ref", "refs/heads/autoresearch/t", ours)
    ws.settle(base, {base, ours})
    assert ws.tip() == base
    git(command_lab.root, "update-ref", "refs/heads/autoresearch/t", ours)
    with pytest.raises(WorkspaceError, match="somebody committed to it") as caught:
        ws.settle(base, {base})
    subprocess.run(caught.value.hint.split(": ", 1)[1], shell=True, cwd=command_lab.root, check=True)
    assert git(command_lab.root, "rev-parse", "mine-t") == ours
    ws.settle(base, {base})


def test_a_branch_that_was_deleted_is_made_again(command_lab: Lab) -> None:
    ws = started(command_lab)
    git(command_lab.root, "update-ref", "-d", "refs/heads/autoresearch/t")
    assert ws.tip() is None
    ws.settle(head(command_lab), set())
    ws.worktree.ensure()
    assert ws.tip() == head(command_lab)


def test_a_branch_is_started_once(command_lab: Lab) -> None:
    ws = started(command_lab)
    with pytest.raises(WorkspaceError, match="exists already"):
        ws.start(head(command_lab))
