"""Take locks on files and sessions.  The system releases a lock when the process that holds it dies (flock(2))."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from autoresearch_mlx.errors import LockedError
from autoresearch_mlx.store.tries import try_of


def take_lock(file: IO[str], seconds: float = 1.0) -> bool:
    """Take the exclusive lock of an open file; return False if the lock does not become free within ``seconds``.

    The function keeps trying, because another process may hold the lock for only a moment.  Such a process asks who
    holds the lock (:func:`holder`), or ends a run.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)


def held(path: Path) -> bool:
    """Return whether a living process holds the lock of this file, or False when the file cannot be read."""
    try:
        with path.open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
    except OSError:
        return False
    return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a session for this process.  The system releases the lock when the process dies.

    Raises LockedError when another process holds the lock; the error names that process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        if not take_lock(file):
            file.seek(0)
            raise _in_use(folder, file.read().strip())
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        file.truncate(0)


def _in_use(folder: Path, pid: str) -> LockedError:
    said = f"session {folder.name} is in use by process {pid or 'unknown'}"
    detached = try_of(folder, int(pid)) if pid.isdigit() else None
    if detached is None:
        return LockedError(
            said, "wait until that process ends, stop it with Ctrl-C in its terminal, or use another --tag"
        )
    hint = f"`autoresearch-mlx wait {detached.number}` gives the verdict; `kill {pid}` ends the process"
    return LockedError(f"{said}, which measures experiment {detached.number} (`try --detach`)", hint)


def holder(folder: Path) -> int | None:
    """Return the id of the running process that holds the lock of a session, or None when no process holds it."""
    try:
        with (folder / "lock").open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                text = file.read().strip()
                return int(text) if text.isdigit() else None
    except OSError:
        return None
    return None
