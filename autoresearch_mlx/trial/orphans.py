"""End programs that outlived the loop that started them.

A measured program or a coding agent does not notice that the loop was killed: it would go on writing into the worktree
while the next run is measured there.  So an environment variable of each child names the folder in which it works, and
the next process that opens the session ends every program that still works there.  A program is missed only when it
has cleared its environment and no parent with the variable is alive.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

WORKS_IN = "AUTORESEARCH_WORKS_IN"
"""Environment variable that names the folder in which a child works."""


def end_orphans(folder: Path, seconds: float = 5.0) -> int:
    """End every process that works below ``folder``, and all their descendants; return how many were ended.

    Call it only from the process that holds the session's lock: then no living loop can have started them.  It takes
    some milliseconds when there is nothing to end, and gives up after ``seconds``.
    """
    import psutil

    ended: set[int] = set()
    end = time.monotonic() + seconds
    while (left := list(_orphans(folder.resolve()))) and time.monotonic() < end:
        # Stop all before killing any: a process could start another one while its siblings are being killed.
        for action in (psutil.Process.suspend, psutil.Process.kill):
            for process in left:
                with contextlib.suppress(psutil.Error):
                    action(process)
        ended |= {process.pid for process in left}
        psutil.wait_procs(left, timeout=0.2)
    return len(ended)


def _orphans(folder: Path) -> Iterator[psutil.Process]:
    import psutil

    ours = psutil.Process()
    spared = {ours.pid, *(process.pid for process in ours.parents())}  # a coding agent may have started us
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid not in spared and _works_below(process, folder):
                yield from (p for p in process.children(recursive=True) if p.pid not in spared)
                yield process


def _works_below(process: psutil.Process, folder: Path) -> bool:
    import psutil

    where = process.environ().get(WORKS_IN)
    return where is not None and Path(where).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE
