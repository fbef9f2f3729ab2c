"""Whether what measures is still what it was: fingerprints of code and data, taken before a run and checked after.

    seal = take([*trial_code(), conditions.train_rows, ...])
    ... the run ...
    if (changed := broken(seal)) is not None: the measurement is invalid

Small files are hashed.  Of large ones, rows of gigabytes, the inode, the size and the times are compared, among them
the time of the last change of the inode, which no program can set; only where those differ is the content hashed
and held against the hash that the corpus's manifest names.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HASHED_BYTES = 16 * 2**20
"""Files up to this size are hashed: some 10 ms."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of one file."""

    status: tuple[int, ...]
    """Device, inode, size, and the times of the last change of content and of inode in ns; empty: no such file."""
    sha256: str | None
    """None: not hashed."""


_MISSING = Mark((), None)


@dataclass(frozen=True, slots=True)
class Seal:
    marks: Mapping[Path, Mark]
    known: Mapping[Path, str] = field(default_factory=dict)
    """SHA-256 of large files, from their manifest."""


def trial_code() -> list[Path]:
    """Harness, evaluator, sandbox and everything else in the room of measurements."""
    return sorted(Path(__file__).resolve().parent.rglob("*.py"))


def take(paths: Iterable[Path], known: Mapping[Path, str] | None = None) -> Seal:
    """Raises OSError for a file that cannot be read or is none; one that is missing is to stay so."""
    return Seal({path: _mark(path) if path.exists() else _MISSING for path in paths}, known or {})


def broken(seal: Seal) -> str | None:
    """The first file that is not what it was, in words; None when all are."""
    for path, before in seal.marks.items():
        try:
            changed = _changed(path, before, seal.known.get(path))
        except OSError as error:
            return f"{path.name} cannot be read any more: {error.strerror}"
        if changed:
            return f"{path.name} was changed while it was in use"
    return None


def _changed(path: Path, before: Mark, known: str | None) -> bool:
    if before == _MISSING:
        return path.exists()
    if before.sha256 is not None:
        return _mark(path).sha256 != before.sha256
    if _status(path) == before.status:
        return False
    return known is None or _sha256(path) != known


def _mark(path: Path) -> Mark:
    status = _status(path)
    return Mark(status, _sha256(path) if status[2] <= HASHED_BYTES else None)


def _status(path: Path) -> tuple[int, ...]:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(None, "it is no file", str(path))
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _sha256(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size <= HASHED_BYTES:
            return hashlib.sha256(file.read()).hexdigest()
        return hashlib.file_digest(file, "sha256").hexdigest()
