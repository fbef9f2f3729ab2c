"""How a child ended, in one line for a person or a model."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path

_RAISED = re.compile(
    r"^[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Iteration)\b.*$"
    r"|^[A-Za-z_][\w.+]*: .+$"  # also `libc++abi: terminating due to ...`, the end of a Mac that is out of memory
    r"|^\s+what\(\):.+$"  # the same elsewhere
)
_NOT_STARTED = (126, 127)
_KILLED = (-9, 137)
"""Our own child, and a child of the shell that we started."""


def how_it_ended(returncode: int, log: Path) -> str:
    """A child's failed end in one line: the exception it died of, or the signal."""
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
    """The last line that is not our own note of the command."""
    lines = [line.strip() for line in tail_of(log).splitlines()]
    return next((line[:300] for line in reversed(lines) if line and not line.startswith("$ ")), "")


def last_exception(log: Path) -> str | None:
    """The last line of a log that looks like an exception's."""
    raised = (line for line in reversed(_text(log).splitlines()[-200:]) if _RAISED.match(line))
    return next((line.strip()[:300] for line in raised), None)


def tail_of(log: Path, lines: int = 30) -> str:
    """The end of a log; empty when there is none."""
    return "\n".join(_text(log).splitlines()[-lines:])


def _text(log: Path) -> str:
    """Of a plain file only: a pipe that a child put in its place would never end."""
    with contextlib.suppress(OSError), open(log, "rb", opener=_no_link) as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file.read().decode(errors="replace")
    return ""


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
