"""Make the runs of jobs on a machine of a fleet, and return their results.

The coordinator calls these functions through Dask's worker.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from autoresearch_mlx.fleet.job import Delivery, Job, job_from
from autoresearch_mlx.fleet.spool import ENOUGH, HOME, Spool, measured_now
from autoresearch_mlx.trial.orphans import WORKS_IN
from autoresearch_mlx.trial.runner import GIT_PLACES, python_command

_LOOK_SECONDS, _ALIVE_SECONDS = 0.01, 0.25
"""Seconds between two looks for the result, and between two checks that the measuring process is alive."""
_START_SECONDS = 60.0
"""Seconds within which the measuring process must lock its job."""
THREAD_LIMITS = tuple(f"{name}_NUM_THREADS" for name in ("OMP", "MKL", "OPENBLAS"))
"""Environment variables that Dask's nanny sets for its worker; they must not limit the threads of a training run."""


def take(text: str, bundle: bytes) -> str:
    """Make the run of a job, or find its result in the spool; return the delivery as JSON text.

    This function never raises: the delivery says what went wrong on this machine.
    """
    try:
        job, spool = job_from(text), Spool(Path(os.environ[HOME]))
        folder = spool.accept(job, bundle)
        found = spool.result(job.id) or _measured(job, spool, folder)
        spool.tidy()
        return found.text()
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return Delivery(trouble=f"the spool cannot be written: {name}{error.strerror}", refused=True).text()
    except Exception as error:  # for example, the job is of another version, or the home is damaged
        return Delivery(trouble=f"{type(error).__name__}: {error}").text()


def _measured(job: Job, spool: Spool, folder: Path) -> Delivery:
    """Let the measuring process make the run, unless it is making the run already; wait for the result."""
    hand = _hand(spool.home)
    if not measured_now(folder):
        hand.give(folder)
    began = looked = time.monotonic()
    while (found := spool.result(job.id)) is None:
        time.sleep(_LOOK_SECONDS)
        if (now := time.monotonic()) - looked < _ALIVE_SECONDS:
            continue
        looked = now
        if not measured_now(folder):
            late = now - began > _START_SECONDS
            if (hand.ended() or late) and (found := spool.result(job.id)) is None:
                return Delivery(trouble=f"the measuring process ended without a result{hand.last_words()}")
    return found


class Hand:
    """The measuring process.

    It has a process group of its own, so it finishes its run even if the Dask worker dies.
    """

    def __init__(self, home: Path) -> None:
        self._home, self._said = home, home / "measuring.txt"
        self._process: subprocess.Popen[str] | None = None

    def ready(self) -> None:
        """Start the process if it is not running."""
        if self.ended():
            self._process = self._start()

    def give(self, folder: Path) -> None:
        """Let the measuring process make the run of the job in ``folder``; start the process if it is not running."""
        self.ready()
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()

    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def last_words(self) -> str:
        try:
            lines = self._said.read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return f": {lines[-1][:300]}" if lines else ""

    def _start(self) -> subprocess.Popen[str]:
        dropped = {*THREAD_LIMITS, *GIT_PLACES}
        set_by_person = {name: value for name in THREAD_LIMITS if (value := os.environ.get(f"{_SAVED}{name}"))}
        environment = {name: value for name, value in os.environ.items() if name not in dropped and _SAVED not in name}
        with self._said.open("wb") as said:
            return subprocess.Popen(
                python_command("-m", "autoresearch_mlx.fleet.measuring"),
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                start_new_session=True,
                env={**environment, **set_by_person, WORKS_IN: str(self._home.resolve())},
                text=True,
            )


@lru_cache(maxsize=1)
def _hand(home: Path) -> Hand:
    """Return the only measuring process of this Dask worker."""
    return Hand(home)


def dask_setup(worker: object) -> None:
    """Start the measuring process, so that the first job does not wait for its start.

    Dask calls the function with this name in each module that its worker preloads.
    """
    _hand(Path(os.environ[HOME])).ready()


_SAVED = "AUTORESEARCH_OWN_"


def saved_limits(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the thread limits that the user has set, under names that Dask does not overwrite."""
    return {f"{_SAVED}{name}": environment[name] for name in THREAD_LIMITS if name in environment}


def end_job(job: str) -> None:
    """End the run of a job whose result is no longer wanted."""
    folder = Spool(Path(os.environ[HOME])).folder(job)
    if folder.exists():
        (folder / ENOUGH).touch()


def result_of(job: str) -> str:
    """Return a job's delivery as JSON text if the spool has it, else an empty string.  This call starts no run."""
    try:
        found = Spool(Path(os.environ[HOME])).result(job)
    except (ValueError, LookupError):
        return ""
    return "" if found is None else found.text()
