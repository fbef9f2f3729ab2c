"""Measure in a process that outlives its caller: ``try --detach``.

When a command takes too long, a coding agent's shell ends the command, its descendants, and all processes of its
process group and its POSIX session.  So the measurement runs in a process with a POSIX session of its own, without a
parent, a terminal or the caller's pipes.  The caller waits only until this process has reported the number of the
experiment (the *promise*), or has failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch_mlx.errors import AutoresearchError, LabError
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.tries import Try, log_path, write_try
from autoresearch_mlx.trial.runner import python_command

INTERRUPTED = 130
"""Exit code of a command that the user has ended with Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Promise:
    """The report of a detached process to its caller: the experiment's number, the session, and the process id."""

    number: int
    session: str
    pid: int


def start_detached(arguments: Sequence[str]) -> Promise | int:
    """Start the command ``autoresearch-mlx`` with these arguments as a new process that outlives this one.

    The command must have the option ``--report-to``.  Returns the promise that the new process reports.  If the new
    process fails before the promise, it prints its error to our standard error, and its exit code is returned.  Raises
    LabError when the new process was killed before it could report a promise or an exit code.
    """
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        python_command("-m", "autoresearch_mlx", *arguments, "--report-to", str(theirs)),
        stdin=subprocess.DEVNULL,
        pass_fds=[theirs],
        start_new_session=True,
    )
    os.close(theirs)
    with os.fdopen(ours, encoding="utf-8") as report:
        line = report.readline()
        report.read()  # without a promise, the process prints its error before it closes the pipe
    process.wait()
    if not line:
        said = "the detached process was killed before it had reported the number of its experiment"
        raise LabError(said, "run `autoresearch-mlx try` again")
    said = json.loads(line)
    return int(said["exit_code"]) if "exit_code" in said else Promise(**said)


class Detached:
    """Reports the promise to the caller of a detached process, and writes the note that says how the process ended.

    ``report_to`` is the file descriptor on which the caller waits for the promise.  Without a descriptor, the process
    is not detached, and it writes neither a promise nor a note.
    """

    def __init__(self, title: str, report_to: int | None) -> None:
        self._title, self._report_to = title, report_to
        self._folder: Path | None = None
        self._note: Try | None = None

    def promise(self, folder: Path, number: int) -> None:
        """Report to the caller that this process will measure experiment ``number`` of the session in ``folder``.

        From then on, this process prints into a log and not into the caller's streams.  The process must have the
        session's lock.  Raises OSError when the note cannot be written.
        """
        if self._report_to is None:
            return
        note = Try(number, os.getpid(), self._title, now())
        write_try(folder, note)
        self._folder, self._note = folder, note
        sys.stdout.flush()
        sys.stderr.flush()
        with log_path(folder, number).open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        self._report(number=number, session=folder.name, pid=note.pid)
        assert self._report_to is not None
        os.close(self._report_to)

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Detach this process for the block, and report how the block ends.

        The report goes to the caller before the promise, and into the note after the promise.
        """
        if self._report_to is None:
            yield
            return
        if os.fork():
            os._exit(0)  # the parent ends, so the measurement is no longer the caller's descendant
        try:
            yield
        except AutoresearchError as error:
            self._end(1, str(error), error.hint)
            raise
        except KeyboardInterrupt:
            self._end(INTERRUPTED)
            raise
        except BaseException as error:
            self._end(1, f"{type(error).__name__}: {error}")
            raise
        self._end(0)

    def _end(self, code: int, error: str = "", hint: str = "") -> None:
        if self._folder is None or self._note is None:
            self._report(exit_code=code)  # the end of the process closes the pipe
            return
        with suppress(OSError):
            write_try(self._folder, replace(self._note, exit_code=code, error=error, hint=hint))

    def _report(self, **said: int | str) -> None:
        assert self._report_to is not None
        with suppress(OSError):  # the caller was killed meanwhile, but `status` shows the experiment
            os.write(self._report_to, f"{json.dumps(said)}\n".encode())
