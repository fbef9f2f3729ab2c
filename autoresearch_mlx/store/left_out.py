"""Find the parts of the user's checkout that are missing in a session: uncommitted edits, newer commits, empty files.

A session measures the files of the commit at which it began, with the changes kept since.  ``lab.toml`` and
``program.md`` are read from the checkout, so these two files are never left out.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from autoresearch_mlx.lab.lab import PROGRAM, SETTINGS, STATE
from autoresearch_mlx.store.fill import fillings_of
from autoresearch_mlx.store.git import common_of, git, resolve, top_of
from autoresearch_mlx.store.laid_out import entries_of, named

_NOBODYS = ("__pycache__", ".DS_Store", STATE)
_NAME, _QUOTED = re.compile(r"[\w./+-]*[\w+-]"), re.compile(r"""(?<!\w)(['"])(.+?)\1(?!\w)""")
SAID = "left_out.json"
"""Name of the file, in a session's folder, with the sentences that were shown last."""
_AT_ONCE = 200
"""Largest number of files that are passed to one call of git."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The parts of the user's checkout that are not in a session; paths are relative to the lab."""

    start: str
    """The commit at which the session began."""
    uncommitted: tuple[str, ...] = ()
    """Files with edits that are in no commit."""
    unknown: tuple[str, ...] = ()
    """Files and folders that are not under git."""
    head: str | None = None
    """The checkout's commit if the session lacks changes of this commit; otherwise None."""
    changed: tuple[str, ...] = ()
    """Files that differ between the checkout's commit and the session."""
    empty: tuple[str, ...] = ()
    """Submodules and Git LFS files whose content is not on this machine, each with the command that fetches it."""

    def sentences(self, tag: str, measured: Callable[[str], bool] = lambda path: False) -> Iterator[str]:
        """Yield one sentence for each kind of missing part.

        ``measured`` returns True for a file whose uncommitted edits are measured anyway.
        """
        where = f"session {tag} (it began at commit {self.start[:7]})"
        then = "then `run --tag NAME` starts a session with them"
        if edits := [path for path in self.uncommitted if not measured(path)]:
            yield f"uncommitted edits are not in {where}: {named(edits)}; commit them, {then}"
        if files := [path for path in self.unknown if not measured(path)]:
            needed = f"if a run needs them, commit them, {then}"
            yield f"files that are not under git are not in {where}: {named(files)}; {needed}"
        if self.head is not None:
            moved = f"HEAD has moved on from {self.start[:7]}, where session {tag} began, to {self.head[:7]}"
            there = f"later changes are not in the session: {named(self.changed)}"
            yield f"{moved}; {there}; `run --tag NAME` starts a session at HEAD"
        if self.empty:
            yield f"parts of the worktree of session {tag} are empty: {'; '.join(self.empty)}"


def left_out(
    root: Path, start: str, incumbent: str, ours: Collection[str], lines: Sequence[str] = ()
) -> LeftOut | None:
    """Return the parts of the user's checkout that are missing in a session.

    ``root`` is the lab's folder.  The session began at the commit ``start``, its incumbent is ``incumbent``, and
    ``ours`` has all of its commits.  ``lines`` are the shell lines that measure; a word in them may name a file that
    git ignores.  An edit counts as measured, and is not left out, if a commit of the session has the edited text.
    Returns None if there is no checkout.
    """
    top = top_of(root)
    if top is None or resolve(top, incumbent) is None:
        return None
    in_lab = _InLab(root, top)
    with _index_of(top) as index:
        _look_at_all(top, index)
        edited, unknown = _status(top, index)
        on_disk = _differing(top, index, incumbent)
        differing = {*on_disk, *_differing(top, index, "--cached", incumbent)}
        edited = [path for path in edited if path in differing]
        tried = _tried(top, index, (start, incumbent), ours, edited, on_disk)
    entries = entries_of(top, incumbent)
    unknown = [path for path in unknown if in_lab.has(path) and not is_environment(top / path)]
    hidden = [path for path in in_lab.named_in(lines) if path not in entries and path not in differing]
    head = resolve(top, "HEAD")
    changed: tuple[str, ...] = ()
    if head is not None and head not in ours:
        since = {*_differing(top, {}, start, head)} & {*_differing(top, {}, incumbent, head)}
        changed = in_lab.shown(since)
    return LeftOut(
        start,
        in_lab.shown(path for path in edited if path not in tried),
        in_lab.shown((*unknown, *hidden)),
        head if changed else None,
        changed,
        tuple(fillings_of(top, common_of(top), incumbent, entries).empty()),
    )


def unsaid(folder: Path, sentences: Iterable[str], day: str) -> list[str]:
    """Return the sentences that are new since the last call on the same day, and store all sentences for the next call.

    ``folder`` is the session's folder.
    """
    found, file = list(sentences), folder / SAID
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        before = list(told["said"]) if told["day"] == day else []
    except (OSError, ValueError, TypeError, KeyError):
        before = []
    if found != before:
        with suppress(OSError):  # a sentence that is not remembered is shown again
            file.write_text(json.dumps({"day": day, "said": found}), encoding="utf-8")
    return [words for words in found if words not in before]


def missed(root: Path, tree: Path, commit: str, words: str) -> tuple[str, ...]:
    """Return the files of the lab that a failure's message names and that are missing in ``commit``.

    ``root`` is the lab's folder, and ``words`` the message.  A module that the message names stands for the module's
    file.  ``tree`` is the lab's folder in the worktree, where the failure happened.
    """
    top = top_of(root)
    if top is None:
        return ()
    in_lab, entries = _InLab(root, top), entries_of(top, commit)
    written = (*_NAME.findall(words), *(match[2] for match in _QUOTED.finditer(words)))
    names = {name.removeprefix(f"{tree}/") for name in written}
    modules = {f"{name.replace('.', '/')}.py" for name in names}
    found = (path for name in sorted(names | modules) for path in in_lab.named_in([shlex.quote(name)]))
    return in_lab.shown(path for path in found if path not in entries)


def is_environment(path: Path) -> bool:
    """Return whether a folder is a Python virtual environment, which nobody commits."""
    return (path / "pyvenv.cfg").is_file()


class _InLab:
    """Turns paths of a repository into paths relative to the lab's folder."""

    def __init__(self, root: Path, top: Path) -> None:
        self._root = root.resolve()
        self._prefix = PurePosixPath(self._root.relative_to(top).as_posix())
        self._top = top

    def has(self, path: str) -> bool:
        return PurePosixPath(path).is_relative_to(self._prefix)

    def shown(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return the paths relative to the lab, with the lab's own files first.

        Files that are read from the checkout, such as lab.toml, are left out.
        """
        read = {(self._prefix / name).as_posix() for name in (SETTINGS, PROGRAM)}
        wanted = {path for path in paths if path not in read and not set(PurePosixPath(path).parts) & set(_NOBODYS)}
        return tuple(
            os.path.relpath(self._top / path, self._root) + "/" * path.endswith("/")
            for path in sorted(wanted, key=lambda path: (not self.has(path), path))
        )

    def named_in(self, lines: Sequence[str]) -> list[str]:
        """Return the files of the lab that occur as words in shell lines."""
        found: list[str] = []
        for line in lines:
            with suppress(ValueError):  # the shell itself will report an unclosed quote
                for word in shlex.split(line):
                    path = self._root / word
                    if path.is_file() and path.resolve().is_relative_to(self._root):
                        found.append((self._prefix / path.relative_to(self._root).as_posix()).as_posix())
        return found


@contextmanager
def _index_of(top: Path) -> Iterator[Mapping[str, str]]:
    """Yield environment variables that make git use a copy of the user's index.

    Without the copy, even a git command that only reads would write to the user's index.
    """
    index = top / git(top, "rev-parse", "--git-path", "index").rstrip("\n")
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "index"
        if index.exists():
            shutil.copyfile(index, copy)
        yield {"GIT_INDEX_FILE": str(copy)} if index.exists() else {}


def _look_at_all(top: Path, index: Mapping[str, str]) -> None:
    """Make the copy of the index show edits even in files marked ``assume-unchanged`` or ``skip-worktree``.

    Git does not report edits of such files.  Files that a sparse checkout leaves out are
    not on the disk, so they stay marked.
    """
    if not index:
        return
    listed = [(line[0], line[2:]) for line in git(top, "ls-files", "-v", "-z", env=index).split("\0") if line]
    marked = [path for mark, path in listed if (mark in "Ss" or mark.islower()) and os.path.lexists(top / path)]
    for at in range(0, len(marked), _AT_ONCE):
        for option in ("--no-skip-worktree", "--no-assume-unchanged"):
            git(top, "update-index", option, "--", *marked[at : at + _AT_ONCE], env=index)


def _status(top: Path, index: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return two lists: the files with edits, staged or not, and the files that are not under git."""
    listed = git(top, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=normal", env=index)
    rows = [(entry[:2], entry[3:]) for entry in listed.split("\0") if entry]
    return [path for mark, path in rows if mark != "??"], [path for mark, path in rows if mark == "??"]


def _tried(
    top: Path,
    index: Mapping[str, str],
    ends: tuple[str, str],
    ours: Collection[str],
    edited: Sequence[str],
    on_disk: Collection[str],
) -> set[str]:
    """Return those of the user's changed files that hold only texts of this session.

    The text on the disk and the staged text must each occur in a commit of the session.  ``ends`` has two commits: the
    commit at which the session began, and the session's incumbent.  ``on_disk`` has the files of the checkout
    that differ from the incumbent.
    """
    plain = [path for path in edited if (top / path).is_file() and not (top / path).is_symlink()]
    if not plain:
        return set()
    began, now = ({path: entry.blob for path, entry in entries_of(top, end).items()} for end in ends)
    known = {*began.items(), *now.items()}
    commits = sorted(ours)
    for at in range(0, len(commits), _AT_ONCE):
        options = ("--no-walk", "--ignore-missing", "--format=", "--raw", "--no-abbrev", "--no-renames", "-m", "-z")
        words = git(top, "log", *options, *commits[at : at + _AT_ONCE], "--").split("\0")
        known |= {(path, facts.split()[3]) for facts, path in pairwise(words) if facts.lstrip().startswith(":")}
    listed: list[str] = []
    for at in range(0, len(plain), _AT_ONCE):
        listed += git(top, "hash-object", "--", *plain[at : at + _AT_ONCE]).split()
    staged = set(_differing(top, index, "--cached", "HEAD")) if resolve(top, "HEAD") else set()
    rows = git(top, "ls-files", "-s", "-z", env=index).split("\0") if staged else []
    in_index = {(path, facts.split()[1]) for facts, _, path in (row.partition("\t") for row in rows) if path in staged}
    odd = {path for path, blob in in_index if (path, blob) not in known}
    # If a file has the incumbent's text and still differs from the incumbent's file, its mode was changed.
    return {
        path
        for path, blob in zip(plain, listed, strict=True)
        if (path, blob) in known and path not in odd and not (path in on_disk and now.get(path) == blob)
    }


def _differing(top: Path, index: Mapping[str, str], *what: str) -> list[str]:
    """Return the files that differ between two commits, or between a commit and the checkout."""
    listed = git(top, "diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", *what, "--", env=index)
    return [path for path in listed.split("\0") if path]
