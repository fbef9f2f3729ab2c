"""Implement ``wait``: wait until an experiment has its verdict, whichever process measures it.

The waiting process only reads, so it may be killed, started again, or run twice without any effect on the measurement.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.loop.detached import INTERRUPTED
from autoresearch_mlx.report.now import Running
from autoresearch_mlx.report.status import lanes_in, running_in
from autoresearch_mlx.report.terminal import running_words
from autoresearch_mlx.store.journal import stamp
from autoresearch_mlx.store.ledger import Journal, Ledger
from autoresearch_mlx.store.locks import holder
from autoresearch_mlx.store.tries import Try, read_try

STILL_MEASURED = 3
"""Exit code when the experiment is still being measured."""
_POLL_SECONDS = 0.5
_SAY_SECONDS = 30.0
_DEAD_LOOKS = 3
"""Number of checks in a row that must find no process at work before the experiment counts as given up.  A process that
starts may hold the lock for an instant before its process id is in the lock's file."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """Result of a wait.  ``experiment`` is None if the experiment is still being measured, or never took place."""

    experiment: Experiment | None
    exit_code: int


def await_verdict(
    folder: Path,
    number: int,
    say: Callable[[str], None],
    seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Awaited:
    """Wait for experiment ``number`` of the session in ``folder``, for at most ``seconds``, and report its progress.

    If the time is up first, the exit code of the result is STILL_MEASURED.  Otherwise the result has the exit code of
    the detached ``try``.  If there was no such try, the exit code is INTERRUPTED for an experiment that was cut off,
    and 0 for any other experiment.

    Raises LabError when there is no such experiment, or when the process that measured it has died.  If the try failed
    before it became an experiment, the LabError has the try's own message.
    """
    ledger = Ledger(folder)
    end = None if seconds is None else clock() + seconds
    said_at, phase, dead = float("-inf"), None, 0
    seen, journal = None, ledger.read()
    while True:
        pid = holder(folder)  # read before the ledger, because a process that has ended by now has written everything
        note = read_try(folder, number)
        if (now := stamp(ledger.path)) != seen:  # replaying a long ledger each time would disturb the measurement
            seen, journal = now, ledger.read()
        measured = pid is not None and (_promised(note, pid) or any(r.number == number for r in journal.running))
        done = next((e for e in journal.history.experiments if e.number == number), None)
        if done is not None and not _promised(note, pid):
            return Awaited(done, _exit_code(done, note))
        if not measured and note is not None and note.exit_code is not None:
            if note.exit_code == INTERRUPTED:
                say(f"the try of experiment {number} was ended by hand before its measurement began")
                return Awaited(None, INTERRUPTED)
            raise LabError(note.error or f"the try of experiment {number} ended without a verdict", note.hint)
        dead = 0 if measured else dead + 1
        if dead >= _DEAD_LOOKS:
            raise _nobody(folder, number, note, journal)
        if end is not None and clock() >= end:
            return Awaited(None, STILL_MEASURED)
        running = _running(folder, journal, number) if measured else None
        if running is not None and (clock() - said_at >= _SAY_SECONDS or running.phase != phase):
            said_at, phase = clock(), running.phase
            say(_words(number, running))
        sleep(_POLL_SECONDS if end is None else min(_POLL_SECONDS, max(end - clock(), 0.0)))


def _promised(note: Try | None, pid: int | None) -> bool:
    """Return True if the process ``pid`` is the try that ``note`` describes, and has not ended."""
    return note is not None and note.exit_code is None and note.pid == pid


def _exit_code(done: Experiment, note: Try | None) -> int:
    if note is not None and note.exit_code is not None:
        return note.exit_code
    return INTERRUPTED if done.cut_off else 0


def _nobody(folder: Path, number: int, note: Try | None, journal: Journal) -> LabError:
    claim = next((r for r in journal.running if r.number == number), None)
    if claim is None and note is None:
        hint = "`autoresearch-mlx log` lists the experiments, and `autoresearch-mlx status` says what is measured now"
        return LabError(f"session {folder.name} has no experiment {number}", hint)
    said = f"the process that measured experiment {number} ended without a verdict, as after a power cut or `kill -9`"
    again = f"run `autoresearch-mlx try` again: it first closes experiment {number} as interrupted"
    sandbox = "if a coding agent's sandbox ended the process, start the agent with `autoresearch-mlx drive`"
    return LabError(said, f"{again}; {sandbox}")


def _running(folder: Path, journal: Journal, number: int) -> Running | None:
    """Return experiment ``number`` if one of several lanes measures it, otherwise the experiment that runs now."""
    lanes = lanes_in(folder, journal)
    return next((lane for lane in lanes if lane.number == number), running_in(folder, journal))


def _words(number: int, running: Running) -> str:
    if running.number == number:
        return running_words(running)
    if running.number is None and running.phase is None:
        return f"experiment {number} comes next; process {running.pid} is about to begin it"
    return f"experiment {number} comes next; now {running_words(running)}"
