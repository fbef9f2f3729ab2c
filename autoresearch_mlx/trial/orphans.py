"""Programs that outlived the loop that started them.

A measured program or a coding agent does not notice that the loop was killed: it would go on writing into the
worktree while the next run measures there.  So each carries in its environment where it works, and whoever takes
up the session ends those first.  Not found: a program that has cleared its environment, and has no living parent
that was found.
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
"""Names the directory that a child of ours works in."""


def end_orphans(folder: Path, seconds: float = 5.0) -> int:
    """End every process that works below ``folder``, with all that it started; how many there were.

    To be called by the one process that holds the session: then nobody alive can have started them.  Some
    milliseconds where there is none; gives up after ``seconds``.
    """
    import psutil

    ended: set[int] = set()
    end = time.monotonic() + seconds
    while (left := list(_orphans(folder.resolve()))) and time.monotonic() < end:
        # Stopped first, so that none starts another while its siblings are killed.
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
