"""Run one child in its own process group: bounded in time, its output kept, nothing of it left behind."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from autoresearch_mlx.trial.spec import EVENTS_ENV

LOG_LIMIT = 2**20
"""Bytes of output kept of one child: its last ones."""
_TICK_SECONDS = 0.1
_LAST_WORDS_SECONDS = 2.0
"""How long what an ended child wrote is read: a process that left its group could write for ever."""

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended.  ``killed`` is our own reason for killing it, else None."""

    returncode: int
    """As subprocess gives it: negative for a signal."""
    killed: str | None
    seconds: float
    peak_memory_mb: float | None
    """Largest resident memory seen of the child and its descendants, in MiB; sampled, so a short peak can hide."""


class Log:
    """A file that keeps the last LOG_LIMIT bytes of whatever is written to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab+")

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


def python_command(*arguments: str) -> list[str]:
    """This interpreter, told not to put the script's own folder on the import path."""
    return [sys.executable, "-P", *arguments]


def child_process_environment(added: Mapping[str, str]) -> dict[str, str]:
    """Ours, with what a measurement adds; nothing is written beside the sources."""
    return {**os.environ, **added, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


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
) -> Ended:
    """Start ``command`` and wait for its end, killing its whole group as soon as ``allowed()`` gives a reason.

    ``allowed`` is asked about ten times a second.  ``stdin``: an open file, for a child that reads one.
    Lines on the event pipe that are no JSON objects are ignored.  Whatever happens here, KeyboardInterrupt
    included, no process of the group survives.
    Raises FileNotFoundError or PermissionError when the command cannot be started.
    """
    reader, writer = os.pipe()
    try:
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env={**environment, EVENTS_ENV: str(writer)},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(writer,),
            start_new_session=True,
        )
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    try:
        return _watch(child, reader, log, allowed, on_event, on_output)
    finally:
        _kill_group(child)
        child.wait()
        os.close(reader)
        assert child.stdout is not None
        child.stdout.close()


def _watch(
    child: subprocess.Popen[bytes],
    events: int,
    log: Log,
    allowed: Callable[[], str | None],
    on_event: Callable[[Event], None],
    on_output: Callable[[bytes], None],
) -> Ended:
    assert child.stdout is not None
    began, killed, ended, lines, memory = time.monotonic(), None, None, _Lines(on_event), _Memory(child.pid)
    output = child.stdout.fileno()
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        selector.register(events, selectors.EVENT_READ)
        while True:
            if ended is None and child.poll() is not None:
                ended = time.monotonic()
                _kill_group(child)  # what it left running writes no more
            if ended is None:
                memory.sample()
            read = _drain(selector, output, log, lines, on_output)
            if ended is not None and (not read or time.monotonic() - ended > _LAST_WORDS_SECONDS):
                break  # all that it wrote before its end has been read
            if ended is None and killed is None and (killed := allowed()) is not None:
                _kill_group(child)
    return Ended(child.returncode, killed, ended - began, memory.peak_mb)


def _drain(
    selector: selectors.BaseSelector, output: int, log: Log, lines: _Lines, on_output: Callable[[bytes], None]
) -> bool:
    """Read what is there; True when something was."""
    read = False
    for key, _ in selector.select(_TICK_SECONDS if selector.get_map() else 0):
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
        time.sleep(_TICK_SECONDS / 5)
    return read


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """End the child and all that it started in its group, which outlives its leader."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


class _Memory:
    """Samples resident memory: of the child ten times a second, of its whole family, which is dearer, once."""

    def __init__(self, pid: int) -> None:
        self.peak_mb: float | None = None
        self._pid = pid
        self._family: list[psutil.Process] = []
        self._counted = 0.0

    def sample(self) -> None:
        with contextlib.suppress(psutil.Error):
            if time.monotonic() - self._counted > 1:
                leader = psutil.Process(self._pid)
                self._family, self._counted = [leader, *leader.children(recursive=True)], time.monotonic()
            total = sum(self._resident(process) for process in self._family) / 2**20
            self.peak_mb = max(self.peak_mb or 0.0, round(total, 1))

    @staticmethod
    def _resident(process: psutil.Process) -> int:
        try:
            return int(process.memory_info().rss)
        except psutil.Error:
            return 0


class _Lines:
    """Cuts a byte stream into JSON objects."""

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
