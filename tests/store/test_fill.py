"""The worktree has the content of submodules and LFS files without a network, and a message names what is missing."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from conftest import git, write_command_lab
from workspaces import checkout_of, head, started

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.fill import Fillings, fillings_of
from autoresearch_mlx.store.git import common_of
from autoresearch_mlx.store.laid_out import entries_of

FILES = ("protocol.file.allow=always", "advice.detachedHead=false")


def add_module(lab: Lab, source: Path, path: str) -> None:
    git(lab.root, "-c", FILES[0], "submodule", "--quiet", "add", str(source), path)
    git(lab.root, "-c", FILES[0], "submodule", "--quiet", "update", "--init", "--recursive")
    git(lab.root, "commit", "-qm", "a submodule")


def fillings(lab: Lab) -> Fillings:
    return fillings_of(lab.root, common_of(lab.root), head(lab), entries_of(lab.root, head(lab)))


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Make a repository with a link, an executable file, and a submodule of its own."""
    inner = write_command_lab(tmp_path / "inner").root
    outer = write_command_lab(tmp_path / "outer").root
    (outer / "link").symlink_to("solver.py")
    (outer / "bench.py").chmod(0o755)
    add_module(Lab(outer), inner, "deep/inner")
    git(outer, "add", "-A")
    git(outer, "commit", "-qm", "more")
    return outer


@pytest.mark.parametrize("away", ["nothing", "the checkout of the module", "the remote"])
def test_a_submodule_is_filled_from_what_is_here(command_lab: Lab, library: Path, away: str) -> None:
    add_module(command_lab, library, "libs/x")
    if away == "the checkout of the module":
        git(command_lab.root, "submodule", "--quiet", "deinit", "-f", "libs/x")
    elif away == "the remote":
        shutil.rmtree(library)
    before = checkout_of(command_lab)
    tree = started(command_lab).worktree
    laid_out = tree.lay_out(head(command_lab))
    module = tree.tree / "libs" / "x"
    assert (module / "solver.py").read_text().startswith("X = 4.0")
    assert (module / "link").is_symlink() and (module / "bench.py").stat().st_mode & 0o100
    assert (module / "deep" / "inner" / "bench.py").exists()
    assert laid_out.changed() == ()
    assert list(fillings(command_lab).empty()) == []
    assert checkout_of(command_lab) == before


def test_what_a_run_left_in_a_submodule_is_gone_at_the_next_one(command_lab: Lab, library: Path) -> None:
    add_module(command_lab, library, "x")
    tree = started(command_lab).worktree
    laid_out = tree.lay_out(head(command_lab))
    (tree.tree / "x" / "solver.py").write_text("X = 0\n")
    (tree.tree / "x" / "deep" / "junk").touch()
    assert laid_out.changed() == ("x/solver.py",)
    tree.lay_out(head(command_lab))
    assert (tree.tree / "x" / "solver.py").read_text().startswith("X = 4.0")
    assert not (tree.tree / "x" / "deep" / "junk").exists()


def test_a_submodule_whose_commit_is_not_here_is_named_with_the_command_that_brings_it(
    command_lab: Lab, library: Path
) -> None:
    add_module(command_lab, library, "x")
    git(command_lab.root, "submodule", "--quiet", "deinit", "-f", "x")
    shutil.rmtree(command_lab.root / ".git" / "modules")
    started(command_lab).worktree.lay_out(head(command_lab))
    assert list(fillings(command_lab).empty()) == ["submodule x (`git submodule update --init x` fills it)"]


def pointer(content: bytes) -> tuple[str, str]:
    sha = hashlib.sha256(content).hexdigest()
    return sha, f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {len(content)}\n"


def large_file(lab: Lab, content: bytes, store: Path | None) -> None:
    sha, text = pointer(content)
    (lab.root / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (lab.root / "data.bin").write_text(text)
    git(lab.root, "add", "-A")
    git(lab.root, "commit", "-qm", "a large file")
    if store is not None:
        place = store / "objects" / sha[:2] / sha[2:4] / sha
        place.parent.mkdir(parents=True)
        place.write_bytes(content)


@pytest.mark.parametrize("where", [".git/lfs", "elsewhere"])
def test_an_lfs_file_is_filled_from_the_store_of_git_lfs(command_lab: Lab, where: str) -> None:
    content = b"\0weights" * 5000
    if where == "elsewhere":
        git(command_lab.root, "config", "lfs.storage", str(command_lab.root.parent / "elsewhere"))
    store = command_lab.root / where if where == ".git/lfs" else command_lab.root.parent / where
    large_file(command_lab, content, store)
    tree = started(command_lab).worktree
    for _ in range(2):
        laid_out = tree.lay_out(head(command_lab))
        assert (tree.tree / "data.bin").read_bytes() == content
        assert laid_out.changed() == ()
    with tree.lent(head(command_lab)) as lent:
        assert (lent / "data.bin").read_bytes() == content
    assert list(fillings(command_lab).empty()) == []


def test_an_lfs_file_is_filled_from_the_checkout_if_that_has_the_content(command_lab: Lab) -> None:
    large_file(command_lab, b"weights", None)
    assert list(fillings(command_lab).empty()) == ["Git LFS file data.bin (`git lfs pull` fetches its content)"]
    tree = started(command_lab).worktree
    tree.lay_out(head(command_lab))
    assert (tree.tree / "data.bin").read_text().startswith("version https://git-lfs")
    (command_lab.root / "data.bin").write_bytes(b"weights")
    again = started(command_lab, tag="u").worktree
    again.lay_out(head(command_lab))
    assert (again.tree / "data.bin").read_bytes() == b"weights"


def test_content_that_is_not_the_pointers_is_not_taken(command_lab: Lab) -> None:
    large_file(command_lab, b"weights", command_lab.root / ".git" / "lfs")
    sha, _ = pointer(b"weights")
    (command_lab.root / ".git" / "lfs" / "objects" / sha[:2] / sha[2:4] / sha).write_bytes(b"WEIGHTS")
    assert [each.source for each in fillings(command_lab).pointers] == [None]


def test_a_file_that_looks_like_a_pointer_and_is_not_one_of_lfs_stays(command_lab: Lab) -> None:
    large_file(command_lab, b"weights", command_lab.root / ".git" / "lfs")
    (command_lab.root / ".gitattributes").write_text("*.other filter=lfs\n")
    git(command_lab.root, "commit", "-qam", "no lfs here")
    tree = started(command_lab).worktree
    tree.lay_out(head(command_lab))
    assert (tree.tree / "data.bin").read_text().startswith("version https://git-lfs")
