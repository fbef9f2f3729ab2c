"""The machine is kept awake; scripts on PATH take the place of caffeinate and systemd-inhibit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

CAFFEINATE = """\
#!/bin/sh
echo "$$ $@" > "{log}"
while kill -0 "$3" 2>/dev/null; do sleep 0.05; done
"""
INHIBIT = """\
#!/bin/sh
echo "$$ $@" > "{log}"
while [ "${{1#--}}" != "$1" ]; do shift; done
exec "$@"
"""
HOLDER = """\
import sys, time
from autoresearch_mlx.hardware.awake import kept_awake
with kept_awake(system={system!r}):
    print("held", flush=True)
    sys.stdin.readline()
print("ended", flush=True)
time.sleep(600)
"""


def stand_in(folder: Path, name: str, text: str) -> Path:
    """Make an executable of that name; return the file that gets the arguments with which it is called."""
    log = folder / "called"
    program = folder / name
    program.write_text(text.format(log=log))
    program.chmod(0o755)
    return log


def holder(folder: Path, system: str) -> subprocess.Popen[str]:
    """Start a process that keeps the machine awake until it reads a line, and that runs on after that."""
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(system=system)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def until(so: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def called(log: Path) -> tuple[psutil.Process, str]:
    until(lambda: log.exists() and log.read_text().endswith("\n"))
    pid, _, arguments = log.read_text().strip().partition(" ")
    return psutil.Process(int(pid)), arguments


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("system", "name", "text"), [("Darwin", "caffeinate", CAFFEINATE), ("Linux", "systemd-inhibit", INHIBIT)]
)
@pytest.mark.parametrize("death", ["end", "kill"])
def test_it_lasts_exactly_as_long_as_it_is_held(system: str, name: str, text: str, death: str, tmp_path: Path) -> None:
    log = stand_in(tmp_path, name, text)
    us = holder(tmp_path, system)
    assert us.stdin is not None and us.stdout is not None
    try:
        keeping, arguments = called(log)
        assert us.stdout.readline() == "held\n"
        wanted = "--what=idle:sleep --who=autoresearch-mlx --why=an experiment is measured --mode=block cat"
        assert arguments == (f"-is -w {us.pid}" if system == "Darwin" else wanted)
        assert not gone(keeping)
        if death == "kill":
            us.kill()
            us.wait()
        else:
            us.stdin.write("\n")
            us.stdin.flush()
            assert us.stdout.readline() == "ended\n"
        until(lambda: gone(keeping))
    finally:
        us.kill()
        us.communicate()


@pytest.mark.parametrize(
    "text", [None, "#!/bin/sh\nexit 1\n", "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.05; done\n"]
)
def test_a_command_that_is_missing_dies_or_will_not_end_breaks_nothing(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        stand_in(tmp_path, "caffeinate", text)
    us = holder(tmp_path, "Darwin")
    assert us.stdin is not None and us.stdout is not None
    try:
        assert us.stdout.readline() == "held\n"
        us.stdin.write("\n")
        us.stdin.flush()
        began = time.monotonic()
        assert us.stdout.readline() == "ended\n"
        assert time.monotonic() - began < 5
        until(lambda: not psutil.Process(us.pid).children())  # and no zombie is left
    finally:
        us.kill()
        us.communicate()


def test_a_ctrl_c_in_the_terminal_ends_the_run_and_not_what_keeps_it_awake_before(tmp_path: Path) -> None:
    log = stand_in(tmp_path, "caffeinate", CAFFEINATE)
    us = holder(tmp_path, "Darwin")
    try:
        keeping, _ = called(log)
        assert os.getpgid(keeping.pid) != os.getpgid(us.pid)
        us.send_signal(signal.SIGTERM)
        us.wait()
        until(lambda: gone(keeping))
    finally:
        us.kill()
        us.communicate()
