"""Processes that a dead loop left running are ended, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch_mlx.trial.orphans import WORKS_IN, end_orphans

pytestmark = pytest.mark.uncounted

FORGETS = """
import os, subprocess, sys
child = subprocess.Popen(["sleep", "60"], env={}, start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""
"""A program that starts a child in a session of its own and without the mark in its environment."""


@pytest.fixture
def sleeper() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def sleep_in(started: list[subprocess.Popen[str]], where: Path, *command: str) -> subprocess.Popen[str]:
    environment = {**os.environ, WORKS_IN: str(where)}
    process = subprocess.Popen(command or ["sleep", "60"], env=environment, stdout=subprocess.PIPE, text=True)
    started.append(process)
    return process


def test_who_works_below_the_folder_is_ended_and_who_works_beside_it_is_not(
    tmp_path: Path, sleeper: list[subprocess.Popen[str]]
) -> None:
    ours = sleep_in(sleeper, tmp_path / "t" / "worktree" / "lab")
    others = [sleep_in(sleeper, tmp_path / "t2" / "worktree"), sleep_in(sleeper, tmp_path)]
    time.sleep(0.1)  # between fork and exec, a child has its parent's environment
    assert end_orphans(tmp_path / "t") == 1
    ours.wait(5)
    assert [other.poll() for other in others] == [None, None]
    assert end_orphans(tmp_path / "t") == 0


def test_what_an_orphan_started_ends_with_it(tmp_path: Path, sleeper: list[subprocess.Popen[str]]) -> None:
    parent = sleep_in(sleeper, tmp_path / "worktree", sys.executable, "-c", FORGETS)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert end_orphans(tmp_path) == 2
    parent.wait(5)
    with pytest.raises(ProcessLookupError):
        for _ in range(100):  # until another process has reaped the zombie
            os.kill(child, 0)
            time.sleep(0.05)


def test_who_asks_is_spared_even_when_an_orphan_started_it(
    tmp_path: Path, sleeper: list[subprocess.Popen[str]]
) -> None:
    """A coding agent whose loop is dead may start the next loop itself."""
    imports = "from pathlib import Path; from autoresearch_mlx.trial.orphans import *"
    asks = f"{imports}; print(end_orphans(Path({str(tmp_path)!r})))"
    assert sleep_in(sleeper, tmp_path, sys.executable, "-c", asks).communicate(timeout=30)[0] == "0\n"
