"""What the parent sees of a child from outside.  The bombs here are small and end by themselves."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from autoresearch_mlx.trial.sandbox.limits import (
    MARKER,
    Limits,
    Sample,
    Watch,
    end_strays,
    exceeded,
)
from autoresearch_mlx.trial.sandbox.usage import folder_usage, resident

LIMITS = Limits(Path("/"), memory_bytes=8 * 10**9, folder_bytes=10**9, free_bytes=2 * 10**9, processes=32)


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (Sample(memory_bytes=9_100_000_000), "the run used 9.1 GB of memory, and a run may use 8.0 GB"),
        (Sample(processes=200), "the run had 200 processes, and a run may have 32"),
        (Sample(folder_bytes=1_600_000_000), "the run wrote 1.6 GB into its folder, and a run may write 1.0 GB"),
        (Sample(free_bytes=12_000_000), "12 MB of disk are left, and 2.0 GB must stay free"),
        (Sample(files=10_000), "the run made more than 10,000 files"),
        (Sample(8 * 10**9, 10**9, 12, 2 * 10**9, 32), None),
        (Sample(), None),
    ],
)
def test_the_reason_to_kill_in_words(sample: Sample, said: str | None) -> None:
    assert exceeded(sample, LIMITS) == said
    assert exceeded(sample, Limits(Path("/"))) == (said if sample.files else None)


@contextmanager
def child(text: str, marker: str = "", cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Start a Python child process in a session of its own; end its process group in any case."""
    environment = {**os.environ, MARKER: marker}
    with subprocess.Popen(
        [sys.executable, "-S", "-c", text], env=environment, cwd=cwd, start_new_session=True, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def until_killed(process: subprocess.Popen[bytes], watch: Watch, seconds: float = 10.0) -> str | None:
    """Do as the runner does: look ten times a second, and kill the process group if there is a reason."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        if (reason := watch.check(process.pid)) is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return reason
        time.sleep(0.1)
    return None


def line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


EATER = """
import time
blocks = []
for _ in range(60):
    blocks.append(b'x' * 10_000_000); time.sleep(0.02)
time.sleep(20)
"""


def test_a_process_that_eats_memory_is_killed_with_the_reason(tmp_path: Path) -> None:
    with child(EATER) as process:
        reason = until_killed(process, Watch(Limits(tmp_path, memory_bytes=150_000_000), ""))
        assert reason is not None and reason.endswith("of memory, and a run may use 0.1 GB")
        assert process.returncode == -signal.SIGKILL


def test_memory_of_its_children_counts(tmp_path: Path) -> None:
    text = f"import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', {EATER!r}])"
    with child(text) as process:
        assert "the run used" in (until_killed(process, Watch(Limits(tmp_path, memory_bytes=150_000_000), "")) or "")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how pages are shared")
def test_pages_shared_by_forked_children_count_once(tmp_path: Path) -> None:
    text = "import os, time\nblock = b'x' * 60_000_000\nfor _ in range(4):\n"
    text += "    if os.fork() == 0: time.sleep(20); os._exit(0)\nprint('up', flush=True)\ntime.sleep(20)"
    with child(text) as process:
        assert line(process) == "up"
        watch = Watch(Limits(tmp_path, memory_bytes=200_000_000), "")
        assert watch.check(process.pid) is None
        assert sum(resident(p) for p in watch.strays()) > 300_000_000


BOMB = """
import os, time
for _ in range(150):
    if os.fork() == 0: time.sleep(20); os._exit(0)
print('up', flush=True)
time.sleep(20)
"""


def test_a_fork_bomb_is_killed_whole(tmp_path: Path) -> None:
    watch = Watch(Limits(tmp_path, processes=32), "")
    with child(BOMB) as process:
        assert line(process) == "up"
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) == 150
        assert until_killed(process, watch) == "the run had 151 processes, and a run may have 32"
        _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive
    assert end_strays(watch) == 0


def test_filling_the_disk_ends_with_the_reason(tmp_path: Path) -> None:
    text = (
        "import time\nfor i in range(60):\n    open(f'part{i}', 'wb').write(bytes([7]) * 1_000_000); time.sleep(0.02)\n"
    )
    with child(text + "time.sleep(20)", cwd=tmp_path) as process:
        reason = until_killed(process, Watch(Limits(tmp_path, folder_bytes=5_000_000), ""))
        assert reason is not None and reason.startswith("the run wrote ") and "may write 5 MB" in reason
    assert folder_usage(tmp_path)[0] < 65_000_000


def test_a_disk_that_runs_full_ends_the_run(tmp_path: Path) -> None:
    with child("import time; time.sleep(20)") as process:
        assert "of disk are left" in (until_killed(process, Watch(Limits(tmp_path, free_bytes=10**18), "")) or "")


def test_a_folder_is_measured_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "run" / "sub").mkdir(parents=True)
    (tmp_path / "large").write_bytes(b"x" * 5_000_000)
    (tmp_path / "run" / "sub" / "link").symlink_to(tmp_path / "large")
    (tmp_path / "run" / "loop").symlink_to(tmp_path / "run")
    (tmp_path / "run" / "small").write_bytes(b"x" * 10_000)
    size, files = folder_usage(tmp_path / "run")
    assert size < 100_000 and files == 4
    assert folder_usage(tmp_path / "none") == (0, 0)


STRAY = """
import os, time
if os.fork() == 0:
    os.setsid()
    {before}
    if os.fork(): os._exit(0)
    print(os.getpid(), flush=True)
    {after}
    time.sleep(20)
    os._exit(0)
time.sleep({stay})
"""


@pytest.mark.parametrize("seen", [True, False], ids=["seen before", "never seen"])
def test_what_left_the_group_and_lost_its_parents_is_found_and_killed(seen: bool, tmp_path: Path) -> None:
    marker = uuid.uuid4().hex
    watch = Watch(Limits(tmp_path), marker)
    with child(STRAY.format(before="", after="", stay=1 if seen else 0.1), marker) as process:
        stray = psutil.Process(int(line(process)))
        if seen:
            watch.check(process.pid)
        process.wait(10)
        assert stray.is_running() and os.getpgid(stray.pid) != process.pid
        assert stray.pid in {p.pid for p in watch.strays()}
        assert end_strays(watch) == 1
        assert not stray.is_running() or stray.status() == psutil.STATUS_ZOMBIE


def test_one_that_also_cleared_its_environment_is_found_if_its_parent_was_seen(tmp_path: Path) -> None:
    marker = uuid.uuid4().hex
    waits = "print('up', flush=True)\n    while not os.path.exists('go'): time.sleep(0.02)"
    clears = f"os.execve({sys.executable!r}, ['python', '-S', '-c', 'import time; time.sleep(20)'], {{}})"
    watch = Watch(Limits(tmp_path), marker)
    with child(STRAY.format(before=waits, after=clears, stay=20), marker, tmp_path) as process:
        assert line(process) == "up"
        watch.check(process.pid)
        (tmp_path / "go").touch()
        stray = psutil.Process(int(line(process)))
        end = time.monotonic() + 10
        while MARKER in stray.environ() and time.monotonic() < end:
            time.sleep(0.02)
        process.kill()
        process.wait()
        assert MARKER not in stray.environ() and stray.ppid() != process.pid
        assert end_strays(watch) == 1
        assert not stray.is_running() or stray.status() == psutil.STATUS_ZOMBIE


def test_other_runs_and_this_process_are_left_alone(tmp_path: Path) -> None:
    with child("import time; time.sleep(20)", "another") as other, child("import time; time.sleep(20)", "mine") as mine:
        watch = Watch(Limits(tmp_path), "mine")
        watch.check(mine.pid)
        assert {p.pid for p in watch.strays()} == {mine.pid}
        assert end_strays(watch) == 1
        assert other.poll() is None


def test_looking_is_cheap(tmp_path: Path) -> None:
    with child("import time; time.sleep(20)") as process:
        watch = Watch(Limits(tmp_path, 10**12, 10**12, 1, 100), "")
        watch.check(process.pid)
        began = time.process_time()
        for _ in range(20):
            watch.check(process.pid)
        assert time.process_time() - began < 1
