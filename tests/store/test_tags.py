"""Each lab has its own tags, but branches and refs belong to the whole repository: no session takes another's."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import Recorder, Steps, command_line, git, opened, write_command_lab
from workspaces import head

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.store.tags import drop_broken, refuse_taken, tags_taken


def two_labs(tmp_path: Path) -> tuple[Lab, Lab]:
    """Make two labs in folders of one repository."""
    labs = [write_command_lab(tmp_path / "top" / name) for name in ("a", "b")]
    for lab in labs:
        shutil.rmtree(lab.root / ".git")
    git(tmp_path / "top", "init", "-q")
    git(tmp_path / "top", "add", "-A")
    git(tmp_path / "top", "commit", "-qm", "two labs")
    return labs[0], labs[1]


def run(lab: Lab, *arguments: str, experiments: int = 0) -> str:
    done = command_line("run", "--experiments", str(experiments), *arguments, cwd=lab.root)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def refs(root: Path) -> Sequence[str]:
    return git(root, "for-each-ref", "--format=%(refname) %(objectname)", "refs/autoresearch").splitlines()


@pytest.mark.slow
def test_a_second_lab_of_a_repository_takes_the_next_free_tag_and_leaves_the_first_ones_refs(tmp_path: Path) -> None:
    one, two = two_labs(tmp_path)
    run(one)
    before = refs(one.root)
    run(two)
    (first,) = one.tags()
    assert two.tags() == [f"{first}-2"]
    git(one.root, "update-ref", "-d", f"refs/heads/autoresearch/{first}")  # as an earlier version advised
    shutil.rmtree(two.state)
    run(two)
    assert two.tags() == [f"{first}-3"], "refs without a branch are taken too"
    assert set(before) <= set(refs(one.root))
    run(one, experiments=1)


@pytest.mark.slow
def test_labs_of_a_repository_that_start_at_the_same_time_get_different_tags(tmp_path: Path) -> None:
    labs = two_labs(tmp_path)
    with ThreadPoolExecutor() as side_by_side:
        list(side_by_side.map(run, labs))
    tags = {git(lab.root, "rev-parse", f"autoresearch/{tag}") and tag for lab in labs for tag in [lab.current()]}
    assert len(tags) == 2


@pytest.mark.slow
def test_a_lab_in_another_worktree_of_the_repository_takes_the_next_free_tag(command_lab: Lab, tmp_path: Path) -> None:
    git(command_lab.root, "worktree", "add", "-q", str(tmp_path / "other"))
    other = Lab(tmp_path / "other")
    run(command_lab)
    run(other)
    assert other.tags() == [f"{command_lab.tags()[0]}-2"]


@pytest.mark.slow
def test_two_clones_in_one_folder_have_nothing_in_common(command_lab: Lab, tmp_path: Path) -> None:
    run(command_lab)
    git(tmp_path, "clone", "-q", str(command_lab.root), "clone")
    run(Lab(tmp_path / "clone"))
    assert Lab(tmp_path / "clone").tags() == command_lab.tags()


@pytest.mark.parametrize(
    "ref",
    [
        "refs/heads/autoresearch/t",
        "refs/heads/autoresearch/t/deeper",
        "refs/autoresearch/t",
        "refs/autoresearch/t/7",
    ],
)
def test_a_tag_whose_refs_exist_in_any_depth_is_taken(command_lab: Lab, ref: str) -> None:
    git(command_lab.root, "update-ref", ref, "HEAD")
    assert tags_taken(command_lab.root) == {"t"}
    with pytest.raises(LabError, match=f"the tag t is taken in this repository: {ref} exists") as caught:
        refuse_taken(command_lab.root, "t")
    assert "another --tag" in caught.value.hint
    for free in ("t2", "t.2", "T"):
        refuse_taken(command_lab.root, free)


def test_where_names_ignore_case_a_tag_of_another_case_is_taken(command_lab: Lab) -> None:
    git(command_lab.root, "config", "core.ignorecase", "true")
    git(command_lab.root, "update-ref", "refs/heads/autoresearch/t", "HEAD")
    with pytest.raises(LabError, match="the tag T is taken"):
        refuse_taken(command_lab.root, "T")


@pytest.mark.parametrize("ref", ["refs/heads/autoresearch", "refs/autoresearch"])
def test_a_ref_in_the_place_of_all_sessions_is_answered_with_a_way_to_keep_it(command_lab: Lab, ref: str) -> None:
    git(command_lab.root, "update-ref", ref, "HEAD")
    done = command_line("run", "--tag", "t", cwd=command_lab.root)
    assert done.returncode == 1
    assert f"because {ref} exists" in done.stderr
    remedy = done.stderr.partition("hint: ")[2].partition(": ")[2].strip()
    for command in remedy.split(" && "):
        git(command_lab.root, *command.split()[1:])
    kept = git(command_lab.root, "for-each-ref", "--format=%(objectname)").splitlines()
    assert kept.count(head(command_lab)) == 2, "the commit has another name now"
    run(command_lab, "--tag", "t")


def test_a_copy_of_a_lab_does_not_move_the_branch_of_the_first(tmp_path: Path, screen: Recorder) -> None:
    one, two = two_labs(tmp_path)
    with opened(one, "t") as session:
        research(session, Steps({"X": 3.0}), Policy(experiments=1), screen)
    shutil.copytree(one.state, two.state)
    with pytest.raises(LabError, match=f"session t belongs to {one.root}") as caught, opened(two, "t"):
        pass
    assert "--tag NAME" in caught.value.hint
    shutil.rmtree(one.root)  # moved, not copied
    with opened(two, "t"):
        pass


@pytest.mark.parametrize("part", ["file", "tree", "commit", None])
def test_the_ref_of_a_commit_that_a_collection_took_parts_of_is_dropped(tmp_path: Path, part: str | None) -> None:
    git(tmp_path, "init", "-q")
    blob = tmp_path / "a.txt"
    blob.write_text("text of this test\n")
    parts = {"file": git(tmp_path, "hash-object", "-w", "a.txt").strip()}
    git(tmp_path, "add", "a.txt")
    parts["tree"] = git(tmp_path, "write-tree").strip()
    parts["commit"] = git(tmp_path, "commit-tree", "-m", "one", parts["tree"]).strip()
    git(tmp_path, "update-ref", "refs/autoresearch/t/4", parts["commit"])
    if part is not None:
        (tmp_path / ".git" / "objects" / parts[part][:2] / parts[part][2:]).unlink()
    drop_broken(tmp_path, "t", 4)
    drop_broken(tmp_path, "t", 5)
    assert git(tmp_path, "for-each-ref", "--format=%(refname)").split() == (
        ["refs/autoresearch/t/4"] if part is None else []
    )
