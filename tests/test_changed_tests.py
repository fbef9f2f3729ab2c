"""``make check`` finds the tests of changed files by their names; each test has a repository of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, git

FILES = (
    "autoresearch_mlx/errors.py",
    "autoresearch_mlx/judge/noise.py",
    "autoresearch_mlx/agents/chat/calls.py",
    "autoresearch_mlx/hardware/claim.py",
    "docs/judge.md",
    "tests/agents/test_chat_calls.py",
    "tests/agents/test_chat_ideas.py",
    "tests/judge/test_noise.py",
    "tests/judge/test_noise_drift.py",
    "tests/judge/test_stages.py",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a repository with a branch that does not differ from main yet."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "--quiet", "-m", "all")
    git(tmp_path, "checkout", "--quiet", "-b", "work")
    return tmp_path


def changed(tree: Path, *files: str) -> tuple[list[str], str]:
    """Return the lines that the script prints, and its messages, after a line was added to these files."""
    for name in files:
        with (tree / name).open("a") as file:
            file.write("# changed\n")
    script = [sys.executable, str(ROOT / "scripts" / "changed_tests.py")]
    done = subprocess.run(script, cwd=tree, capture_output=True, text=True, check=True)
    return done.stdout.split(), done.stderr


def test_nothing_changed_nothing_is_tested(tree: Path) -> None:
    assert changed(tree) == ([], "")


def test_a_module_is_tested_by_the_files_named_after_it(tree: Path) -> None:
    assert changed(tree, "autoresearch_mlx/judge/noise.py")[0] == [
        "tests/judge/test_noise.py",
        "tests/judge/test_noise_drift.py",
    ]
    assert "tests/agents/test_chat_calls.py" in changed(tree, "autoresearch_mlx/agents/chat/calls.py")[0]


def test_a_test_file_stands_for_itself_and_a_page_for_the_tests_of_the_docs(tree: Path) -> None:
    assert changed(tree, "tests/judge/test_stages.py", "docs/judge.md")[0] == [
        "tests/judge/test_stages.py",
        "tests/test_docs.py",
    ]


def test_commits_since_main_count_and_so_do_new_files(tree: Path) -> None:
    changed(tree, "autoresearch_mlx/judge/noise.py")
    git(tree, "commit", "--quiet", "-am", "noise")
    (tree / "tests" / "judge" / "test_new.py").write_text("")
    assert "tests/judge/test_new.py" in changed(tree)[0] and "tests/judge/test_noise.py" in changed(tree)[0]


def test_a_deleted_test_file_is_not_run(tree: Path) -> None:
    git(tree, "rm", "--quiet", "tests/judge/test_stages.py")
    assert changed(tree) == ([], "")


def test_a_module_without_tests_of_its_name_is_named(tree: Path) -> None:
    found, said = changed(tree, "autoresearch_mlx/hardware/claim.py")
    assert found == []
    assert said == "no test file is named after autoresearch_mlx/hardware/claim.py: make test covers it\n"


def test_a_base_that_does_not_exist_is_told_with_the_next_step(tree: Path) -> None:
    script = [sys.executable, str(ROOT / "scripts" / "changed_tests.py"), "nowhere"]
    done = subprocess.run(script, cwd=tree, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Not a valid object name nowhere" in done.stderr
    assert "make check BASE=HEAD" in done.stderr
