"""One command at a time measures on this machine: the lock, the name of its holder, and the lock after a death."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch_mlx.errors import LockedError
from autoresearch_mlx.hardware.machine_lock import machine_lock

HOLDER = """\
import sys
from pathlib import Path
from autoresearch_mlx.hardware.machine_lock import machine_lock
with machine_lock(Path({cache!r}), Path("/home/me/lab"), "night", print):
    print("held", flush=True)
    sys.stdin.readline()
"""


def holder(cache: Path, **environment: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(cache=str(cache))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def take(cache: Path) -> list[str]:
    said: list[str] = []
    with machine_lock(cache, Path("/home/me/other"), "day", said.append):
        return said


def test_a_second_one_is_refused_and_told_who_holds_it_until_that_one_ends(tmp_path: Path) -> None:
    first = holder(tmp_path)
    with pytest.raises(LockedError) as refused:
        take(tmp_path)
    assert str(refused.value) == (
        f"this machine is in use for another measurement: process {first.pid}, session night of the lab in /home/me/lab"
    )
    assert "exclusive" in refused.value.hint
    first.communicate("\n")
    assert take(tmp_path) == []


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    first = holder(tmp_path)
    first.kill()
    first.communicate()
    assert take(tmp_path) == []


def test_another_gpu_is_another_lock(tmp_path: Path) -> None:
    both = [holder(tmp_path), holder(tmp_path, CUDA_VISIBLE_DEVICES="1,3")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu-1-3.lock", "gpu.lock"]
    for each in both:
        each.communicate("\n")


def test_where_no_lock_can_be_made_that_is_said_and_nobody_is_kept_out(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    (said,) = take(tmp_path / "cache")
    assert said.endswith(", so runs in other labs may use the machine at the same time")
