"""The session's worktree in repositories of all kinds; the user's own worktrees are never touched."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import git, write_command_lab
from workspaces import NEW, checkout_of, head, started, whole_life

from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.git import commit_all, diff, init_repository, resolve, top_of
from autoresearch_mlx.store.workspace import Workspace


def test_the_worktree_is_clean_again_whatever_a_run_left_there(command_lab: Lab) -> None:
    (command_lab.root / ".gitignore").write_text("*.tmp\n")
    git(command_lab.root, "add", "-A")
    git(command_lab.root, "commit", "-qm", "ignore")
    ws = started(command_lab)
    (ws.worktree.tree / "bench.py").unlink()
    (ws.worktree.tree / "solver.py").write_text("broken")
    (ws.worktree.tree / "ignored.tmp").touch()
    (ws.worktree.tree / "made" / "deep").mkdir(parents=True)
    (ws.worktree.tree / "made" / "deep" / "file").touch()
    (ws.worktree.tree / "nested").mkdir()
    init_repository(ws.worktree.tree / "nested")
    git(ws.worktree.tree, "add", "solver.py")
    git_dir = Path(git(ws.worktree.tree, "rev-parse", "--absolute-git-dir"))
    (git_dir / "index.lock").touch()  # a killed git leaves this
    ws.worktree.ensure()
    assert git(ws.worktree.tree, "status", "--porcelain", "--ignored") == ""
    assert sorted(p.name for p in ws.worktree.tree.iterdir()) == [
        ".git",
        ".gitignore",
        "bench.py",
        "lab.toml",
        "solver.py",
    ]
    assert git(ws.worktree.tree, "symbolic-ref", "HEAD") == "refs/heads/autoresearch/t"


def test_a_worktree_left_on_another_branch_or_detached_comes_back(command_lab: Lab) -> None:
    ws = started(command_lab)
    for wrong in (["checkout", "-q", "--detach"], ["checkout", "-q", "-b", "elsewhere"]):
        git(ws.worktree.tree, *wrong)
        ws.worktree.ensure()
        assert git(ws.worktree.tree, "symbolic-ref", "HEAD") == "refs/heads/autoresearch/t"


def test_to_restore_the_worktree_the_branch_is_not_written(command_lab: Lab) -> None:
    """If the branch were written, a commit that somebody makes at that moment would be undone."""
    ws = started(command_lab)
    (ws.worktree.tree / "solver.py").write_text("broken")
    lock = command_lab.root / ".git" / "refs" / "heads" / "autoresearch" / "t.lock"
    lock.touch()
    ws.worktree.restore()
    assert (ws.worktree.tree / "solver.py").read_text().startswith("X = 4.0")
    ws.clear(patience=0.0)
    assert not lock.exists(), "it was of a process that died, as the session is ours"


@pytest.mark.parametrize(
    "damage",
    [
        "gone",
        "no link",
        "link to nowhere",
        "link to the user's",
        "a repository of its own",
        "empty",
        "a file",
        "unregistered",
        "locked in its making",
        "half made",
        "half taken back",
    ],
)
def test_a_damaged_worktree_is_made_anew_and_the_users_checkout_stays(command_lab: Lab, damage: str) -> None:
    ws = started(command_lab)
    (command_lab.root / "solver.py").write_text("# unsaved\n")
    (command_lab.root / "notes.txt").write_text("untracked\n")
    before = checkout_of(command_lab)
    where = command_lab.folder("t") / "worktree"
    record = command_lab.root / ".git" / "worktrees" / "worktree"
    if damage == "no link":
        (where / ".git").unlink()
    elif damage == "link to nowhere":
        (where / ".git").write_text("gitdir: /nowhere/at/all\n")
    elif damage == "link to the user's":
        (where / ".git").write_text(f"gitdir: {command_lab.root / '.git'}\n")
    elif damage == "a repository of its own":
        (where / ".git").unlink()
        init_repository(where)
    elif damage == "unregistered":
        shutil.rmtree(command_lab.root / ".git" / "worktrees")
    else:
        shutil.rmtree(where)
        if damage == "empty":
            where.mkdir()
        elif damage == "a file":
            where.touch()
        elif damage == "locked in its making":
            (record / "locked").write_text("initializing\n")
        elif damage == "half made":
            (record / "commondir").write_bytes(b"")
        elif damage == "half taken back":
            (record / "gitdir").unlink()
    ws.worktree.ensure()
    assert (ws.worktree.tree / "solver.py").read_text().startswith("X = 4.0")
    assert checkout_of(command_lab) == before
    assert [path.name for path in record.parent.iterdir()] == ["worktree"]


def test_git_inside_a_worktree_without_its_link_fails_instead_of_reaching_the_users_checkout(command_lab: Lab) -> None:
    ws = started(command_lab)
    (command_lab.folder("t") / "worktree" / ".git").unlink()
    (command_lab.root / "solver.py").write_text("# unsaved\n")
    for act in (ws.worktree.restore, lambda: ws.worktree.checkout(head(command_lab))):
        with pytest.raises(WorkspaceError, match="not a git repository"):
            act()
    assert (command_lab.root / "solver.py").read_text() == "# unsaved\n"


@pytest.mark.parametrize("act", ["rm .git", "rm .git && git init -q", "echo 'gitdir: /nowhere' > .git"])
def test_after_a_program_that_breaks_the_link_of_its_worktree_the_next_run_finds_its_files(
    command_lab: Lab, act: str
) -> None:
    ws = started(command_lab)
    before, commit = checkout_of(command_lab), head(command_lab)
    ws.worktree.lay_out(commit)
    subprocess.run(act, shell=True, check=True, cwd=ws.worktree.path)
    assert ws.worktree.added(commit) == ()
    assert ws.worktree.lay_out(commit).changed() == ()
    assert checkout_of(command_lab) == before


CALL = """
import sys
from pathlib import Path
from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.store.workspace import Workspace
from autoresearch_mlx.store.worktree import Worktree
root, act, *arguments = sys.argv[1:]
workspace = Workspace(Path(root), Path(root) / ".autoresearch" / "t", "t", ["solver.py"])
try:
    getattr(Worktree(workspace), act)(*arguments)
except WorkspaceError as error:
    print(error)
"""


@pytest.mark.parametrize("act", ["checkout", "restore"])
def test_a_worktree_deleted_under_a_run_never_makes_the_current_directory_the_target(
    command_lab: Lab, act: str
) -> None:
    started(command_lab)
    shutil.rmtree(command_lab.folder("t") / "worktree")
    (command_lab.root / "solver.py").write_text("# unsaved\n")
    (command_lab.root / "untracked.txt").touch()
    before = checkout_of(command_lab)
    arguments = [head(command_lab)] if act == "checkout" else []
    done = subprocess.run(
        [sys.executable, "-c", CALL, str(command_lab.root), act, *arguments],
        cwd=command_lab.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "No such file or directory" in done.stdout
    assert checkout_of(command_lab) == before


def test_a_lent_worktree_has_the_commits_files_on_no_branch_and_comes_back_clean(command_lab: Lab) -> None:
    ws = started(command_lab)
    other = ws.commit(1, head(command_lab), {"solver.py": NEW}, "m\n")
    before = checkout_of(command_lab)
    with ws.worktree.lent(other) as tree:
        assert tree == ws.worktree.tree
        assert (tree / "solver.py").read_text() == NEW
        assert git(tree, "rev-parse", "HEAD") == other
        assert git(tree, "branch", "--show-current") == ""
        assert git(tree, "status", "--porcelain") == ""
        (tree / "solver.py").write_text("mine\n")
        git(tree, "commit", "-qam", "mine")
    assert ws.tip() == head(command_lab)
    assert (ws.worktree.tree / "solver.py").read_text().startswith("X = 4.0")
    assert git(ws.worktree.tree, "symbolic-ref", "HEAD") == "refs/heads/autoresearch/t"
    assert git(ws.worktree.tree, "status", "--porcelain") == ""
    assert checkout_of(command_lab) == before


@pytest.mark.parametrize(
    "act",
    [
        ["checkout", "-q", "autoresearch/t"],
        ["update-ref", "refs/heads/autoresearch/t", "HEAD"],
        ["update-ref", "-d", "refs/heads/autoresearch/t"],
    ],
)
def test_a_branch_that_was_moved_while_the_worktree_was_lent_is_put_back(command_lab: Lab, act: list[str]) -> None:
    ws = started(command_lab)
    with pytest.raises(ZeroDivisionError), ws.worktree.lent(head(command_lab)) as tree:
        git(tree, "commit", "-q", "--allow-empty", "-m", "on no branch")
        git(tree, *act)
        if act[0] == "checkout":
            git(tree, "commit", "-q", "--allow-empty", "-m", "on the branch")
        raise ZeroDivisionError
    assert ws.tip() == head(command_lab)
    assert git(ws.worktree.tree, "rev-parse", "HEAD") == head(command_lab)


def test_a_worktree_cannot_be_lent_when_the_branch_is_gone(command_lab: Lab) -> None:
    ws = started(command_lab)
    git(command_lab.root, "update-ref", "-d", "refs/heads/autoresearch/t")
    with pytest.raises(WorkspaceError, match="branch autoresearch/t is gone"), ws.worktree.lent(head(command_lab)):
        pass


def test_the_users_own_worktrees_stay_even_while_their_disk_is_away(command_lab: Lab, tmp_path: Path) -> None:
    git(command_lab.root, "worktree", "add", "-q", str(tmp_path / "disk"), "-b", "theirs")
    (tmp_path / "disk").rename(tmp_path / "away")
    ws = started(command_lab)
    shutil.rmtree(command_lab.folder("t") / "worktree")
    ws.worktree.ensure()
    (tmp_path / "away").rename(tmp_path / "disk")
    assert git(tmp_path / "disk", "branch", "--show-current") == "theirs"


def test_two_sessions_have_two_worktrees(command_lab: Lab) -> None:
    one, two = started(command_lab, tag="one"), started(command_lab, tag="two")
    one.worktree.checkout(one.commit(1, head(command_lab), {"solver.py": NEW}, "m\n"))
    assert (two.worktree.tree / "solver.py").read_text().startswith("X = 4.0")


# --- repositories as people have them


def test_a_dirty_checkout_stays_as_it_is(command_lab: Lab) -> None:
    root = command_lab.root
    (root / "solver.py").write_text("# staged\n")
    git(root, "add", "solver.py")
    (root / "solver.py").write_text("# staged, then changed\n")
    (root / "bench.py").unlink()
    (root / "untracked.txt").touch()
    status = git(root, "status", "--porcelain")
    before = checkout_of(command_lab)
    whole_life(started(command_lab), command_lab)
    assert checkout_of(command_lab) == before
    assert git(root, "status", "--porcelain") == status


def test_the_users_hooks_do_not_run(command_lab: Lab) -> None:
    hooks = command_lab.root / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in (
        "pre-commit",
        "post-checkout",
        "commit-msg",
        "reference-transaction",
        "post-index-change",
        "prepare-commit-msg",
    ):
        (hooks / name).write_text(f"#!/bin/sh\ntouch '{command_lab.root}/hook-ran'\nexit 1\n")
        (hooks / name).chmod(0o755)
    whole_life(started(command_lab), command_lab)
    assert not (command_lab.root / "hook-ran").exists()


def test_a_lock_on_the_users_index_does_not_stop_us(command_lab: Lab) -> None:
    lock = command_lab.root / ".git" / "index.lock"
    lock.touch()
    whole_life(started(command_lab), command_lab)
    assert lock.exists()


def test_a_detached_head_stays_detached(command_lab: Lab) -> None:
    git(command_lab.root, "checkout", "-q", "--detach")
    before = checkout_of(command_lab)
    whole_life(started(command_lab), command_lab)
    assert checkout_of(command_lab) == before


def test_paths_with_spaces_and_unicode(tmp_path: Path) -> None:
    top = tmp_path / "my répo $HOME 'quoted'"
    lab = write_command_lab(top / "a läb (2)")
    (lab.root / ".git").rename(top / ".git")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "moved")
    ws = started(lab)
    sha = whole_life(ws, lab)
    assert ws.worktree.tree.relative_to(lab.folder("t") / "worktree").as_posix() == "a läb (2)"
    assert git(top, "-c", "core.quotePath=off", "show", "--name-only", "--format=", sha) == "a läb (2)/solver.py"
    assert diff(lab.root, head(lab), sha).startswith("diff --git a/solver.py b/solver.py")


def test_a_lab_reached_through_a_link(command_lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "short").symlink_to(command_lab.root)
    lab = Lab(tmp_path / "short")
    whole_life(started(lab), lab)


def test_a_file_of_the_same_name_outside_the_lab_is_not_the_labs(tmp_path: Path) -> None:
    lab = write_command_lab(tmp_path / "top" / "lab")
    (lab.root / ".git").rename(tmp_path / "top" / ".git")
    (tmp_path / "top" / "solver.py").write_text("outer\n")
    (tmp_path / "top" / "lab2").mkdir()
    (tmp_path / "top" / "lab2" / "solver.py").write_text("neighbour\n")
    git(tmp_path / "top", "add", "-A")
    git(tmp_path / "top", "commit", "-qm", "all")
    ws = started(lab, "**/*.py")
    assert sorted(ws.read(head(lab))) == ["bench.py", "solver.py"]
    sha = ws.commit(1, head(lab), {"solver.py": NEW}, "m\n")
    assert git(tmp_path / "top", "show", f"{sha}:solver.py") == "outer"


def test_a_submodule_in_the_repository_is_left_alone(command_lab: Lab, tmp_path: Path) -> None:
    other = write_command_lab(tmp_path / "other")
    git(command_lab.root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other.root), "module")
    git(command_lab.root, "commit", "-qm", "with a module")
    ws = started(command_lab, "**/*", "**")
    assert sorted(ws.read(head(command_lab))) == [".gitmodules", "bench.py", "lab.toml", "solver.py"]
    sha = whole_life(started(command_lab, tag="u"), command_lab)
    assert git(command_lab.root, "ls-tree", sha, "module").startswith("160000")
    assert (command_lab.root / "module" / "solver.py").exists()


def test_a_repository_without_commits_has_a_top_and_no_head(tmp_path: Path) -> None:
    init_repository(tmp_path)
    assert top_of(tmp_path) == tmp_path.resolve()
    assert resolve(tmp_path, "HEAD") is None


def test_outside_of_any_repository(tmp_path: Path) -> None:
    assert top_of(tmp_path) is None
    assert resolve(tmp_path, "HEAD") is None
    with pytest.raises(WorkspaceError, match="is not in a git checkout") as caught:
        Workspace(tmp_path, tmp_path / "s", "t", ["solver.py"])
    assert "git init" in caught.value.hint


def test_a_bare_repository_has_no_checkout_to_work_beside(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", ".")
    assert top_of(tmp_path) is None
    with pytest.raises(WorkspaceError, match="is not in a git checkout"):
        Workspace(tmp_path, tmp_path / "s", "t", ["solver.py"])


def test_first_files_are_committed_without_an_identity_of_the_user(tmp_path: Path) -> None:
    init_repository(tmp_path)
    (tmp_path / "a b.txt").write_text("é\n", encoding="utf-8")
    commit_all(tmp_path, ["a b.txt"], "A new lab")
    assert git(tmp_path, "log", "--format=%an %s") == "autoresearch-mlx A new lab"
