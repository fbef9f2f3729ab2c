"""Pack a session into one file, which another machine can check and unpack.

    manifest.json     comes first: size and SHA-256 of each file that follows, and the files that were left out
    session.bundle    a git bundle: the session's branch and the refs of its experiments, with their history
    session/...       the session's folder: ledger, results, logs, talks, journals

The archive is a gzipped tar of plain files.  The worktree and the lock are left out.  Weights are left out unless the
user asks for them.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from autoresearch_mlx import __version__
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.setup.archive.bundles import pack, prefix_of
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.ledger import FILE, Journal, read
from autoresearch_mlx.store.left_out import SAID
from autoresearch_mlx.store.locks import locked
from autoresearch_mlx.trial.spec import WEIGHTS

KIND, FORMAT = "autoresearch-mlx session", 1
MANIFEST, BUNDLE, SESSION = "manifest.json", "session.bundle", "session"
_STAY = ("worktree", "lock", "now.json", SAID)
"""Names in a session's folder that are not packed, because they matter only on this machine."""
SCRATCH = tempfile.gettempprefix()
"""Prefix of the names of temporary folders in a session's folder."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file to put into the archive: its path, its size in bytes and its hash.

    If the file grows in the meantime, the added bytes are not packed.
    """

    path: Path
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that was not packed, and the reason."""

    name: str
    bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class Packed:
    """Facts about an archive that was written."""

    file: Path
    bytes: int
    experiments: int
    refs: int
    left_out: tuple[LeftOut, ...]


def archive(lab: Lab, tag: str, target: Path, weights: bool) -> Packed:
    """Write a session to the file ``target``.

    Raises LockedError when the session is in use, WorkspaceError for a clone without the whole history, and LedgerError
    when the ledger cannot be read.  Raises LabError when ``target`` exists, or when a file cannot be read or written.
    """
    folder = lab.folder(tag)
    if target.exists():
        raise LabError(f"{target} exists already", "name another file with -o")
    with _in_words(target), locked(folder), tempfile.TemporaryDirectory(dir=folder) as temporary:
        journal, bundle = read(folder / FILE), Path(temporary) / BUNDLE
        refs = pack(lab.root, tag, bundle)
        files, left_out = _choose(folder, journal, weights)
        members = {BUNDLE: _member(bundle)} | {f"{SESSION}/{name}": _member(path) for name, path in files.items()}
        told = _manifest(lab, tag, journal, refs, members, left_out)
        size = _write(target, told, members)
    return Packed(target, size, len(journal.history.experiments), len(refs), tuple(left_out))


def _manifest(
    lab: Lab, tag: str, journal: Journal, refs: dict[str, str], members: dict[str, Member], left_out: list[LeftOut]
) -> dict[str, Any]:
    machine, best = read_machine(), journal.history.incumbent
    return {
        "kind": KIND,
        "format": FORMAT,
        "version": __version__,
        "created": now(),
        "tag": tag,
        "prefix": prefix_of(lab.root),
        "host": platform.node(),
        "machine": {"system": machine.system, "chip": machine.chip, "memory_bytes": machine.memory_bytes},
        "experiments": len(journal.history.experiments),
        "incumbent": best.commit if best is not None else None,
        "refs": refs,
        "members": {name: {"bytes": m.bytes, "sha256": m.sha256} for name, m in members.items()},
        "left_out": [asdict(left) for left in left_out],
    }


def _choose(folder: Path, journal: Journal, weights: bool) -> tuple[dict[str, Path], list[LeftOut]]:
    """Return the files of a session's folder to pack, by name, and the files to leave out."""
    best, files, left_out = journal.history.incumbent, dict[str, Path](), list[LeftOut]()
    for path in sorted(_walk(folder)):
        name = path.relative_to(folder).as_posix()
        kept = best is not None and name.startswith(f"runs/{best.number:04d}-")
        if path.is_symlink() or not path.is_file():
            left_out.append(LeftOut(name, 0, "not a plain file"))
        elif not name.isprintable():
            left_out.append(LeftOut(ascii(name), path.stat().st_size, "its name is not plain text"))
        elif path.name == WEIGHTS and not (weights and kept):
            why = "`--weights` includes this file" if kept else "not the incumbent's weights"
            left_out.append(LeftOut(name, path.stat().st_size, why))
        else:
            files[name] = path
    return files, left_out


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files of a session's folder; skip :data:`_STAY`, worktrees, and leftovers of killed processes."""
    for path in folder.rglob("*"):
        first = path.relative_to(folder).parts[0]
        if (
            first not in _STAY
            and not first.startswith((SCRATCH, "worktree-"))
            and (path.is_symlink() or not path.is_dir())
        ):
            yield path


def _member(path: Path) -> Member:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        return Member(path, size, _sha256(file, size))


def _sha256(file: IO[bytes], size: int) -> str:
    """Return the SHA-256 of the next ``size`` bytes of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    while size > 0 and (block := file.read(min(size, 1 << 20))):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()


def _write(target: Path, told: dict[str, Any], members: dict[str, Member]) -> int:
    """Write the archive and return its size in bytes; after an error, no file stays."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
                text = json.dumps(told, indent=1).encode()
                _add(tar, MANIFEST, io.BytesIO(text), len(text), None)
                for name, member in members.items():
                    with member.path.open("rb") as source:
                        _add(tar, name, source, member.bytes, member.path)
            file.flush()
            os.fsync(file.fileno())
        part.rename(target)
        return target.stat().st_size
    finally:
        part.unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, name: str, source: IO[bytes], size: int, like: Path | None) -> None:
    """Add ``size`` bytes of ``source`` to the archive as a plain file without owner and permissions.

    The entry gets the modification time of the file ``like``, from which `gc` computes the age of a restored file.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    info.mtime = int(like.stat().st_mtime) if like is not None else 0
    tar.addfile(info, source)


@contextmanager
def _in_words(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        said = f"{error.filename or target}: {error.strerror or error}"
        raise LabError(f"the archive cannot be written: {said}", "free some space, or name another file: -o") from None
