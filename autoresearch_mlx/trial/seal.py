"""Detect changes to the measuring code or data: fingerprint the files before a run, and compare them after it.

    seal = take([*trial_code(), conditions.train_rows, ...])
    ... the run ...
    if (changed := broken(seal)) is not None: the measurement is invalid

Small files are hashed.  Large files, such as rows of several gigabytes, are compared by inode, size and times.  One of
the times is st_ctime, the time of the inode's last change (inode(7)), which no system call can set to a chosen value.
If a large file's inode, size or time has changed, the file is hashed, and the hash is compared with the hash in the
corpus's manifest.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HASHED_BYTES = 16 * 2**20
"""Largest size in bytes of a file that is hashed each time; hashing a file of this size takes about 10 ms."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The fingerprint of one file."""

    status: tuple[int, ...]
    """Device, inode, size, time of the last change of the content, and time of the last change of the inode.

    The times are in nanoseconds.  The tuple is empty for a missing file.
    """
    sha256: str | None
    """SHA-256 of the content, or None for a file too large to be hashed."""


_MISSING = Mark((), None)


@dataclass(frozen=True, slots=True)
class Seal:
    """The fingerprints of all files that a measurement depends on."""

    marks: Mapping[Path, Mark]
    known: Mapping[Path, str] = field(default_factory=dict)
    """Path of a large file -> its SHA-256 in the corpus's manifest."""


def trial_code() -> list[Path]:
    """Return the paths of all modules of this package: harness, evaluator, sandbox and the rest."""
    return sorted(Path(__file__).resolve().parent.rglob("*.py"))


def take(paths: Iterable[Path], known: Mapping[Path, str] | None = None) -> Seal:
    """Return the fingerprints of the files; a file that is missing now must still be missing afterwards.

    Raises OSError for a path that cannot be read or is not a regular file.
    """
    return Seal({path: _mark(path) if path.exists() else _MISSING for path in paths}, known or {})


def broken(seal: Seal) -> str | None:
    """Return a sentence about the first file that has changed, or None if no file has."""
    for path, before in seal.marks.items():
        try:
            changed = _changed(path, before, seal.known.get(path))
        except OSError as error:
            return f"{path.name} can no longer be read: {error.strerror}"
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
        raise OSError(None, "it is not a regular file", str(path))
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _sha256(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size <= HASHED_BYTES:
            return hashlib.sha256(file.read()).hexdigest()
        return hashlib.file_digest(file, "sha256").hexdigest()
