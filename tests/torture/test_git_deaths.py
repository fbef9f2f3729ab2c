"""Git is killed at any of its calls: before it, after it, and during it, right before each of git's own effects."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from torture.conftest import Toll
from torture.labs import BETTER, TURNS, run, torture_lab
from torture.preload import preload

from autoresearch_mlx.lab.lab import Lab

pytestmark = pytest.mark.uncounted

__all__ = ["preload"]

PARTS = 4
WRAPPER = """\
#!/bin/sh
# The n-th call of git is killed; the others run as usual, and GitPython's own call for git's version does not count.
test "$1" != version || exec {git} "$@"
call=$(($(cat "$GIT_CALLS") + 1))
echo $call > "$GIT_CALLS"
test $call = "$GIT_FATAL" || exec {git} "$@"
case "$GIT_END" in
before) kill -9 $$ ;;
after) {git} "$@"; kill -9 $$ ;;
loop) {git} "$@"; kill -9 $PPID ;;
gc) {git} -C "$2" -c gc.worktreePruneExpire=now gc --quiet --prune=now; exec {git} "$@" ;;
*) LD_PRELOAD={preload} DIE_AT=$GIT_END exec {git} "$@" ;;
esac
"""
KEEP = ("--agent", BETTER, "--experiments", "1")
BIRTH = ("--agent", BETTER, "--experiments", "0")


@dataclass(frozen=True)
class Git:
    """A ``git`` that comes first on the PATH of processes that are run with :attr:`env`."""

    folder: Path

    @classmethod
    def ready(cls, folder: Path, preload: Path) -> Git:
        folder.mkdir()
        real = shutil.which("git")
        (folder / "git").write_text(WRAPPER.format(git=real, preload=preload))
        (folder / "git").chmod(0o755)
        return cls(folder)

    def run(self, lab: Lab, call: int, end: str, *options: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "calls").write_text("0\n")
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        env = {"PATH": path, "GIT_CALLS": str(self.folder / "calls"), "GIT_FATAL": str(call), "GIT_END": end}
        return run(lab, *options, env=env)

    def calls(self, lab: Lab, *options: str) -> int:
        assert self.run(lab, 0, "", *options).returncode == 0
        return int((self.folder / "calls").read_text())


@pytest.fixture
def wrapped(tmp_path: Path, preload: Path) -> Git:
    return Git.ready(tmp_path / "bin", preload)


def kill(lab: Lab, wrapped: Git, toll: Toll, call: int, end: str, *options: str) -> bool:
    """Kill git at this call, and return whether it was killed.

    If so, check that the run ended and that the next one continues.
    """
    done = wrapped.run(lab, call, end, *options)
    if done.returncode == 0 and end.isdigit():
        return False
    where = f"call {call} of git, {end}"
    assert done.returncode in (0, 1, -signal.SIGKILL), f"{where}: {done.stderr}"
    assert "Traceback" not in done.stderr, f"{where}: {done.stderr}"
    if done.returncode == 1:
        assert "error: " in done.stderr and "hint: " in done.stderr, f"{where}: {done.stderr}"
    toll.after(lab, where)
    return True


def ends(wrapped: Git, lab: Lab, toll: Toll, call: int, *options: str) -> None:
    """Kill git's n-th call before each of its effects in turn, until it has no more."""
    effect = 1
    while kill(lab, wrapped, toll, call, str(effect), *options):
        effect += 1
        assert effect < 200


@pytest.mark.slow
def test_a_death_of_git_costs_nothing(root: Path, wrapped: Git, toll: Toll) -> None:
    lab = torture_lab(root)
    calls = wrapped.calls(lab, *KEEP)
    for end in ("before", "after", "loop", "2", "3"):
        kill(lab, wrapped, toll, toll.chance.randint(1, calls), end, *KEEP)


def some(part: int, calls: int) -> Iterator[int]:
    yield from range(1 + part, calls + 1, PARTS)


@pytest.mark.torture
@pytest.mark.parametrize("part", range(PARTS))
def test_a_death_of_git_at_every_call_costs_nothing(root: Path, wrapped: Git, toll: Toll, part: int) -> None:
    lab = torture_lab(root)
    run(lab, *KEEP)
    for call in some(part, wrapped.calls(lab, *KEEP)):
        for end in ("before", "after", "loop"):
            kill(lab, wrapped, toll, call, end, *KEEP)


@pytest.mark.torture
@pytest.mark.parametrize("part", range(PARTS))
def test_a_death_of_git_inside_every_call_costs_nothing(root: Path, wrapped: Git, toll: Toll, part: int) -> None:
    lab = torture_lab(root)
    run(lab, *KEEP)
    for call in some(part, wrapped.calls(lab, *KEEP)):
        ends(wrapped, lab, toll, call, *KEEP)


@pytest.mark.torture
@pytest.mark.parametrize("part", range(PARTS))
def test_a_death_of_git_inside_every_call_of_the_first_run(root: Path, wrapped: Git, toll: Toll, part: int) -> None:
    for call in some(part, wrapped.calls(torture_lab(root / "whole"), *BIRTH)):
        effect, goes_on = 1, True
        while goes_on:
            goes_on = kill(torture_lab(root / f"{call}-{effect}"), wrapped, toll, call, str(effect), *BIRTH)
            effect += 1


@pytest.mark.torture
@pytest.mark.parametrize("part", range(PARTS))
def test_gc_before_every_call_of_git_costs_nothing(root: Path, wrapped: Git, toll: Toll, part: int) -> None:
    """Commits that are not under a ref yet can be removed; then that run stops with a message."""
    lab = torture_lab(root)
    run(lab, *KEEP)
    for call in some(part, wrapped.calls(lab, *KEEP)):
        done = wrapped.run(lab, call, "gc", *KEEP)
        assert done.returncode == 0 or "\nhint: " in done.stderr, f"call {call}: {done.stderr}"
        assert "Traceback" not in done.stderr, f"call {call}: {done.stderr}"
        toll.goes_on(lab, f"gc before call {call}")


@pytest.mark.torture
def test_a_death_of_git_with_repeats_costs_nothing(root: Path, wrapped: Git, toll: Toll) -> None:
    lab = torture_lab(root, judge="auto")
    options = ("--agent", TURNS, "--experiments", "3")
    run(lab, *options)
    calls = wrapped.calls(lab, *options)
    for call in toll.chance.sample(range(1, calls + 1), min(calls, 25)):
        kill(lab, wrapped, toll, call, toll.chance.choice(["before", "after", "loop", "1", "3"]), *options)
