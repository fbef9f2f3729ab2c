"""The next step that ``init`` prints for a person."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import command_line, git

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.setup.template import make_lab


def next_step(folder: Path) -> str:
    said: list[str] = []
    list(make_lab(folder, said.append))
    return said[-1]


def test_a_lab_of_its_own_can_run_at_once(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    assert next_step(lab) == f"next: cd {lab} && autoresearch-mlx run"
    assert git(lab, "status", "--porcelain") == ""


def test_a_lab_inside_a_repository_is_committed_first(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    lab = tmp_path / "lab"
    step = next_step(lab)
    assert step.startswith(f"next: cd {lab} && git add train_mlx.py program.md lab.toml && git commit -m ")
    git(lab, "add", ".")
    git(lab, "commit", "-qm", "a lab")
    assert next_step(lab) == f"next: cd {lab} && autoresearch-mlx run"


@pytest.mark.parametrize("ignored", ["*.toml", "*", "train_mlx.py\nprogram.md", "/*\n!*.py", "**/mylab/"])
def test_an_ignore_file_of_the_users_does_not_leave_half_a_lab(tmp_path: Path, ignored: str) -> None:
    (tmp_path / "ignore").write_text(f"{ignored}\n")
    config = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.excludesFile",
        "GIT_CONFIG_VALUE_0": str(tmp_path / "ignore"),
    }
    done = command_line("init", "mylab", cwd=tmp_path, **config)
    assert done.returncode == 0, done.stderr
    assert sorted(git(tmp_path / "mylab", "ls-files").split()) == ["lab.toml", "program.md", "train_mlx.py"]
    assert "next: cd mylab && autoresearch-mlx run" in done.stderr


def test_in_a_repository_that_ignores_the_files_the_next_step_works_as_it_is_said(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("*.toml\n")
    lab = tmp_path / "lab"
    assert "git add -f train_mlx.py program.md lab.toml" in next_step(lab)
    git(lab, "add", "-f", "train_mlx.py", "program.md", "lab.toml")
    git(lab, "commit", "-qm", "a lab")
    assert next_step(lab) == f"next: cd {lab} && autoresearch-mlx run"


@pytest.mark.parametrize("there", [False, True])
def test_when_git_refuses_nothing_of_the_lab_stays(tmp_path: Path, there: bool) -> None:
    lab = tmp_path / "deep" / "lab"
    if there:
        lab.mkdir(parents=True)
        (lab / "program.md").write_text("mine\n")
    broken = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.autocrlf", "GIT_CONFIG_VALUE_0": "nonsense"}
    done = command_line("init", str(lab), cwd=tmp_path, **broken)
    assert done.returncode == 1 and "error: git" in done.stderr
    left = sorted(path.name for path in tmp_path.rglob("*"))
    assert left == (["deep", "lab", "program.md"] if there else [])
    assert command_line("init", str(lab), cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lab.toml", "is a folder, and a lab needs a file there"),
        ("program.md", "is a link to a file that is missing"),
        (".git", "does not lead to a repository that git can read"),
    ],
)
def test_what_is_in_the_way_is_named_and_stays_alone(tmp_path: Path, name: str, said: str) -> None:
    lab = tmp_path / "lab"
    way = lab / name
    way.parent.mkdir()
    if name == "lab.toml":
        way.mkdir()
    elif name == "program.md":
        way.symlink_to(tmp_path / "nothing")
    else:
        way.write_text("gitdir: /nowhere\n")
    done = command_line("init", "lab", cwd=tmp_path)
    assert done.returncode == 1 and f"error: lab/{name} {said}" in done.stderr and "then init again" in done.stderr
    assert list(lab.iterdir()) == [way]


@pytest.mark.parametrize("kind", ["command", "evals", "mine:Kind"])
def test_a_lab_of_another_target_gets_no_training_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "lab.toml").write_text(f'[target]\nkind = "{kind}"\n')
    with pytest.raises(LabError, match=f"has the target {kind}, and needs no train_mlx.py"):
        list(make_lab(tmp_path, print))
    assert [path.name for path in tmp_path.iterdir()] == ["lab.toml"]


@pytest.mark.parametrize("inside", [".", "refs", "new/lab"])
def test_no_lab_is_made_inside_a_bare_repository(tmp_path: Path, inside: str) -> None:
    git(tmp_path, "init", "--quiet", "--bare")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(LabError, match="is a bare repository"):
        list(make_lab(tmp_path / inside, print))
    assert sorted(tmp_path.rglob("*")) == before
