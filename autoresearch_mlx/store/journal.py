"""Read and write journals: files of JSON lines to which lines are only appended.

The ledger, the user's notes, the user's orders and the list of calls to models are journals.  Three rules keep a
journal whole if a process dies at any moment:

- a line is written in full and synced to the disk before work continues, or no part of it stays in the file;
- a last line without a line end was cut off when a process died: readers skip it, and the next writer removes it;
- if several processes may write, a writer holds the file's own lock while it appends (:func:`held`).
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TypeAlias

from autoresearch_mlx.errors import LedgerError

Event: TypeAlias = Mapping[str, Any]

SCHEMA = 1
_BLOCK = 1 << 16
"""Number of bytes that are read at once in the search for the end of the last whole line."""


def now() -> str:
    """Return the local time with its offset, to the second (ISO 8601)."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def stamp(path: Path) -> tuple[int, int] | None:
    """Return the stamp of a file, which changes with each write: (time in ns, size in bytes).

    Returns None if there is no file.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


# --- lines


def whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the complete lines with their numbers, from 1; blank lines are left out.  Raises OSError."""
    with path.open("rb") as file:  # line by line, because a whole journal may take much memory
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n") and line.strip():
                yield number, line


def append(file: IO[bytes], line: bytes) -> None:
    """Write one line at the end of an unbuffered file and wait until it is on the disk.

    Raises OSError when the line cannot be written; then no part of it stays in the file.
    """
    end = file.seek(0, os.SEEK_END)
    left = line + b"\n"
    try:
        while left:  # a disk that is almost full accepts only a part
            left = left[file.write(left) :]
        sync(file.fileno())
    except OSError:
        file.truncate(end)
        raise


def mend(file: IO[bytes]) -> None:
    """Remove everything after the last line end.  Only the holder of the file's lock may call this."""
    size = at = file.seek(0, os.SEEK_END)
    whole = 0
    while at and not whole:  # search from the end, because an incomplete line is short and the journal may be long
        start = max(0, at - _BLOCK)
        file.seek(start)
        whole = start + file.read(at - start).rfind(b"\n") + 1
        whole, at = (whole if whole > start else 0), start
    if whole < size:
        file.truncate(whole)


@contextmanager
def held(path: Path) -> Iterator[IO[bytes]]:
    """Mend a journal and open it for :func:`append`; until the end of the block, no other process can write to it.

    Raises OSError.
    """
    # The file is unbuffered, so that after a failed write nothing is left to be written when it is closed.
    with path.open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed or the process dies
        mend(file)
        yield file


def sync(descriptor: int) -> None:
    """Wait until a file is on the disk.  Raises OSError."""
    if sys.platform == "darwin":
        # On macOS, fsync(2) may leave the data in the drive's own cache (its manual page says so); F_FULLFSYNC empties
        # that cache too.  Network drives support only fsync.
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


# --- events


@dataclass(frozen=True, slots=True)
class Events:
    """The events of a journal, oldest first.  ``damaged`` has the numbers of the lines that are not an event in
    JSON."""

    events: tuple[Event, ...] = ()
    damaged: tuple[int, ...] = ()


def read_events(path: Path) -> Events:
    """Return the events of all complete lines, or no events when there is no file.  Raises LedgerError."""
    try:
        read = [(number, _event(line)) for number, line in whole_lines(path)]
    except FileNotFoundError:
        return Events()
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror}", "correct its permissions") from None
    events = tuple(event for _, event in read if event is not None)
    return Events(events, tuple(number for number, event in read if event is None))


class Writer:
    """A journal that is open for writing: its events, and a method that adds an event."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file = path, file
        self.events = read_events(path).events

    def append(self, kind: str, **fields: Any) -> None:
        """Add one event with the present time.  Raises LedgerError, and adds nothing, when the event cannot be
        written."""
        line = json.dumps({"schema": SCHEMA, "event": kind, "time": now(), **fields}, allow_nan=False)
        try:
            append(self._file, line.encode())
        except OSError as error:
            raise _unwritable(self._path, error) from None


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """Open a journal to read its events and to add more; until the end of the block, no other process can write to it.

    Raises LedgerError.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(held(path))
        except OSError as error:
            raise _unwritable(path, error) from None
        yield Writer(path, file)


def json_object(line: bytes) -> Mapping[str, Any] | None:
    """Return the JSON object in a line, or None if the line contains something else."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _event(line: bytes) -> Event | None:
    event = json_object(line)
    return event if event is not None and isinstance(event.get("event"), str) else None


def _unwritable(path: Path, error: OSError) -> LedgerError:
    return LedgerError(f"{path} cannot be written: {error.strerror}", "free some space or correct its permissions")
