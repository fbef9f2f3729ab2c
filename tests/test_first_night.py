"""The page "Your first night": its commands are run in their order, in half a minute."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_training as tiny
from conftest import ROOT, git
from forked_command import launcher
from live_run import until

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE, Journal, read

pytestmark = pytest.mark.uncounted

PAGE = ROOT / "docs" / "first-night.md"


def commands() -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).splitlines()
    assert all(line.startswith("$ ") for line in lines)
    return [line.removeprefix("$ ") for line in lines]


class Evening:
    """A person at two terminals."""

    def __init__(self, folder: Path) -> None:
        """Begin the evening in a checkout below ``folder``, the user's home, as on the page."""
        self.folder, self._home = folder / "autoresearch-mlx", folder
        self.folder.mkdir()
        git(self.folder, "init", "-q")
        git(self.folder, "commit", "-q", "--allow-empty", "-m", "a project")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._around = {**os.environ, "PATH": path, "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "100"}
        self._around |= {"AUTORESEARCH_CACHE": str(folder / "cache"), "HOME": str(folder)}
        self.night: subprocess.Popen[str] | None = None

    def types(self, line: str) -> str:
        """Return the command's output; the night itself continues in the first terminal."""
        if line.startswith("cd "):
            self.folder = self._home / line.removeprefix("cd ~/")
            self._make_small()
            return ""
        if " run --until " in line:
            self.night = subprocess.Popen(
                ["sh", "-c", f"exec {line}"],
                cwd=self.folder,
                env=self._around,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            until(lambda: len(self.ledger().history.experiments) > 3, "the night's first experiment", 60)
            return ""
        words = [re.sub("^~(?=/)", str(self._home), word) for word in shlex.split(line)]
        assert words[0] == "autoresearch-mlx", "a command that needs no shell"
        done = launcher().run(tuple(words[1:]), self.folder, self._around, 120)
        nothing_kept = "so there is nothing to certify" in done.stderr  # as the page says about `certify`
        assert done.returncode == 0 or nothing_kept, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def ledger(self) -> Journal:
        return read(Lab(self.folder).folder("first") / FILE)

    def _make_small(self) -> None:
        (self.folder / "train_mlx.py").write_text(tiny.script())
        settings = tiny.settings(0.4).format(text=tiny.text(self._home))
        (self.folder / "lab.toml").write_text(f"{settings}replicates = 2\n")
        git(self.folder, "commit", "-qam", "small")


@pytest.mark.slow
def test_the_first_night_goes_as_the_page_says(tmp_path: Path) -> None:
    evening = Evening(tmp_path)
    said: dict[str, str] = {}
    for line in commands():
        said[line] = evening.types(line)
        if line.endswith(" stop") and evening.night is not None:
            out, _ = evening.night.communicate(timeout=60)
            assert evening.night.returncode == 0, out
            assert "stopped: by hand" in out
    assert evening.night is not None, "the page has a night"
    assert "stops after experiment" in said["autoresearch-mlx stop"]
    assert "at 07:30, or after 30 experiments" in said["autoresearch-mlx policy set until=07:30 stall=30"]
    assert (evening.folder / "first.tar.gz").stat().st_size > 1000
    assert not evening.ledger().running
    checkout = tmp_path / "autoresearch-mlx"
    assert git(checkout, "status", "--porcelain") == "" and len(git(checkout, "branch").splitlines()) == 1


def test_the_page_leaves_out_no_step_of_the_evening() -> None:
    verbs = {line.split()[1] for line in commands() if line.startswith("autoresearch-mlx")}
    evening = {"init", "doctor", "plan", "run", "status", "steer", "policy", "pause", "resume", "stop"}
    morning = {"log", "show", "diff", "report", "compare", "certify", "gc", "archive"}
    assert verbs == evening | morning
