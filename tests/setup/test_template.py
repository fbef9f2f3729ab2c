"""What ``init`` tells a person to do next."""

from __future__ import annotations

from pathlib import Path

from conftest import git

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
