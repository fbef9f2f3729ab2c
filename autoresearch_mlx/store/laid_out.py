"""Prove that a worktree has the files of a commit: first when the commit is checked out, and again after a run.

The content of every file of the commit is compared, because modification times can deceive.  A program that has a file
mapped into its memory may write into the file without changing its modification time (mmap(2)).  A file larger than
``LARGEST`` is read once.  After that, its change time is trusted, because no program can set a change time.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.store.git import git

LARGEST = 2**20
"""Size in bytes above which a file counts as unchanged if its change time is the same."""
_LAYOUT = ("filter.", "core.attributesfile", "core.autocrlf", "core.eol", "core.symlinks", "core.worktree", "include")
"""Beginnings of the names of the settings that decide how git writes files to the disk."""
_LAYOUT_FILES = ("info/attributes", "info/sparse-checkout")
"""Files in git's folder that decide, like the settings above, how git writes files to the disk."""
_AT_ONCE = 200
"""Largest number of files that are passed to one call of git."""
LINK, MODULE = "120000", "160000"
"""Modes of entries of a commit that are not plain files."""
Ask: TypeAlias = Callable[..., str]
"""Function that runs one git command and returns its output."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a commit as git lists it."""

    mode: str
    blob: str
    """Git's name for the content: the hash of what git stores."""


@dataclass(frozen=True, slots=True)
class Print:
    """Fingerprint of a file on the disk, here called its print."""

    written: tuple[int, ...]
    """Kind, inode, size and modification time, which change when somebody writes or replaces the file."""
    change: int
    """Change time in nanoseconds, which every write updates."""
    digest: str
    """Hash of the content on the disk, computed as git does."""


def entries_of(top: Path, commit: str, env: Mapping[str, str] | None = None) -> dict[str, Entry]:
    """Return the files, links and submodules of a commit by their path in the repository."""
    listed = git(top, "ls-tree", "-r", "-z", "--full-tree", commit, env=env).split("\0")
    rows = (entry.partition("\t") for entry in listed if entry)
    return {path: Entry(facts.split()[0], facts.split()[2]) for facts, _, path in rows}


def named(paths: Sequence[str]) -> str:
    """Return text that names the first three paths and says how many more there are."""
    more = len(paths) - 3
    return ", ".join(paths[:3]) + (f" and {more} more" if more > 0 else "")


class LaidOut:
    """The files of a commit in a worktree, as they were when they were checked out."""

    def __init__(self, top: Path, prints: Mapping[str, Print | None]) -> None:
        self._top, self._prints = top, prints

    def changed(self) -> tuple[str, ...]:
        """Return the files that were written, replaced or removed since the checkout, including files whose old content
        is back.

        Added files are left out, because most programs write some files.
        """
        return tuple(path for path, before in self._prints.items() if not self._same(path, before))

    def _same(self, path: str, before: Print | None) -> bool:
        if before is None:
            return True  # the file was not there before either, because git leaves it out
        now = print_of(self._top / path, before)
        return now is not None and (now.written, now.digest) == (before.written, before.digest)


def prints_of(top: Path, entries: Mapping[str, Entry], known: Mapping[str, Print | None]) -> dict[str, Print | None]:
    """Return the print of each file of a commit, as the file is on the disk.

    ``known`` has earlier prints.
    """
    files = {path: entry for path, entry in entries.items() if entry.mode != MODULE}
    return {path: print_of(top / path, known.get(path), entry.blob) for path, entry in files.items()}


def print_of(path: Path, known: Print | None = None, blob: str = "") -> Print | None:
    """Return the print of one file, or None when there is no file or link.

    The length of ``blob`` shows which hash git uses.  A large file that has the change time of ``known`` is not read.
    """
    try:
        found = os.lstat(path)
        written = _written(found)
        size = len(known.digest if known is not None else blob)
        if stat.S_ISLNK(found.st_mode):
            target = os.readlink(os.fsencode(path))  # noqa: PTH115 - Path would change the text of the link
            digest = _hash(size, [target], len(target))
        elif not stat.S_ISREG(found.st_mode):
            return None
        elif (
            known is not None
            and found.st_size > LARGEST
            and (known.written, known.change)
            == (
                written,
                found.st_ctime_ns,
            )
        ):
            digest = known.digest
        else:
            digest = _hash(size, _content(path), found.st_size)
        if _written(os.lstat(path)) != written:
            digest = ""  # the file was written while we read it
    except OSError:
        return None
    return Print(written, found.st_ctime_ns, digest)


def layout_settings(tree: Path) -> dict[str, str]:
    """Return all settings outside of commits that decide how git writes a commit's files into the worktree ``tree``.

    The keys are names of settings and paths of files; the values are their contents.  Raises WorkspaceError.
    """
    found: dict[str, str] = {}
    for entry in git(tree, "config", "--list", "-z").split("\0"):
        name, _, value = entry.partition("\n")
        if name.startswith(_LAYOUT):
            found[name] = f"{found[name]}\n{value}" if name in found else value
    own = git(tree, "rev-parse", *(word for place in _LAYOUT_FILES for word in ("--git-path", place))).splitlines()
    for_all = f"{os.environ.get('XDG_CONFIG_HOME') or '~/.config'}/git/attributes"  # if no setting names another file
    for place in [*own, *found.get("core.attributesfile", for_all).splitlines()]:
        with suppress(OSError, RuntimeError):
            found[place] = (tree / Path(place).expanduser()).read_text(errors="replace")
    return found


def differing(
    ask: Ask, commit: str, entries: Mapping[str, Entry], prints: Mapping[str, Print | None]
) -> tuple[str, ...]:
    """Return the files that differ from the commit's files.

    Git may store a file in one form and check it out in another: with other line ends, or through a filter such as the
    filter of Git LFS.  A file that matches the commit's file in either form does not differ.  ``ask`` runs git in the
    worktree.
    """
    odd = [path for path, found in prints.items() if found is None or found.digest != entries[path].blob]
    if not odd:
        return ()
    if any(prints[path] is None for path in odd):
        left_out = _left_out(ask)
        odd = [path for path in odd if prints[path] is not None or path not in left_out]
    stored = dict(_stored(ask, [path for path in odd if prints[path] is not None and entries[path].mode != LINK]))
    odd = [path for path in odd if stored.get(path) != entries[path].blob]
    return tuple(path for path in odd if not _as_laid_out(ask, commit, path, prints[path]))


def _written(found: os.stat_result) -> tuple[int, ...]:
    return stat.S_IFMT(found.st_mode), found.st_ino, found.st_size, found.st_mtime_ns


def _content(path: Path) -> Iterator[bytes]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        while block := file.read(LARGEST):
            yield block


def _hash(digits: int, blocks: Iterator[bytes] | Sequence[bytes], size: int) -> str:
    """Return git's hash of a blob; ``digits`` is 64 in a repository that uses SHA-256, otherwise 40."""
    found = hashlib.new("sha256" if digits == 64 else "sha1", usedforsecurity=False)
    found.update(b"blob %d\0" % size)
    for block in blocks:
        found.update(block)
    return found.hexdigest()


def _left_out(ask: Ask) -> frozenset[str]:
    """Return the files that a sparse checkout leaves out."""
    marked = ask("ls-files", "-t", "-z", "--full-name").split("\0")
    return frozenset(line[2:] for line in marked if line.startswith("S "))


def _stored(ask: Ask, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (path, name of its content as git would store it) for each file that git can read."""
    for at in range(0, len(paths), _AT_ONCE):
        some = paths[at : at + _AT_ONCE]
        with suppress(WorkspaceError):  # one of the files may just have been removed
            yield from zip(some, ask("hash-object", "--", *some).split(), strict=True)


def _as_laid_out(ask: Ask, commit: str, path: str, found: Print | None) -> bool:
    """Return whether a file is what git's filters write when they check the commit's file out.

    If git stored such a file again, the stored content might differ from the commit's.
    """
    if found is None:
        return False
    with suppress(WorkspaceError):  # a file of a submodule is not in the commit
        made = ask("cat-file", "--filters", f"{commit}:{path}").encode(errors="surrogateescape")
        return _hash(len(found.digest), [made], len(made)) == found.digest
    return False
