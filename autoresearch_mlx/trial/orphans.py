"""End orphans, which are programs that a coding agent or a killed loop left running; name programs at work in a folder.

An orphan could write into the worktree while the next run is measured in this worktree.  So each child has the
environment variable ``WORKS_IN``, which names the folder in which the child works.  Every program that still has this
variable is ended after each call of an agent, and when the next process opens the session.  A program that has cleared
its environment is found by its parent processes or by its current directory.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

WORKS_IN = "AUTORESEARCH_WORKS_IN"
"""Environment variable that names the folder in which a child works."""
_MARK = f"{WORKS_IN}=".encode()


def end_orphans(folder: Path, seconds: float = 5.0, since: float | None = None) -> int:
    """End all orphans that work in ``folder`` or below, and their descendants; return how many were ended.

    Only the process that has the session's lock may call this function: then no living loop can have started these
    programs.  The call takes a few milliseconds if there is nothing to end, and gives up after ``seconds``.

    ``since`` is a time in seconds since 1970.  With ``since``, programs without the variable are ended too: those that
    began after this time, have no terminal, and have their current directory below ``folder``.
    """
    import psutil

    ended: set[int] = set()
    end = time.monotonic() + seconds
    while (left := list(_orphans(folder.resolve(), since))) and time.monotonic() < end:
        # Stop every process before killing any, because one could start another while its siblings are being killed.
        for action in (psutil.Process.suspend, psutil.Process.kill):
            for process in left:
                with contextlib.suppress(psutil.Error):
                    action(process)
        ended |= {process.pid for process in left}
        psutil.wait_procs(left, timeout=0.2)
    return len(ended)


def at_work(folder: Path) -> list[str]:
    """Return at most three programs that may write below ``folder``, each as ``vim (process 12)``.

    A program may write if its current directory or an open file is below ``folder``, or if its command line names
    ``folder``.  This process and its parents are not returned.
    """
    import psutil

    ours = psutil.Process()
    spared = {ours.pid, *(process.pid for process in ours.parents())}
    found: list[str] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid not in spared and process.status() != psutil.STATUS_ZOMBIE and _busy_below(process, folder):
                found.append(f"{process.name()} (process {process.pid})")
    return found[:3]


def _busy_below(process: psutil.Process, folder: Path) -> bool:
    if any(str(folder) in word for word in process.cmdline()):
        return True
    places = [process.cwd(), *(file.path for file in process.open_files())]
    return any(Path(place).is_relative_to(folder) for place in places if place)


def _orphans(folder: Path, since: float | None = None) -> Iterator[psutil.Process]:
    import psutil

    ours = psutil.Process()
    spared = {ours.pid, *(process.pid for process in ours.parents())}  # a coding agent may have started this process
    for process in _perhaps_below(since):
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid not in spared and (_works_below(process, folder) or _began_below(process, folder, since)):
                yield from (p for p in process.children(recursive=True) if p.pid not in spared)
                yield process


def _perhaps_below(since: float | None) -> Iterator[psutil.Process]:
    """Yield the processes to examine: all of them, or on Linux without ``since`` only those that have ``WORKS_IN``.

    On Linux the environments are read from /proc, in a fifth of the time that psutil takes.
    """
    import psutil

    if since is not None or sys.platform != "linux":
        yield from psutil.process_iter()
        return
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, OSError):
            if _MARK in Path(f"/proc/{pid}/environ").read_bytes():
                yield psutil.Process(pid)


def _works_below(process: psutil.Process, folder: Path) -> bool:
    import psutil

    where = process.environ().get(WORKS_IN)
    return where is not None and Path(where).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE


def _began_below(process: psutil.Process, folder: Path, since: float | None) -> bool:
    """Return whether a program of this user began after ``since``, has no terminal, and works below ``folder``.

    The user's shell and editor do not match, because they have a terminal or began earlier.  The start time of a
    process is known only to the second, so a program may seem to begin up to a second too early.
    """
    if since is None or process.create_time() < since - 1 or process.uids().real != os.getuid():
        return False
    return process.terminal() is None and Path(process.cwd()).is_relative_to(folder)
