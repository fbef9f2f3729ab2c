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
"""Exit codes for SIGKILL: subprocess reports -9 for our child, and a shell reports 137 (128 + 9) for its own child."""


def how_it_ended(returncode: int, log: Path) -> str:
    """Return one line about why a child failed: the exception that ended it, the signal, or its exit code.

    ``returncode`` is the exit code as :mod:`subprocess` gives it: negative for a signal.  ``log`` has the child's
    output.
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
    """Return the last line of output in a log.

    Lines that begin with ``$ `` do not count, because they are our own record of the command.
    """
    lines = [line.strip() for line in tail_of(log).splitlines()]
    return next((line[:300] for line in reversed(lines) if line and not line.startswith("$ ")), "")


def last_exception(log: Path) -> str | None:
    """Return the last line of a log that looks like the message of an exception, or None if no line does."""
    raised = (line for line in reversed(_text(log).splitlines()[-200:]) if _RAISED.match(line))
    return next((line.strip()[:300] for line in raised), None)


def tail_of(log: Path, lines: int = 30) -> str:
    """Return the last lines of a log, or an empty string for a log that does not exist or cannot be read."""
    return "\n".join(_text(log).splitlines()[-lines:])


def _text(log: Path) -> str:
    """Return the text of a regular file, else an empty string.

    Other files are not read: the child could replace the log by a pipe or a device, and reading one might never end.
    """
    with contextlib.suppress(OSError), open(log, "rb", opener=_no_link) as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file.read().decode(errors="replace")
    return ""


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
