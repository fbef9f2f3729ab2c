"""Small journals beside the ledger, which a person may write to while a run goes on.

JSON lines, only ever appended to.  A writer holds the file's own lock for the moment of its append, so
two of them lose nothing; what it wrote is synced before the lock is let go.  What a death tore off at the
end was never written: readers pass over it, and the next writer removes it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

from autoresearch_mlx.errors import LedgerError
from autoresearch_mlx.store.ledger import now, sync

Event: TypeAlias = Mapping[str, Any]

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Events:
    """What a journal says, oldest first.  ``damaged``: numbers of lines that somebody else spoilt."""

    events: tuple[Event, ...] = ()
    damaged: tuple[int, ...] = ()


def read_events(path: Path) -> Events:
    """All whole lines; nothing where there is no file.  Raises LedgerError when it cannot be read."""
    try:
        return _replay(path.read_bytes())
    except FileNotFoundError:
        return Events()
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror}", "mend its rights") from None


class Writer:
    """A journal held open for one moment: what it says now, and what is to be added."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file = path, file
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            file.truncate(whole)
        self.events = _replay(data).events

    def append(self, kind: str, **fields: Any) -> None:
        """Add one event with its time.  Raises LedgerError when the disk refuses; then nothing was added."""
        line = json.dumps({"schema": SCHEMA, "event": kind, "time": now(), **fields}, allow_nan=False) + "\n"
        end = self._file.seek(0, os.SEEK_END)
        try:
            self._write(line.encode())
        except OSError as error:
            self._file.truncate(end)
            raise _unwritable(self._path, error) from None

    def _write(self, line: bytes) -> None:
        while line:  # a disk that is almost full takes a part
            line = line[self._file.write(line) :]
        sync(self._file.fileno())


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """``with writing(path) as journal:`` nobody else writes meanwhile.  Raises LedgerError."""
    try:
        # Unbuffered: after a failed write nothing may be left to be written when the file is closed.
        file = path.open("a+b", buffering=0)
    except OSError as error:
        raise _unwritable(path, error) from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)  # closing the file lets it go, and so does dying
        file.seek(0)
        yield Writer(path, file)


def _replay(data: bytes) -> Events:
    lines = data.split(b"\n")[:-1]
    read = [(number, _event(line)) for number, line in enumerate(lines, 1) if line.strip()]
    events = tuple(event for _, event in read if event is not None)
    return Events(events, tuple(number for number, event in read if event is None))


def _event(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _unwritable(path: Path, error: OSError) -> LedgerError:
    return LedgerError(f"{path} cannot be written: {error.strerror}", "free some space or mend its rights")
