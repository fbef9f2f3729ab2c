"""End programs that have outlived the coding agent or the loop that started them, and name other programs at work in a
folder.

If a coding agent leaves a program running, or a loop is killed during a measurement, the program could go on writing
into the worktree while the next run is measured there.  So an environment variable of each child names the folder in
which the child works.  Every program that has this variable (``WORKS_IN``) is ended after each call of an agent, and
again when the next process opens the session.  A program that has cleared its environment is found by its parent
processes, or by its current directory.
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
    """End all processes that work below ``folder``, and their descendants; return how many were ended.

    Call this only from the process that holds the session's lock; then no living loop can have started these processes.
    The call takes a few milliseconds if there is nothing to end, and gives up after ``seconds``.

    ``since`` is the time, in seconds since 1970, after which this process started a program in ``folder``.  If
    ``since`` is given, programs that began later, have no terminal and have their current directory below ``folder``
    are ended too.
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
    """Return at most three other programs that may write below ``folder``, each as ``vim (process 12)``.

    A program may write below ``folder`` if its current directory or an open file is there, or if its command line names
    the folder.
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
    """Yield the processes to examine: on Linux, if ``since`` is None, only those that have ``WORKS_IN``; otherwise all.

    Reading the environments from /proc takes a fifth of the time that psutil takes for the same processes.
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

    The user's shell or editor is spared, because it has a terminal or began earlier.  The start time of a process is
    known to the second.
    """
    if since is None or process.create_time() < since - 1 or process.uids().real != os.getuid():
        return False
    return process.terminal() is None and Path(process.cwd()).is_relative_to(folder)
