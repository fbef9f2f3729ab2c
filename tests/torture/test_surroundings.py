"""A hostile environment: the run continues, or stops with a message and a remedy, and loses nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import command_line, git, write_command_lab
from forked_command import launcher
from torture.conftest import Toll
from torture.labs import BETTER, TAG, TURNS, WORSE, Loop, run, start, torture_lab
from torture.preload import preload
from torture.test_instants import finished

from autoresearch_mlx.lab.lab import Lab

pytestmark = pytest.mark.uncounted

__all__ = ["preload"]

ONE = ("--agent", BETTER, "--experiments", "1")


def told(done: subprocess.CompletedProcess[str]) -> str:
    """Return the message of a run that cannot continue: an error and its remedy, no traceback."""
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr, done.stderr
    assert re.search(r"^error: .+\nhint: .+", done.stderr, re.MULTILINE), done.stderr
    return done.stderr


def experiments_done(lab: Lab, count: int, loop: Loop) -> None:
    end = time.monotonic() + 30
    while not (lab.folder(TAG) / "ledger.jsonl").exists() or len(finished(lab)) < count:
        assert loop.poll() is None and time.monotonic() < end, loop.stderr_text()
        time.sleep(0.02)


# --- the disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


ANY_DISK = "\n[limits]\nfree_disk_gb = 0\n"


def disk_lab(disk: Path) -> Lab:
    """Make a lab that accepts any amount of free disk."""
    lab = torture_lab(disk / "lab")
    with (lab.root / "lab.toml").open("a") as file:
        file.write(ANY_DISK)
    return lab


def fill(disk: Path, left: int) -> Path:
    """Fill the disk until only this number of bytes is left."""
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with suppress(OSError), filler.open("wb") as file:  # another process may be faster
        file.write(bytes(max(0, free - left)))
    return filler


@pytest.mark.slow
def test_a_full_disk_stops_a_run_in_words_and_costs_nothing(small_disk: Path, toll: Toll) -> None:
    lab = disk_lab(small_disk)
    run(lab, *ONE)
    for left in (0, 2 * 4096, 6 * 4096):
        filler = fill(small_disk, left)
        done = run(lab, *ONE)
        assert (left and done.returncode == 0) or "free some space" in told(done)
        filler.unlink(missing_ok=True)
        toll.goes_on(lab, f"a disk with {left} bytes left")


def test_a_disk_that_is_nearly_full_is_no_edits_fault(small_disk: Path, toll: Toll) -> None:
    lab = disk_lab(small_disk)
    toll.goes_on(lab, "the start")
    (lab.root / "lab.toml").write_text((lab.root / "lab.toml").read_text().replace(ANY_DISK, ""))
    said = told(run(lab, *ONE))
    assert "MB of disk are left" in said and "GB must stay free" in said and "free_disk_gb" in said
    assert {e["status"] for e in finished(lab)} == {"keep"}
    toll.check(lab, "a disk that is nearly full")


@pytest.mark.torture
def test_a_disk_that_fills_up_in_mid_run_costs_nothing(small_disk: Path, toll: Toll) -> None:
    lab = disk_lab(small_disk)
    for left in range(0, 40 * 4096, 4 * 4096):
        with start(lab, "--agent", TURNS) as loop:
            experiments_done(lab, len(finished(lab)) + 1 if left else 1, loop)
            filler = fill(small_disk, left)
            assert loop.ended() == 1
        assert "Traceback" not in loop.stderr_text(), loop.stderr_text()
        assert "free some space" in loop.stderr_text()
        filler.unlink(missing_ok=True)
        toll.goes_on(lab, f"a disk with {left} bytes left")


def locked_up(path: Path) -> bool:
    """Make a file that nobody may write, not even root if the file system supports that."""
    if os.geteuid() != 0:
        path.chmod(0o444)
        return True
    return subprocess.run(["chattr", "+i", path], capture_output=True).returncode == 0


def open_again(path: Path) -> None:
    if os.geteuid() != 0:
        path.chmod(0o644)
    else:
        subprocess.run(["chattr", "-i", path], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ledger.jsonl", "results.tsv", "control.jsonl", "lock"])
def test_a_file_that_may_not_be_written_is_named(root: Path, toll: Toll, name: str) -> None:
    lab = torture_lab(root)
    run(lab, *ONE)
    file = lab.folder(TAG) / name
    if not locked_up(file):
        pytest.skip("this file system has no files that root may not write")
    try:
        said = told(run(lab, *ONE))
    finally:
        open_again(file)
    assert name in said
    toll.goes_on(lab, f"{name} could not be written")


@pytest.mark.slow
def test_a_ledger_that_was_spoilt_in_its_middle_is_named_by_its_line(root: Path, toll: Toll) -> None:
    lab = torture_lab(root)
    run(lab, *ONE)
    ledger = lab.folder(TAG) / "ledger.jsonl"
    good = ledger.read_bytes()
    lines = good.splitlines(keepends=True)
    ledger.write_bytes(b"".join([lines[0], lines[1][:40] + b"\n", *lines[2:]]))
    said = told(run(lab, *ONE))
    assert "ledger.jsonl, line 2" in said and "restore that line" in said
    assert said.count("Traceback") == 0
    ledger.write_bytes(good + b'{"schema": 1, "event": "finis')
    toll.goes_on(lab, "a torn last line")


# --- the clock


@pytest.mark.slow
def test_a_clock_that_is_set_back_and_forth_spoils_nothing(root: Path, toll: Toll, preload: Path) -> None:
    """A run is in progress while the wall clock jumps back by a day and then forward by two days."""
    lab = torture_lab(root)
    shifted = root.parent / "shifted"
    for seconds in (-86_400, 172_800):
        done = len(finished(lab)) if (lab.folder(TAG) / "ledger.jsonl").exists() else 0
        env = {"LD_PRELOAD": str(preload), "SHIFT_FILE": str(shifted), "SHIFT_SECONDS": str(seconds)}
        with start(lab, "--agent", TURNS, "--experiments", "5", env=env) as loop:
            experiments_done(lab, done + 2, loop)
            shifted.touch()
            assert loop.ended() == 0, loop.stderr_text()
        shifted.unlink()
    times = [datetime.fromisoformat(str(e["finished"])) for e in finished(lab)]
    assert min(b - a for a, b in pairwise(times)).days <= -1, "the clock was set back"
    assert {e["status"] for e in finished(lab)} == {"keep", "discard"}
    assert all(s >= 0 for e in finished(lab) for s in seconds_of(e))
    toll.check(lab, "a clock that jumped")
    for command in (["status"], ["log"], ["show", "2"], ["report"]):
        done_ = command_line(*command, cwd=lab.root)
        assert done_.returncode == 0, done_.stderr


def seconds_of(event: Any) -> list[float]:
    return [*event["seconds"].values()]


# --- other processes that work here


@pytest.mark.slow
def test_loops_that_are_started_at_once_are_one(root: Path, toll: Toll) -> None:
    """Three loops start at once in a lab's very first run, and again in a later one."""
    lab = torture_lab(root)
    for _ in range(2):
        loops = [launcher().start(("run", "--tag", TAG, *ONE), lab.root, os.environ) for _ in range(3)]
        ended = [(loop.communicate(timeout=60)[1], loop.returncode) for loop in loops]
        assert 0 in [code for _, code in ended]
        for said, code in ended:
            assert code == 0 or re.search(r"error: session t is in use by process \d+\nhint: ", said), said
        toll.check(lab, "three loops at once")


@pytest.mark.parametrize("holder", ["", "999999999\n", "1\n", "no number\n"])
def test_a_lock_of_the_dead_holds_nobody(root: Path, holder: str) -> None:
    """The content of the lock file does not matter, even if the process number in it now belongs to another process."""
    lab = torture_lab(root)
    lab.folder(TAG).mkdir(parents=True)
    (lab.folder(TAG) / "lock").write_text(holder)
    assert run(lab, "--agent", BETTER, "--experiments", "0").returncode == 0


@pytest.mark.slow
def test_a_commit_on_the_branch_in_mid_run_is_told_with_its_remedy_which_works(root: Path, toll: Toll) -> None:
    lab = torture_lab(root)
    with start(lab, "--agent", BETTER) as loop:
        experiments_done(lab, 2, loop)
        for _ in range(50):  # between two steps of the loop
            tip = git(lab.root, "rev-parse", "autoresearch/t")
            theirs = git(lab.root, "commit-tree", f"{tip}^{{tree}}", "-p", tip, "-m", "by hand")
            arguments = ["git", "update-ref", "refs/heads/autoresearch/t", theirs, tip]
            if subprocess.run(arguments, cwd=lab.root, capture_output=True).returncode == 0:
                break
        assert loop.ended() == 1
    said = loop.stderr_text()
    assert "somebody committed to it" in said and "Traceback" not in said
    said = told(run(lab, *ONE))
    assert "somebody committed to it" in said
    remedy = said.split("put the branch back: ")[1].strip()
    subprocess.run(remedy, shell=True, cwd=lab.root, check=True)
    toll.goes_on(lab, "a commit by hand")
    assert git(lab.root, "rev-parse", "mine-t") == theirs


@pytest.mark.slow
def test_a_worktree_that_is_deleted_in_mid_run_is_made_anew(root: Path, toll: Toll) -> None:
    lab = torture_lab(root)
    with start(lab, "--agent", TURNS) as loop:
        experiments_done(lab, 2, loop)
        shutil.rmtree(lab.folder(TAG) / "worktree", ignore_errors=True)
        until = time.monotonic() + 1
        while loop.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        ended = loop.poll()
    said = loop.stderr_text()
    assert "Traceback" not in said
    assert ended is None or re.search(r"error: .+\nhint: .+", said), said
    toll.goes_on(lab, "a deleted worktree")


@pytest.mark.slow
def test_gc_takes_no_commit_of_the_ledger_between_runs_or_in_their_midst(root: Path, toll: Toll) -> None:
    """A collection at the worst moment can remove a commit that is being made: that run stops with a message."""
    lab = torture_lab(root)
    collect = ["-c", "gc.worktreePruneExpire=now", "gc", "--quiet", "--prune=now"]
    run(lab, "--agent", TURNS, "--experiments", "3")
    git(lab.root, *collect)
    git(lab.root, "reflog", "expire", "--expire=now", "--all")
    toll.check(lab, "gc between runs")
    with start(lab, "--agent", TURNS) as loop:
        for _ in range(8):
            subprocess.run(["git", *collect], cwd=lab.root, capture_output=True)
        went_on = loop.poll() is None
    assert "Traceback" not in loop.stderr_text(), loop.stderr_text()
    assert went_on or "\nhint: " in loop.stderr_text(), loop.stderr_text()
    toll.goes_on(lab, "gc during a run")
    git(lab.root, *collect)
    toll.check(lab, "gc after all")


# --- repositories


@pytest.mark.slow
def test_everything_odd_about_a_repository_at_once(tmp_path: Path, toll: Toll) -> None:
    """The checkout is dirty and detached, with a submodule and an odd path; the user has no name and no home folder."""
    other = write_command_lab(tmp_path / "other")
    lab = torture_lab(tmp_path / "a läb (2) of 試 $HOME")
    git(lab.root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other.root), "module")
    git(lab.root, "commit", "-qm", "with a module")
    git(lab.root, "checkout", "-q", "--detach")
    (lab.root / "bench.py").write_text("dirty\n")
    (lab.root / "untracked ü").touch()
    git(lab.root, "add", "bench.py")
    before = git(lab.root, "status", "--porcelain"), git(lab.root, "rev-parse", "HEAD")
    nobody = {"HOME": "", "GIT_CONFIG_GLOBAL": os.devnull, "EMAIL": "", "USER": "", "LOGNAME": ""}
    done = run(lab, "--agent", TURNS, "--experiments", "2", env=nobody)
    assert done.returncode == 0, done.stderr
    assert (git(lab.root, "status", "--porcelain"), git(lab.root, "rev-parse", "HEAD")) == before
    toll.check(lab, "an odd repository")
    assert [e["status"] for e in finished(lab)] == ["keep", "discard", "keep"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("none", "is not in a git checkout"),
        ("bare", "is not in a git checkout"),
        ("no commits", "has no commit yet"),
    ],
)
def test_a_repository_that_cannot_hold_a_session_is_told_with_its_remedy(root: Path, kind: str, said: str) -> None:
    lab = torture_lab(root)
    if kind == "bare":
        git(root, "config", "core.bare", "true")
    else:
        shutil.rmtree(root / ".git")
    if kind == "no commits":
        git(root, "init", "-q")
    assert said in told(run(lab, "--agent", WORSE, "--experiments", "1"))
