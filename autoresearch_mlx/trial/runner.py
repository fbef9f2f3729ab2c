"""Run a child in its own process group: limit its time, memory and disk, log its output, leave no process running."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from autoresearch_mlx.trial.orphans import WORKS_IN
from autoresearch_mlx.trial.readings import Reading, take_reading
from autoresearch_mlx.trial.sandbox.limits import Limits, Watch, end_strays
from autoresearch_mlx.trial.sandbox.usage import folder_usage
from autoresearch_mlx.trial.spec import EVENTS_ENV

LOG_LIMIT = 2**20
"""Number of bytes at the end of a child's output that are kept."""
GIT_PLACES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_PREFIX",
    "GIT_NAMESPACE",
    "GIT_QUARANTINE_PATH",
)
"""Environment variables that git sets for its hooks.

If a hook started this process, these variables would make our calls of git use the user's index.
"""
_LOG_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
_TICK_SECONDS = 0.1
_LAST_WORDS_SECONDS = 2.0
"""Seconds for which output is read after the end of the child; a process outside the group could go on writing."""

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """The result of a child process: its exit code, why it was killed, and what it used."""

    returncode: int
    """Exit code as :mod:`subprocess` gives it: negative for a signal."""
    killed: str | None
    """The reason that ``allowed`` returned, for which the child was killed; None if ``allowed`` returned no reason."""
    seconds: float
    peak_memory_mb: float | None
    """Largest memory that the child and its descendants were seen to use together, in MiB, without mapped files.

    It is None if the child ended before the first reading.  A peak that lasts less than a tenth of the run's age, or
    less than 0.1 s in a long run, can be missed.
    """
    exceeded: str | None = None
    """The limit for which the child was killed, as a sentence from the watch; None if the child exceeded no limit."""
    before: Reading = field(default_factory=Reading)
    after: Reading = field(default_factory=Reading)
    """State of the machine after the child's end; ``before`` is the state before the child's start."""
    wrote_bytes: int | None = None
    """Bytes in the run folder after a failed child, or None if the exit code was 0 or no folder was watched."""


class Log:
    """A file that keeps the last LOG_LIMIT bytes of what is written to it.

    A child may have put a pipe at ``path``, or a link to one of the user's files.  So anything at ``path`` that is not
    a regular file with a single name is removed first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not _is_plain(path):
            _remove(path)
        self._file = os.fdopen(os.open(path, _LOG_FLAGS, 0o644), "ab+")

    def write(self, data: bytes) -> None:
        self._file.write(data[-LOG_LIMIT:])
        self._file.flush()
        if self._file.tell() > 2 * LOG_LIMIT:
            self._trim()

    def close(self) -> None:
        if self._file.tell() > LOG_LIMIT:
            self._trim()
        self._file.close()

    def _trim(self) -> None:
        self._file.seek(-LOG_LIMIT, os.SEEK_END)
        tail = self._file.read()
        self._file.truncate(0)
        self._file.write(tail)
        self._file.flush()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _is_plain(path: Path) -> bool:
    """Return whether ``path`` is a regular file with a single name, or does not exist yet."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return True
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def python_command(*arguments: str) -> list[str]:
    """Return a command that runs this Python interpreter.

    ``-P`` keeps the script's own folder off the import path, because a file in this folder could replace one of our
    modules.
    """
    return [sys.executable, "-P", *arguments]


def child_process_environment(added: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with the variables ``added``, and without ``GIT_PLACES``.

    Further variables turn off bytecode files and buffered output.  Apple's driver ends GPU work that takes several
    seconds while the display is awake (mlx issue 3267).  The variable ``AGX_...`` makes the driver wait longer; a value
    that the user has set is kept.
    """
    ours = {name: value for name, value in os.environ.items() if name not in GIT_PLACES}
    patience = {"AGX_RELAX_CDM_CTXSTORE_TIMEOUT": "1"}
    return {**patience, **ours, **added, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


def trusted_environment(added: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for a child that runs only our own code and uses no cache of compiled kernels.

    Edited code that is not confined could write to the user's caches of Metal and CUDA, so no child may trust them.
    """
    return {**child_process_environment(added), "MTL_SHADER_CACHE_SIZE": "0", "CUDA_CACHE_DISABLE": "1"}


def run_child(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    log: Log,
    allowed: Callable[[], str | None],
    on_event: Callable[[Event], None] = lambda event: None,
    on_output: Callable[[bytes], None] = lambda data: None,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    watch: Watch | None = None,
    inherited: Sequence[int] = (),
    on_start: Callable[[], None] = lambda: None,
) -> Ended:
    """Start ``command`` and wait for its end; kill its whole group as soon as ``allowed()`` returns a reason.

    ``allowed`` and ``watch`` are called about ten times a second, and more often in a run's first second.  If ``watch``
    finds that the child exceeds a limit, the group is killed too.  At the end, processes that left the group are
    killed.  ``on_event`` gets each JSON object that the child writes to the event pipe; other lines are ignored.
    ``on_output`` gets each piece of the child's output.

    ``stdin`` is an open file for the child to read.  The child also inherits the descriptors ``inherited``.
    ``on_start`` is called as soon as the child has started.  No process of the group survives the call, not even after
    KeyboardInterrupt.  Raises FileNotFoundError or PermissionError if the command cannot be started.
    """
    before = take_reading(cwd)
    reader, writer = os.pipe()
    try:
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env={**environment, EVENTS_ENV: str(writer), WORKS_IN: str(cwd.resolve())},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(writer, *inherited),
            start_new_session=True,
        )
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    try:
        on_start()
        ended = _follow(child, reader, log, allowed, on_event, on_output, watch or Watch(Limits()))
        return _with_readings(ended, before, cwd, watch)
    finally:
        _kill_group(child)
        child.wait()
        if watch is not None:
            end_strays(watch)
        os.close(reader)
        assert child.stdout is not None
        child.stdout.close()


def _with_readings(ended: Ended, before: Reading, cwd: Path, watch: Watch | None) -> Ended:
    """Return ``ended`` with the machine's state before and after the child."""
    folder = watch.limits.folder if watch is not None and ended.returncode != 0 else None
    wrote = None if folder is None else folder_usage(folder)[0]
    return replace(ended, before=before, after=take_reading(cwd), wrote_bytes=wrote)


def _follow(
    child: subprocess.Popen[bytes],
    events: int,
    log: Log,
    allowed: Callable[[], str | None],
    on_event: Callable[[Event], None],
    on_output: Callable[[bytes], None],
    watch: Watch,
) -> Ended:
    assert child.stdout is not None
    began, ended, lines = time.monotonic(), None, _Lines(on_event)
    killed = exceeded = None
    output = child.stdout.fileno()
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        selector.register(events, selectors.EVENT_READ)
        while True:
            if ended is None and child.poll() is not None:
                ended = time.monotonic()
                _kill_group(child)  # processes that the child left running must stop writing
            if ended is None and exceeded is None and (exceeded := watch.check(child.pid)) is not None:
                _kill_group(child)
            read = _drain(selector, output, log, lines, on_output, min(_TICK_SECONDS, watch.pause()))
            if ended is not None and (not read or time.monotonic() - ended > _LAST_WORDS_SECONDS):
                break  # all output that the child wrote before its end has been read
            if ended is None and killed is None and exceeded is None and (killed := allowed()) is not None:
                _kill_group(child)
    peak = watch.peak_bytes
    return Ended(child.returncode, killed, ended - began, round(peak / 2**20, 1) if peak else None, exceeded)


def _drain(
    selector: selectors.BaseSelector,
    output: int,
    log: Log,
    lines: _Lines,
    on_output: Callable[[bytes], None],
    seconds: float,
) -> bool:
    """Read the output and the events that the child writes within ``seconds``; return whether anything was read."""
    read = False
    for key, _ in selector.select(seconds if selector.get_map() else 0):
        data = os.read(key.fd, 65536)
        if not data:
            selector.unregister(key.fd)
        elif key.fd == output:
            log.write(data)
            on_output(data)
        else:
            lines.feed(data)
        read = read or bool(data)
    if not selector.get_map():
        time.sleep(min(seconds, _TICK_SECONDS / 5))
    return read


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kill the child and every process in its group; a group can outlive its leader, setpgid(2)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


class _Lines:
    """Cuts a stream of bytes into lines, and calls ``on_event`` for each line that is a JSON object."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self._rest = b""
        self._on_event = on_event

    def feed(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-65536:]
        for line in whole:
            with contextlib.suppress(ValueError, RecursionError):
                event = json.loads(line)
                if isinstance(event, dict):
                    self._on_event(event)
