"""A worktree is proved to have the files of the commit, whatever git's filters do; changed files are named."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import git
from workspaces import NEW, checkout_of, head, started

from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.worktree import Worktree
from autoresearch_mlx.trial.orphans import at_work


def commit(lab: Lab, **files: str) -> str:
    for name, text in files.items():
        path = lab.root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    git(lab.root, "add", "-A")
    git(lab.root, "commit", "-q", "--allow-empty", "-m", "files")
    return head(lab)


def rewrite(tree: Path) -> None:
    (tree / "solver.py").write_text("X = 9\n")


def write_and_put_back(tree: Path) -> None:
    before = (tree / "solver.py").read_bytes()
    (tree / "solver.py").write_bytes(b"X = 9\n")
    (tree / "solver.py").write_bytes(before)


def replace(tree: Path) -> None:
    (tree / "new").write_bytes((tree / "solver.py").read_bytes())
    (tree / "new").replace(tree / "solver.py")


def write_with_old_times(tree: Path) -> None:
    found = (tree / "solver.py").stat()
    (tree / "solver.py").write_text("Y" + (tree / "solver.py").read_text()[1:])
    os.utime(tree / "solver.py", ns=(found.st_atime_ns, found.st_mtime_ns))


def write_by_memory(tree: Path) -> None:
    with (tree / "solver.py").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0:1] = b"Y"


def remove(tree: Path) -> None:
    (tree / "solver.py").unlink()


def link(tree: Path) -> None:
    (tree / "solver.py").unlink()
    (tree / "solver.py").symlink_to(tree / "bench.py")


def make_a_folder(tree: Path) -> None:
    (tree / "solver.py").unlink()
    (tree / "solver.py").mkdir()


@pytest.mark.parametrize(
    "act",
    [rewrite, write_and_put_back, replace, write_with_old_times, write_by_memory, remove, link, make_a_folder],
    ids=lambda act: act.__name__,
)
def test_a_file_that_was_written_is_named(command_lab: Lab, act: Callable[[Path], None]) -> None:
    tree = started(command_lab).worktree
    laid_out = tree.lay_out(head(command_lab))
    assert laid_out.changed() == ()
    act(tree.tree)
    assert laid_out.changed() == ("solver.py",)


def test_what_a_program_adds_or_reads_is_no_change(command_lab: Lab) -> None:
    tree = started(command_lab).worktree
    laid_out = tree.lay_out(head(command_lab))
    (tree.tree / "made").mkdir()
    (tree.tree / "made" / "result.txt").touch()
    (tree.tree / "solver.py").chmod(0o755)
    (tree.tree / "solver.py").read_text()
    assert laid_out.changed() == ()


def test_a_large_file_that_was_written_is_named_even_with_its_old_times(command_lab: Lab) -> None:
    sha = commit(command_lab, large_dot_bin="x" * (2**20 + 1))
    tree = started(command_lab).worktree
    laid_out = tree.lay_out(sha)
    assert laid_out.changed() == ()
    path = tree.tree / "large.bin"
    found = path.stat()
    with path.open("r+b") as file:
        file.write(b"y")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert laid_out.changed() == ("large.bin",)


@pytest.mark.parametrize(
    ("attributes", "config"),
    [
        ("*.py text eol=crlf\n", {}),
        ("* text=auto\n", {"core.autocrlf": "true"}),
        ("* text=auto\n", {"core.eol": "crlf"}),
        ("", {"core.autocrlf": "input"}),
        ("*.py ident\n", {}),
        ("*.py filter=upper\n", {"filter.upper.smudge": "tr a-z A-Z", "filter.upper.clean": "cat"}),
        ("*.py working-tree-encoding=UTF-16\n", {}),
    ],
    ids=["eol=crlf", "autocrlf", "core.eol", "input", "ident", "one-way filter", "encoding"],
)
def test_what_gits_filters_lay_out_is_the_commit(command_lab: Lab, attributes: str, config: dict[str, str]) -> None:
    encoding = "utf-16" if "UTF-16" in attributes else "utf-8"
    (command_lab.root / "odd.py").write_bytes("# $Id$\nA = 1\n".encode(encoding))
    (command_lab.root / "crlf.txt").write_bytes(b"a\r\nb\n")
    commit(command_lab)
    for name, value in config.items():
        git(command_lab.root, "config", name, value)
    if encoding == "utf-16":
        for name in ("solver.py", "bench.py"):
            (command_lab.root / name).write_bytes((command_lab.root / name).read_text().encode(encoding))
    sha = commit(command_lab, **({"_dot_gitattributes": attributes} if attributes else {}))
    tree = started(command_lab).worktree
    for _ in range(2):
        assert tree.lay_out(sha).changed() == ()
    (tree.tree / "odd.py").write_text("# other\n")
    tree.lay_out(sha)
    assert (tree.tree / "odd.py").read_bytes() != b"# other\n"


def test_links_submodules_and_odd_names_are_compared(command_lab: Lab) -> None:
    (command_lab.root / "link").symlink_to("solver.py")
    (command_lab.root / "dangling").symlink_to("no//where/")
    sha = commit(command_lab, **{"ä ö.txt": "1\n", "'quote\"\t.txt": "2\n", "sub__deep__f.txt": "3\n"})
    tree = started(command_lab).worktree
    laid_out = tree.lay_out(sha)
    assert laid_out.changed() == ()
    (tree.tree / "link").unlink()
    (tree.tree / "link").symlink_to("bench.py")
    (tree.tree / "ä ö.txt").write_text("2\n")
    assert set(laid_out.changed()) == {"link", "ä ö.txt"}


def test_a_sparse_checkout_leaves_out_what_it_is_told_to(command_lab: Lab) -> None:
    sha = commit(command_lab, big__f_dot_txt="1\n")
    git(command_lab.root, "sparse-checkout", "set", "--no-cone", "/*", "!/big/")
    tree = started(command_lab).worktree
    assert tree.lay_out(sha).changed() == ()


def test_a_repository_with_long_hashes(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    lab.root.mkdir()
    git(lab.root, "init", "-q", "--object-format=sha256")
    sha = commit(lab, solver_dot_py="X = 1\n")
    tree = started(lab).worktree
    laid_out = tree.lay_out(sha)
    assert laid_out.changed() == ()
    rewrite(tree.tree)
    assert laid_out.changed() == ("solver.py",)


def test_an_index_that_says_a_file_is_unchanged_does_not_hide_that_it_is(command_lab: Lab) -> None:
    tree = started(command_lab).worktree
    tree.lay_out(head(command_lab))
    found = (tree.tree / "solver.py").stat()
    git(tree.tree, "update-index", "--skip-worktree", "solver.py")
    rewrite(tree.tree)
    os.utime(tree.tree / "solver.py", ns=(found.st_atime_ns, found.st_mtime_ns))
    tree.lay_out(head(command_lab))
    assert (tree.tree / "solver.py").read_text().startswith("X = 4.0")


@pytest.mark.parametrize("how", ["moved", "a link to the checkout", "a folder of somebody's", "gone", "a file"])
def test_a_worktree_that_was_put_elsewhere_is_made_again_and_the_checkout_stays(command_lab: Lab, how: str) -> None:
    ws = started(command_lab)
    sha = ws.commit(1, head(command_lab), {"solver.py": NEW}, "m\n")
    (command_lab.root / "solver.py").write_text("# unsaved\n")
    (command_lab.root / "untracked.txt").touch()
    before = checkout_of(command_lab)
    where = ws.worktree.path
    where.rename(where.with_name("away"))
    if how == "a link to the checkout":
        where.symlink_to(command_lab.root)
    elif how == "a folder of somebody's":
        where.mkdir()
        (where / "solver.py").write_text("X = 0\n")
    elif how == "a file":
        where.touch()
    ws.worktree.lay_out(sha)
    assert (ws.worktree.tree / "solver.py").read_text() == NEW
    assert checkout_of(command_lab) == before


@pytest.fixture
def writer() -> Iterator[Callable[[Path], int]]:
    """Yield a function that starts a program of the user's, which writes a file all the time."""
    started: list[subprocess.Popen[bytes]] = []

    def start(path: Path) -> int:
        loop = "while True: p.write_text('X = 0'); time.sleep(0.002)"
        work = f"import pathlib, time\np = pathlib.Path({str(path)!r})\n{loop}"
        started.append(subprocess.Popen([sys.executable, "-S", "-c", work], stderr=subprocess.DEVNULL))
        return started[0].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_program_of_the_users_that_writes_there_is_named_and_lives(
    command_lab: Lab, writer: Callable[[Path], int]
) -> None:
    tree = Worktree(started(command_lab), pauses=(0.0, 0.01, 0.01, 0.01, 0.01))
    pid = writer(tree.path / "solver.py")
    time.sleep(0.2)
    assert [f"process {pid}" in name for name in at_work(tree.path.resolve())] == [True]
    with pytest.raises(WorkspaceError, match=r"solver\.py.* at work there") as caught:
        for _ in range(20):  # at a lucky instant the file is as it should be
            tree.lay_out(head(command_lab))
    assert f"process {pid}" in str(caught.value) and "end the program" in caught.value.hint
    os.kill(pid, 0)
