"""Describe how a child process ended, in one line for a person or a model."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path

_RAISED = re.compile(
    r"^[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Iteration)\b.*$"
    r"|^[A-Za-z_][\w.+]*: .+$"  # also `libc++abi: terminating due to ...`, as when Metal lacks memory
    r"|^\s+what\(\):.+$"  # the same exception, as the GNU C++ library prints it
)
_NOT_STARTED = (126, 127)
"""Exit codes by which a POSIX shell says that a command cannot be executed or does not exist."""
_KILLED = (-9, 137)
"""SIGKILL: as subprocess reports it for our child, and as a shell reports it for its own child (128 + 9)."""


def how_it_ended(returncode: int, log: Path) -> str:
    """Return in one line why a child failed: the exception that ended it, the signal, or its exit code.

    ``returncode`` is as :mod:`subprocess` gives it (negative for a signal); ``log`` holds the child's output.
    """
    if returncode in _KILLED:
        return "killed by the system (signal 9): most often out of memory"
    said = last_exception(log)
    if returncode < 0:
        return f"died of signal {-returncode}" + (f": {said}" if said else "")
    if returncode in _NOT_STARTED:
        return f"exit code {returncode}: {tail_of(log, 1)[:300]}"
    if said is None and (words := _last_words(log)):
        return f"exit code {returncode}; its last line: {words}"
    return said or f"exit code {returncode} without an error message"


def _last_words(log: Path) -> str:
    """Return the log's last line of output; lines that begin with ``$ `` are our own notes of the command."""
    lines = [line.strip() for line in tail_of(log).splitlines()]
    return next((line[:300] for line in reversed(lines) if line and not line.startswith("$ ")), "")


def last_exception(log: Path) -> str | None:
    """Return the last line of a log that looks like the message of an exception, or None if there is none."""
    raised = (line for line in reversed(_text(log).splitlines()[-200:]) if _RAISED.match(line))
    return next((line.strip()[:300] for line in raised), None)


def tail_of(log: Path, lines: int = 30) -> str:
    """Return the last lines of a log, or an empty string for a log that does not exist or cannot be read."""
    return "\n".join(_text(log).splitlines()[-lines:])


def _text(log: Path) -> str:
    """Return the text of a regular file, else an empty string.

    Other files are not read, because the child could put a pipe or a device in the log's place, and reading that would
    never end.
    """
    with contextlib.suppress(OSError), open(log, "rb", opener=_no_link) as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file.read().decode(errors="replace")
    return ""


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
