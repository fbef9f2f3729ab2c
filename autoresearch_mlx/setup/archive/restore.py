"""Restore a session from an archive: check everything in a temporary folder, then put the session into the lab.

    .autoresearch/.restoring-<pid>/   the temporary folder; its refs.json names the git refs before they are made

The last step renames the temporary folder's session to its final name.  If a restore is killed, the next restore
removes the files and refs of the killed restore.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from autoresearch_mlx.errors import AutoresearchError, LabError, WorkspaceError
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.lab.lab import Lab, refuse_form, refuse_tag
from autoresearch_mlx.setup.archive.bundles import drop, heads_of, prefix_of, refs_of, unpack
from autoresearch_mlx.setup.archive.pack import BUNDLE, FORMAT, KIND, MANIFEST, SESSION
from autoresearch_mlx.store.git import common_of, resolve
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.ledger import FILE, Ledger, read
from autoresearch_mlx.store.locks import holder, locked
from autoresearch_mlx.store.results import write_results
from autoresearch_mlx.store.workspace import branch_of, drop_locks
from autoresearch_mlx.targets.registry import find_kind

_BEGUN, _REFS = ".restoring-", "refs.json"
_LARGEST_MANIFEST = 64 * 2**20
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_TROUBLE = (tarfile.TarError, EOFError, zlib.error, ValueError)
"""Exceptions that Python raises for a file that is no tar or gzip file, or that ends too early."""


@dataclass(frozen=True, slots=True)
class Restored:
    """Facts about a restored session."""

    tag: str
    experiments: int
    left_out: int
    """Number of files that were left out of the archive."""
    elsewhere: str | None
    """Host and chip of the machine that packed the session; None for this machine."""


def restore(lab: Lab, file: Path, tag: str | None) -> Restored:
    """Restore a session from an archive, as a session of this lab named ``tag``; None keeps the session's own name.

    Raises LabError when the file is not a whole archive, or when the archived lab has a different path in its
    repository.  Raises LabError also when a session, branch or ref of that name exists, or when the disk cannot be
    written.  An error leaves nothing behind.
    """
    lab.make_state()
    _sweep(lab)
    begun = lab.state / f"{_BEGUN}{os.getpid()}"
    with _in_words(lab), locked(begun):
        try:
            told = _take(file, begun)
            name = tag or told["tag"]
            _refuse_what_is_here(lab, name, told)
            experiments = _publish(lab, begun, name, told)
        finally:
            _undo(lab, begun)
    left = told.get("left_out")
    return Restored(name, experiments, len(left) if isinstance(left, list) else 0, _elsewhere(told))


def missing_here(lab: Lab, tag: str) -> AutoresearchError | None:
    """Return an error that names what the session needs and this machine lacks, such as a corpus.

    Returns None if nothing is lacking.
    """
    record = read(lab.folder(tag) / FILE).session
    try:
        kind = find_kind(str(record.get("target")), lab.root)
        return kind.missing(kind.read(record.get("conditions") or {}))
    except AutoresearchError as error:
        return error


# --- read the archive


def _take(file: Path, begun: Path) -> dict[str, Any]:
    """Unpack the archive ``file`` into the folder ``begun``, check every part, and return the manifest."""
    try:
        with tarfile.open(file, "r:gz") as tar:
            told = _manifest(file, tar)
            wanted = dict(told["members"])
            _refuse_without_room(begun, sum(entry["bytes"] for entry in wanted.values()))
            while (member := tar.next()) is not None:
                _unpack(tar, member, wanted.pop(member.name, None), begun)
    except OSError as error:
        if error.errno is not None and str(error.filename) != str(file):
            raise  # writing has failed; an error of gzip itself has no errno
        raise _no_archive(file, error.strerror or str(error)) from None
    except _TROUBLE as error:
        raise _no_archive(file, str(error)) from None
    if wanted:
        raise _no_archive(file, f"{min(wanted)} is missing from it")
    return told


def _manifest(file: Path, tar: tarfile.TarFile) -> dict[str, Any]:
    """Return the manifest, the first file of the archive.

    Raises ValueError if the manifest is incomplete or wrong, and LabError if a later version wrote it in a new format.
    """
    first = tar.next()
    source = tar.extractfile(first) if first is not None and first.isreg() and first.name == MANIFEST else None
    if first is None or source is None or first.size > _LARGEST_MANIFEST:
        raise ValueError(f"it does not begin with a {MANIFEST}")
    told = json.loads(source.read())
    if not isinstance(told, dict) or told.get("kind") != KIND:
        raise ValueError("it contains no session")
    if told.get("format") != FORMAT:
        version = told.get("version")
        raise LabError(
            f"{file} was written by version {version}, in format {told.get('format')}", "update autoresearch-mlx here"
        )
    members, refs = told.get("members"), told.get("refs")
    if not isinstance(told.get("tag"), str) or not isinstance(refs, dict) or not isinstance(members, dict):
        raise ValueError(f"its {MANIFEST} is incomplete")
    if not {BUNDLE, f"{SESSION}/{FILE}"} <= members.keys():
        raise ValueError("it has no ledger or no history")
    for name, entry in members.items():
        _refuse_path(name)
        if not isinstance(entry, dict) or type(entry.get("bytes")) is not int or entry["bytes"] < 0:
            raise ValueError(f"its {MANIFEST} gives no size for {name}")
    return told


def _refuse_path(name: str) -> None:
    """Raise ValueError for a path that could lead out of the folder into which the archive is unpacked."""
    path = PurePosixPath(name)
    plain = path.as_posix() == name and name.isprintable() and "\\" not in name
    if not plain or path.is_absolute() or ".." in path.parts or path.parts[0] not in (BUNDLE, SESSION):
        raise ValueError(f"a member has the unsafe name {name!r}")


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, wanted: Mapping[str, Any] | None, begun: Path) -> None:
    """Write the file ``member`` of the archive into the folder ``begun``.

    ``wanted`` is the manifest's entry for this file; None if the manifest has no entry.  Raises ValueError if the file
    differs from the entry.
    """
    if wanted is None:
        raise ValueError(f"it contains {member.name!r}, which its {MANIFEST} does not list")
    if not member.isreg() or member.issparse() or member.size != wanted["bytes"]:
        raise ValueError(f"{member.name!r} is not a plain file of the size that its {MANIFEST} gives")
    if hasattr(tarfile, "data_filter"):  # Python's own check; old releases do not have it
        tarfile.data_filter(member, str(begun))
    path, digest, source = begun / member.name, hashlib.sha256(), tar.extractfile(member)
    assert source is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        while block := source.read(1 << 20):
            digest.update(block)
            file.write(block)
    if digest.hexdigest() != wanted.get("sha256"):
        raise ValueError(f"{member.name} is damaged: its SHA-256 differs from the one in {MANIFEST}")
    os.utime(path, (member.mtime, member.mtime))


def _no_archive(file: Path, why: str) -> LabError:
    return LabError(
        f"{file} is not a complete archive of a session: {why}", "`autoresearch-mlx archive` writes an archive"
    )


def _refuse_without_room(begun: Path, size: int) -> None:
    free = shutil.disk_usage(begun).free
    if size > free:
        raise LabError(f"the session needs {size:,} bytes, but {free:,} are free on this disk", "free some space")


# --- put the session into the lab


def _refuse_what_is_here(lab: Lab, tag: str, told: Mapping[str, Any]) -> None:
    refuse_tag(lab, tag)
    here, there = prefix_of(lab.root), told.get("prefix")
    if here != there:
        said = f"the session's lab is at {there!r} in its repository, but this lab is at {here!r}"
        raise LabError(said, "restore in a lab at the same path, for example in a clone of that repository")
    other = "`autoresearch-mlx restore FILE --tag NAME` gives the session another name"
    if lab.folder(tag).exists():
        raise LabError(f"session {tag} is here already, in {lab.folder(tag)}", other)
    if found := refs_of(lab.root, tag):
        raise LabError(f"this repository already has git refs of session {tag}: {min(found)}", other)


def _publish(lab: Lab, begun: Path, tag: str, told: Mapping[str, Any]) -> int:
    """Make the refs, then put the session's folder into the lab; return the number of experiments.

    Raises LabError when the manifest, the ledger and the git bundle contradict each other.
    """
    session, bundle = begun / SESSION, begun / BUNDLE
    names = _renamed(heads_of(lab.root, bundle), told, tag)
    _readdress(session, told["tag"], tag)
    ledger = Ledger(session)
    ledger.append("restored", time=now(), tag=told["tag"], host=told.get("host"), on=platform.node())
    journal = ledger.read()
    write_results(session, journal.history)
    made = {ours: told["refs"][theirs] for theirs, ours in names.items()}
    (begun / _REFS).write_text(json.dumps({"tag": tag, "refs": made}))
    drop_locks(common_of(lab.root), tag)
    unpack(lab.root, bundle, names)
    kept = [e.commit for e in journal.history.experiments if e.status == "keep" and e.commit]
    if lacking := next((sha for sha in (journal.session.get("start"), *kept) if not _is_here(lab, sha)), None):
        raise LabError(f"the archive's history lacks commit {lacking}", "archive the session again where it was made")
    session.rename(lab.folder(tag))
    lab.set_current(tag)
    return len(journal.history.experiments)


def _is_here(lab: Lab, sha: Any) -> bool:
    return isinstance(sha, str) and _SHA.fullmatch(sha) is not None and resolve(lab.root, sha) is not None


def _renamed(heads: Mapping[str, str], told: Mapping[str, Any], tag: str) -> dict[str, str]:
    """Return the name that each ref of the bundle gets in this repository, by its name in the bundle.

    Raises LabError if the bundle's refs differ from the manifest, or if a ref is not the archived session's own.
    """
    if dict(heads) != told["refs"]:
        raise LabError("the refs in the archive's bundle differ from its manifest", "archive the session again")
    was = told["tag"]
    refuse_form(was)
    names = {f"refs/heads/{branch_of(was)}": f"refs/heads/{branch_of(tag)}"}
    for ref in heads:
        number = ref.removeprefix(f"refs/autoresearch/{was}/")
        if ref not in names and not (number.isascii() and number.isdigit()):
            raise LabError(f"the archive has {ref!r}, which is not a ref of a session", "archive the session again")
        names.setdefault(ref, f"refs/autoresearch/{tag}/{number}")
    return names


def _readdress(session: Path, was: str, tag: str) -> None:
    """If the session gets a new name, replace its old name in the ledger: in the tag, the branch and the refs.

    Raises LedgerError when the ledger cannot be read.
    """
    read(session / FILE)
    if was == tag:
        return
    lines = [json.loads(line) for line in (session / FILE).read_bytes().split(b"\n")[:-1] if line.strip()]
    for event in lines:
        if event.get("event") == "session":
            event |= {"tag": tag, "branch": branch_of(tag)}
        elif isinstance(event.get("ref"), str):
            event["ref"] = event["ref"].replace(f"refs/autoresearch/{was}/", f"refs/autoresearch/{tag}/")
    text = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in lines)
    (session / FILE).write_text(text, encoding="utf-8")


def _elsewhere(told: Mapping[str, Any]) -> str | None:
    """Return the host and chip on which the archive was made, as text; None for this machine."""
    machine, was = read_machine(), told.get("machine")
    chip = was.get("chip") if isinstance(was, dict) else None
    if told.get("host") == platform.node() and chip == machine.chip:
        return None
    return f"{told.get('host') or 'another machine'} ({chip or 'chip unknown'})"


# --- clean up


def _sweep(lab: Lab) -> None:
    """Remove the folders and refs of killed restores; the folder of a running restore is locked, and stays."""
    for begun in lab.state.glob(f"{_BEGUN}*"):
        if holder(begun) is None:
            _undo(lab, begun)


def _undo(lab: Lab, begun: Path) -> None:
    """Remove a restore's folder.  If its session is not in the lab, also remove the refs that the restore made."""
    with suppress(OSError, ValueError, LookupError, AttributeError, WorkspaceError):
        made = json.loads((begun / _REFS).read_text())
        if not lab.folder(made["tag"]).exists():
            drop(lab.root, made["refs"])
    shutil.rmtree(begun, ignore_errors=True)


@contextmanager
def _in_words(lab: Lab) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        said = f"{error.filename or lab.state}: {error.strerror or error}"
        hint = "free some space, or correct the permissions"
        raise LabError(f"the session cannot be restored: {said}", hint) from None
