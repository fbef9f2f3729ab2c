"""One night with one experiment of each outcome, made once and copied for each test that changes it."""

from __future__ import annotations

import shutil
from pathlib import Path

from command_runs import STEPS, script
from conftest import command_line, write_command_lab

from autoresearch_mlx.lab.lab import Lab


def night_in(folder: Path) -> Lab:
    """Make a lab whose session t has kept, discarded, crashed and duplicate experiments."""
    lab = write_command_lab(folder / "lab")
    done = command_line("run", "--tag", "t", "--agent", script(lab, *STEPS), "--experiments", "5", cwd=lab.root)
    assert done.returncode == 0, done.stderr
    return lab


def copied(night: Lab, folder: Path) -> Lab:
    """Copy the lab elsewhere, with its times; the next run makes its worktree again, as after any move."""
    shutil.copytree(night.root, folder / "lab", symlinks=True)
    return Lab(folder / "lab")
