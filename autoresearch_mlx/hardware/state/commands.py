"""Run several programs of the system in parallel, so that a reading takes only as long as the slowest program."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

Commands: TypeAlias = Mapping[str, Sequence[str]]
Run: TypeAlias = Callable[[Commands], Mapping[str, str]]
"""Function that takes commands by name and returns their outputs by name; a command that did not run may be missing."""

_SECONDS = 2.0
"""Seconds that all commands together may take, so that a reading does not delay a run."""


def run_together(commands: Commands, seconds: float = _SECONDS) -> dict[str, str]:
    """Return the standard output of each command, by name; the output is empty if the command takes too long.

    A command whose program does not exist is left out.  Raises nothing.
    """
    end = time.monotonic() + seconds
    started = {name: child for name, line in commands.items() if (child := _start(line)) is not None}
    try:
        return {name: _output(child, max(end - time.monotonic(), 0.01)) for name, child in started.items()}
    finally:
        for child in started.values():
            if child.poll() is None:
                child.kill()
                child.wait()


def _start(line: Sequence[str]) -> subprocess.Popen[str] | None:
    try:
        return subprocess.Popen(
            list(line),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},  # decimal points in numbers, and messages in English
        )
    except (OSError, ValueError):
        return None


def _output(child: subprocess.Popen[str], seconds: float) -> str:
    try:
        return child.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()  # its output is not read to the end, because a program that it started may keep the pipe open
        if child.stdout is not None:
            child.stdout.close()
        return ""
    except OSError:
        return ""
