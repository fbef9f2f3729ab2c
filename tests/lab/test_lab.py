"""How a lab is found, and which of its sessions a command means."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from autoresearch_mlx.errors import ConfigError, LabError
from autoresearch_mlx.lab.lab import Lab, find_lab, find_session, new_tag, refuse_tag


def session(lab: Lab, tag: str) -> None:
    lab.folder(tag).mkdir(parents=True)
    (lab.folder(tag) / "ledger.jsonl").write_text("{}\n")
    time.sleep(0.02)  # the order is that of time


@pytest.mark.parametrize("mark", ["lab.toml", "train_mlx.py"])
def test_a_lab_is_the_nearest_directory_upwards_with_settings_or_the_script(tmp_path: Path, mark: str) -> None:
    (tmp_path / "lab.toml").touch()
    inner = tmp_path / "outer" / "inner"
    (inner / "deep" / "er").mkdir(parents=True)
    (inner / mark).touch()
    assert find_lab(inner / "deep" / "er") == Lab(inner.resolve())
    assert find_lab(inner.parent) == Lab(tmp_path.resolve())


def test_directories_of_those_names_make_no_lab(tmp_path: Path) -> None:
    (tmp_path / "lab" / "lab.toml").mkdir(parents=True)
    with pytest.raises(LabError) as caught:
        find_lab(tmp_path / "lab")
    assert str(caught.value).startswith(
        f"no lab here: neither {(tmp_path / 'lab').resolve()} nor a folder above it has a lab.toml"
    )
    assert "autoresearch-mlx init" in caught.value.hint


def test_inside_of_a_sessions_worktree_the_lab_around_it_is_meant(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").touch()
    worktree = tmp_path / ".autoresearch" / "t" / "worktree"
    worktree.mkdir(parents=True)
    (worktree / "lab.toml").touch()
    assert find_lab(worktree) == Lab(tmp_path.resolve())
    worktree.rename(worktree.with_name("worktree-2"))
    assert find_lab(worktree.with_name("worktree-2")) == Lab(tmp_path.resolve())


def test_our_folder_hides_itself_from_git(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.make_state()
    assert (tmp_path / ".autoresearch" / ".gitignore").read_text() == "*\n"
    (tmp_path / ".autoresearch" / ".gitignore").write_text("mine\n")
    lab.make_state()
    assert (tmp_path / ".autoresearch" / ".gitignore").read_text() == "mine\n"


def test_the_session_meant_is_the_one_named_or_the_last_one_worked_on(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    session(lab, "a")
    session(lab, "b")
    assert lab.tags() == ["a", "b"]
    assert find_session(lab, None) == lab.folder("b")
    lab.set_current("a")
    assert lab.current() == "a"
    assert find_session(lab, None) == lab.folder("a")
    assert find_session(lab, "b") == lab.folder("b")


@pytest.mark.parametrize("note", ["gone\n", "", "\n"])
def test_a_note_of_a_session_that_is_gone_is_passed_over(tmp_path: Path, note: str) -> None:
    lab = Lab(tmp_path)
    session(lab, "a")
    (lab.state / "current").write_text(note)
    assert lab.current() == "a"


def test_a_folder_without_a_ledger_is_no_session(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.folder("half").mkdir(parents=True)
    assert lab.tags() == []
    assert lab.current() is None
    with pytest.raises(LabError, match="no session yet") as caught:
        find_session(lab, None)
    assert "autoresearch-mlx run" in caught.value.hint


def test_an_unknown_session_is_answered_with_those_that_are_there(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    with pytest.raises(LabError, match="there is no session x") as caught:
        find_session(lab, "x")
    assert "starts one" in caught.value.hint
    session(lab, "a")
    session(lab, "b")
    with pytest.raises(LabError) as caught:
        find_session(lab, "x")
    assert caught.value.hint == "sessions here: a, b"


def test_a_new_tag_is_the_day_as_upstream_writes_it_and_never_a_taken_one(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    first = new_tag(lab)
    assert re.fullmatch(r"[a-z]{3}\d\d", first)
    session(lab, first)
    assert new_tag(lab) == f"{first}-2"
    session(lab, f"{first}-2")
    assert new_tag(lab) == f"{first}-3"
    assert new_tag(lab, {f"{first}-3", f"{first}-4".upper()}) == f"{first}-5"


@pytest.mark.parametrize("tag", ["current", "Current", "CORPUS", "corpus.tmp", "current.tmp"])
def test_names_of_our_own_files_are_no_tags(tmp_path: Path, tag: str) -> None:
    with pytest.raises(ConfigError, match="the lab has a file of that name"):
        refuse_tag(Lab(tmp_path), tag)


@pytest.mark.parametrize("tag", ["", "-x", "a/b", "a..b", "a.", "a.lock", "A.LOCK", "ä", "a b", "t\n", "~", "x" * 101])
def test_what_cannot_name_a_folder_and_a_branch_is_no_tag(tmp_path: Path, tag: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot name a session|at most 100 characters"):
        refuse_tag(Lab(tmp_path), tag)


def test_a_session_of_an_earlier_version_keeps_its_name(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    session(lab, "corpus")
    refuse_tag(lab, "corpus")


def test_tags_that_differ_in_case_alone_are_two_where_the_disk_tells_them_apart(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    session(lab, "night")
    if (lab.state / "NIGHT").exists():
        with pytest.raises(ConfigError, match="the same name as night"):
            refuse_tag(lab, "NIGHT")
    else:
        refuse_tag(lab, "NIGHT")


def test_a_session_whose_folder_has_the_place_of_our_note_is_answered_with_the_remedy(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    session(lab, "current")
    with pytest.raises(LabError, match="current is a folder") as caught:
        lab.set_current("other")
    assert caught.value.hint.endswith(f"mv {lab.state / 'current'} {lab.state / 'session-current'}")


def test_the_brief_is_read_as_far_as_it_can_be(tmp_path: Path) -> None:
    assert Lab(tmp_path).program() == ""
    (tmp_path / "program.md").write_bytes("# größer\n".encode() + b"\xff\n")
    assert Lab(tmp_path).program().startswith("# größer\n")
