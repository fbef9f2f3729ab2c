"""Record that workers are alive: each worker updates the time of its own small file while it measures.

A worker claims an experiment in the ledger's line ``started``.  The worker's file, the heartbeat, shows when the worker
was last active.  ``status`` shows a worker that has gone silent, and after a crash the next start says when each worker
last reported.  A single worker needs no file, because the session's lock shows whether its process lives.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

FOLDER = "workers"
"""Name of the folder with the workers' files, in the session's folder."""
SILENT_SECONDS = 60.0
"""Seconds without a report after which a worker counts as stuck; a worker at work reports about ten times a second."""
_EVERY_SECONDS = 1.0


class Heartbeat:
    """Updates the time of one worker's file, at most once a second."""

    def __init__(self, folder: Path, worker: str) -> None:
        """``folder`` is the session's folder, and ``worker`` the worker's name in the ledger.

        With an empty name nothing is written.
        """
        self._path = _path(folder, worker) if worker else None
        self._last = 0.0

    def beat(self) -> None:
        """Record that the worker is alive.  On a full disk nothing is recorded, and the measurement continues."""
        now = time.monotonic()
        if self._path is None or now - self._last < _EVERY_SECONDS:
            return
        self._last = now
        with suppress(OSError):
            self._path.parent.mkdir(exist_ok=True)
            self._path.touch()


def last_beat(folder: Path, worker: str | None) -> float | None:
    """Return the time of a worker's last sign of life, in seconds since 1970, or None if there is none."""
    try:
        return _path(folder, worker).stat().st_mtime if worker else None
    except OSError:
        return None


def last_seen(folder: Path, worker: str | None) -> str:
    """Return text that says when a dead worker last reported, and remove the worker's file.

    The text is empty if the time is unknown.  The text is added to the reason in the verdict on the worker's
    experiment.
    """
    at = last_beat(folder, worker)
    forget(folder, worker)
    return "" if at is None else f"; {worker} last reported at {time.strftime('%H:%M:%S', time.localtime(at))}"


def forget(folder: Path, worker: str | None) -> None:
    """Remove the file of a worker that no longer works on an experiment."""
    if worker:
        with suppress(OSError):
            _path(folder, worker).unlink()


def forget_all(folder: Path) -> None:
    """Remove the files of all workers of a run, after all of them have ended their experiments."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _path(folder: Path, worker: str) -> Path:
    return folder / FOLDER / worker
