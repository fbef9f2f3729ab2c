"""Keep the machine awake while something is measured: ``caffeinate`` on macOS, ``systemd-inhibit`` on Linux.

The command ends when our process ends, even after ``kill -9``.  A machine without these commands goes to sleep as
usual.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LAST_SECONDS = 1.0
"""Seconds that the command has to end before it is killed."""
_TRY_SECONDS = 3.0
"""Seconds that a test of the command may take."""
_INHIBIT = (
    "systemd-inhibit",
    "--what=idle:sleep",
    "--who=autoresearch-mlx",
    "--why=an experiment is measured",
    "--mode=block",
)


def keeper(system: str = "") -> list[str] | None:
    """Return the command that keeps this system awake while this process lives; None if the system has no such command.

    ``caffeinate -is`` keeps the system awake and lets the display sleep.  While the display is awake, the GPU's
    watchdog can end a training (github.com/ml-explore/mlx/issues/3267), so never add ``-d``.  On Linux the command
    reads a pipe from this process and ends when the kernel closes the pipe.
    """
    system = system or platform.system()
    if system == "Darwin":
        return ["caffeinate", "-is", "-w", str(os.getpid())]
    return [*_INHIBIT, "cat"] if system == "Linux" and shutil.which(_INHIBIT[0]) else None


@contextmanager
def kept_awake(wanted: bool = True, system: str = "") -> Iterator[None]:
    """Keep the machine awake until the end of the block; if the command is missing or fails, do nothing."""
    child = _start(keeper(system)) if wanted else None
    try:
        yield
    finally:
        if child is not None:
            _end(child)


def works(system: str = "") -> bool | None:
    """Return whether the machine can be kept awake: on Linux try the command, on macOS only look for it.

    Returns None if the system has no such command.
    """
    command = keeper(system)
    if command is None:
        return None
    if command[0] == "caffeinate":
        return shutil.which("caffeinate") is not None
    try:
        done = subprocess.run(
            [*_INHIBIT, "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRY_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _start(command: list[str] | None) -> subprocess.Popen[bytes] | None:
    """Start the command in its own session, because a Ctrl-C that the run survives must not let the machine sleep."""
    if command is None:
        return None
    quiet = subprocess.DEVNULL
    try:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True)
    except OSError:
        return None
    threading.Thread(target=child.wait, daemon=True).start()  # so that a command that dies early does not stay a zombie
    return child


def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if child.stdin is not None:
            child.stdin.close()
        child.terminate()
    try:
        child.wait(_LAST_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
