"""The wheel works without the checkout: it contains the training script, the brief and the tables."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, git


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the unpacked wheel, as an installer would lay it out."""
    folder = tmp_path_factory.mktemp("wheel")
    built = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(built, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_the_wheel_holds_what_stands_at_the_root_once(installed: Path) -> None:
    for name in ("train_mlx.py", "program.md", "data/cuda_baseline.tsv"):
        assert (installed / "autoresearch_mlx" / "_lab" / name).read_bytes() == (ROOT / name).read_bytes()
    for name in ("assets/words.js", "page/templates/page.html", "dashboard/page/index.html"):
        assert (installed / "autoresearch_mlx" / "report" / name).is_file(), "report and dashboard need it"
    tops = {path.name for path in installed.iterdir()}
    assert {name.split("-")[0] for name in tops} == {"autoresearch_mlx"}, tops


@pytest.mark.slow
def test_init_makes_a_lab_that_is_ready_to_run(installed: Path, tmp_path: Path) -> None:
    def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1", "COLUMNS": "300"}
        line = [sys.executable, "-m", "autoresearch_mlx", *arguments]
        return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)

    made = command("init", "my lab", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    lab = tmp_path / "my lab"
    assert git(lab, "status", "--porcelain") == ""
    assert sorted(git(lab, "ls-files").splitlines()) == ["lab.toml", "program.md", "train_mlx.py"]
    again = command("init", cwd=lab)
    assert (again.returncode, again.stdout) == (0, ""), "nothing is written over"
    report = command("doctor", cwd=lab)
    assert str(lab) in report.stdout and report.returncode == 0, report.stdout
