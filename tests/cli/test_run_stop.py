"""A ``run`` on a terminal that is stopped by hand, killed, or started twice, with real signals."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest
from command_runs import STEPS, call, data, experiments, refused, script
from conftest import git
from forked_command import Started
from live_run import until, working

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE, read

pytestmark = pytest.mark.uncounted


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "kind"), [(8, "xterm"), (200, "xterm"), (0, "dumb")])
def test_run_on_a_terminal(command_lab: Lab, columns: int, kind: str) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    agent = script(command_lab, *STEPS)
    process = subprocess.Popen(
        [sys.executable, "-m", "autoresearch_mlx", "run", "--agent", agent, "--tag", "t", "--experiments", "1"],
        cwd=command_lab.root,
        env={**environment, "TERM": kind},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # on Linux, reading from a closed terminal is an error
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    assert process.wait(20) == 0
    assert b"Traceback" not in shown
    assert experiments(command_lab) == {0: "keep", 1: "keep"}
    assert (b"\x1b[" in shown) == (kind == "xterm")


WAITING = """\
import os, subprocess, time
from solver import X, Y
if X == 9.0:
    child = subprocess.Popen(["sleep", "600"])
    with open(os.environ["MARK"] + ".tmp", "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    os.rename(os.environ["MARK"] + ".tmp", os.environ["MARK"])
    time.sleep(600)
print(f"METRIC score={(X - 3) ** 2 + (Y - 5) ** 2 + 1:.6f}")
"""


@dataclass
class Busy:
    """A ``run`` whose second experiment waits for ever, with the processes of that experiment."""

    lab: Lab
    process: Started
    children: Sequence[int]

    def end(self, number: int) -> str:
        """Send a signal; return the text on stderr."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=20)[1]


@pytest.fixture
def busy(command_lab: Lab) -> Iterator[Busy]:
    (command_lab.root / "bench.py").write_text(WAITING)
    git(command_lab.root, "commit", "-qam", "waits for X = 9")
    with running(command_lab, script(command_lab, *STEPS)) as run:
        yield run


@contextmanager
def running(lab: Lab, agent: str) -> Iterator[Busy]:
    mark = lab.root.parent / "mark"
    mark.unlink(missing_ok=True)
    try:
        with working(lab, "run", "--tag", "t", "--agent", agent, MARK=str(mark)) as process:
            end = time.monotonic() + 20
            while not mark.exists() and process.poll() is None and time.monotonic() < end:
                time.sleep(0.02)
            assert mark.exists(), process.communicate(timeout=5)
            children = [int(pid) for pid in mark.read_text().split()]
            yield Busy(lab, process, children)
    finally:
        if mark.exists():
            for pid in map(int, mark.read_text().split()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def gone(pids: Sequence[int]) -> bool:
    """Return whether all these processes are dead; a zombie counts as dead."""
    for _ in range(100):
        states = subprocess.run(["ps", "-o", "stat=", "-p", ",".join(map(str, pids))], capture_output=True, text=True)
        if all(state.startswith("Z") for state in states.stdout.split()):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_by_hand_is_logged_and_cleaned_up(busy: Busy, number: signal.Signals) -> None:
    said = busy.end(number)
    assert busy.process.returncode == 130
    assert "Traceback" not in said
    assert experiments(busy.lab) == {0: "keep", 1: "keep", 2: "interrupted"}
    last = read(busy.lab.folder("t") / FILE).history.experiments[-1]
    assert (last.reason, last.value, last.title) == ("stopped by hand", None, "X too far")
    assert last.commit is not None and "+X = 9.0" in git(busy.lab.root, "show", last.commit)
    worktree = busy.lab.folder("t") / "worktree"
    assert git(worktree, "status", "--porcelain", "--ignored") == ""
    assert git(worktree, "symbolic-ref", "HEAD") == "refs/heads/autoresearch/t"
    assert git(busy.lab.root, "status", "--porcelain") == ""
    assert gone(busy.children)


@pytest.mark.slow
def test_after_a_stop_the_next_run_goes_on(busy: Busy) -> None:
    busy.end(signal.SIGINT)
    done = call(busy.lab, "run", "--agent", script(busy.lab, *STEPS), "--experiments", "1")
    assert done.returncode == 0
    assert experiments(busy.lab) == {0: "keep", 1: "keep", 2: "interrupted", 3: "crash"}


@pytest.mark.slow
def test_after_a_kill_the_next_run_closes_what_was_open_and_goes_on(busy: Busy) -> None:
    busy.end(signal.SIGKILL)
    assert busy.process.returncode == -signal.SIGKILL
    assert data(busy.lab, "status")["running"] is None
    done = call(busy.lab, "run", "--agent", script(busy.lab, *STEPS), "--experiments", "1")
    assert done.returncode == 0, done.stderr
    assert experiments(busy.lab) == {0: "keep", 1: "keep", 2: "interrupted", 3: "crash"}
    left = read(busy.lab.folder("t") / FILE).history.experiments[2]
    assert (left.reason, left.title) == ("the process that ran it ended", "X too far")
    assert left.knobs == {"X": (3.5, 9.0)}


@pytest.mark.slow
def test_a_session_in_use_is_seen_and_not_entered_twice(busy: Busy) -> None:
    running = data(busy.lab, "status")["running"]
    assert (running["pid"], running["number"]) == (busy.process.pid, 2)
    for command in (["run", "--experiments", "1"], ["try", "-m", "x"]):
        assert f"session t is in use by process {busy.process.pid}" in refused(busy.lab, *command)
    other = call(busy.lab, "run", "--tag", "other", "--experiments", "0")
    assert other.returncode == 0
    assert experiments(busy.lab, "other") == {0: "keep"}


@pytest.mark.slow
def test_a_worktree_deleted_under_a_run_costs_the_user_nothing(busy: Busy) -> None:
    (busy.lab.root / "precious.txt").write_text("not committed\n")
    (busy.lab.root / "solver.py").write_text("# unsaved\n")
    worktree = busy.lab.folder("t") / "worktree"
    subprocess.run(["rm", "-rf", str(worktree)], check=True)
    (busy.lab.root.parent / "mark").unlink()
    os.kill(busy.children[0], signal.SIGKILL)
    until((busy.lab.root.parent / "mark").exists, "the run that is repeated, in a new worktree")
    busy.end(signal.SIGINT)
    assert (busy.lab.root / "precious.txt").read_text() == "not committed\n"
    assert (busy.lab.root / "solver.py").read_text() == "# unsaved\n"
    assert "bench.py" in [p.name for p in busy.lab.root.iterdir()]
