"""Keep a machine's jobs in its spool, a folder on its own disk; a result is written there before it is delivered.

The folder of a job has ``job.json``, the commit in ``bundle``, and after the run ``result.json``.  A job may be
requested again after a lost connection, or after a restart of the coordinator or the machine.  Then the existing result
is returned, and nothing is measured twice.  A process of its own measures (:mod:`measuring`), so no run is lost if the
Dask worker dies.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from autoresearch_mlx.fleet.job import Delivery, Job, delivery_from
from autoresearch_mlx.store.locks import held, take_lock

HOME = "AUTORESEARCH_FLEET_HOME"
"""Environment variable with the path of this machine's home, the folder of its jobs, results and repositories."""
_KEPT = 500
"""Number of finished jobs that stay in the spool."""
RESULT, ENOUGH = "result.json", "enough"
_ID_LETTERS = frozenset("0123456789abcdef")


class Spool:
    """The jobs of one machine, in a folder of its home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.jobs = home / "spool"

    def folder(self, job: str) -> Path:
        """Return the folder of a job.  Raises ValueError for a name that :func:`job_id` cannot have made."""
        if not job or not set(job) <= _ID_LETTERS:
            raise ValueError(f"{job!r} is not the name of a job")
        return self.jobs / job

    def accept(self, job: Job, bundle: bytes) -> Path:
        """Write a job to the disk, unless the spool has it already, and return its folder.

        If the job has a result without a measurement, this result is removed, so that the run is repeated.  Raises
        OSError if the disk is full.
        """
        folder = self.folder(job.id)
        found = self.result(job.id)
        if found is not None and (found.trouble or found.ended or found.lacks):
            (folder / RESULT).unlink(missing_ok=True)
        if not (folder / "job.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_synced(folder / "bundle", bundle)
            write_synced(folder / "job.json", job.text().encode())
        elif bundle and not (folder / RESULT).exists() and not measured_now(folder):
            write_synced(folder / "bundle", bundle)  # the first bundle built on commits that this machine did not have
        (folder / ENOUGH).unlink(missing_ok=True)
        return folder

    def result(self, job: str) -> Delivery | None:
        """Return the result of a job, or None if the job has no result yet."""
        path = self.folder(job) / RESULT
        try:
            found = delivery_from(path.read_text(encoding="utf-8"))
            waited = max(0.0, time.time() - path.stat().st_mtime)
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return replace(found, waited=round(waited, 1))

    def tidy(self) -> None:
        """Remove the oldest finished jobs, so that the spool does not fill the disk."""
        with suppress(OSError):
            done = sorted(self.jobs.glob(f"*/{RESULT}"), key=lambda path: path.stat().st_mtime)
            for path in done[:-_KEPT]:
                shutil.rmtree(path.parent, ignore_errors=True)


@contextmanager
def measuring_alone(folder: Path) -> Iterator[bool]:
    """Take a job's lock for the block; yield whether this process got the lock."""
    with (folder / "lock").open("a+") as file:
        yield take_lock(file, 0.2)


def measured_now(folder: Path) -> bool:
    """Return whether a process is measuring this job now."""
    return held(folder / "lock")


def write_synced(path: Path, data: bytes) -> None:
    """Write a file in one step and wait until it is on the disk.  Raises OSError."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
