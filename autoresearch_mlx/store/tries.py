"""Keep a note of each try that continues after its command has ended (``try --detach``), so that ``wait`` finds it.

    tries/0005.json     experiment 5: the process that measures it, and how that process ended
    tries/0005.log      the messages and the verdict that the process printed

The experiment itself is in the ledger.  The note has two facts that the ledger cannot have.  One is the number that was
reported to the caller while the baseline was still being measured.  The other is the error of a try that did not become
an experiment.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from autoresearch_mlx.lab.lab import write_whole

FOLDER = "tries"


@dataclass(frozen=True, slots=True)
class Try:
    """One detached try."""

    number: int
    """The experiment's number, which was reported to the caller."""
    pid: int
    title: str
    time: str
    """Local time at which the try started, with the offset from UTC."""
    exit_code: int | None = None
    """Exit code of the process, or None while it runs or if it was killed."""
    error: str = ""
    """The error that ended the try without a verdict, or an empty string if there is none."""
    hint: str = ""


def log_path(folder: Path, number: int) -> Path:
    return folder / FOLDER / f"{number:04d}.log"


def write_try(folder: Path, note: Try) -> None:
    """Write the note of a try in one step, in place of an earlier note.  Raises OSError when the note cannot be
    written."""
    path = _path(folder, note.number)
    path.parent.mkdir(exist_ok=True)
    write_whole(path, json.dumps(asdict(note)) + "\n")


def read_try(folder: Path, number: int) -> Try | None:
    """Return the note of an experiment, or None if the note is missing or damaged."""
    return _read(_path(folder, number))


def try_of(folder: Path, pid: int | None) -> Try | None:
    """Return the try that the process ``pid`` measures now, or None when it measures none.

    ``pid`` must be the process that has the session's lock, because the id of a dead process may now belong to another
    process.
    """
    if pid is None:
        return None
    notes = (_read(path) for path in sorted((folder / FOLDER).glob("*.json"), reverse=True))
    return next((note for note in notes if note is not None and note.pid == pid and note.exit_code is None), None)


def newest_try(folder: Path) -> int | None:
    """Return the number of the newest detached try of a session, or None when there is none."""
    numbers = [int(path.stem) for path in (folder / FOLDER).glob("*.json") if path.stem.isdigit()]
    return max(numbers, default=None)


def _path(folder: Path, number: int) -> Path:
    return folder / FOLDER / f"{number:04d}.json"


def _read(path: Path) -> Try | None:
    with suppress(OSError, ValueError, TypeError):
        return Try(**json.loads(path.read_bytes()))
    return None
