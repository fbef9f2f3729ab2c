"""Find what a coding agent changed: the editable files that differ, and other files that the agent touched.

Links are not followed, because a link in place of a file could lead out of the worktree.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from autoresearch_mlx.terms import cut, one_line, printable

LONGEST_TITLE = 100
_LONGEST_WHY = 1000
_LONGEST_LINE = 10_000
_SAID = re.compile(r"[\s>#-]*([*_`]*)(TITLE|WHY)[*_`]*:[*_`]*\s*(.*)")
LARGEST = 2**20
"""Largest editable file in bytes; a file of source code that a person wrote is smaller."""
_NOBODYS = frozenset({".git", "__pycache__"})
Stamps: TypeAlias = Mapping[str, tuple[int, ...]]
"""Facts about each file, by its path; different facts at a later time show that the file was changed."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes that one call made.  ``problems`` tell the agent why its edit cannot be used."""

    files: Mapping[str, str]
    problems: tuple[str, ...]
    ignored: tuple[str, ...]
    """Other paths that the call made, changed or deleted; these changes are not part of the edit."""


class _Unusable(Exception):
    """Raised with the reason why a file cannot be used."""


def write_exactly(tree: Path, files: Mapping[str, str]) -> None:
    """Write the files as they are in the commit, because git's filters may have changed line ends at the checkout."""
    for path, text in files.items():
        data = text.encode()
        if (tree / path).read_bytes() != data:
            (tree / path).write_bytes(data)


def stamps(tree: Path) -> Stamps:
    """Return the stamps of every file and link below ``tree``, except git's own files and Python's caches."""
    return dict(_stamps(tree, ""))


def _stamps(folder: Path, prefix: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return  # the folder was removed meanwhile or cannot be read, so nothing in it can be taken
    for entry in entries:
        if entry.name in _NOBODYS:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _stamps(Path(entry.path), f"{prefix}{entry.name}/")
        else:
            with suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                yield f"{prefix}{entry.name}", (found.st_mtime_ns, found.st_size, found.st_mode, found.st_ino)


def changes(tree: Path, before: Mapping[str, str], old: Stamps, may_edit: Callable[[str], bool]) -> Changes:
    """Return what changed in ``tree``.

    ``before`` has the earlier texts of the editable files, and ``old`` has the earlier stamps of all files.
    """
    new = stamps(tree)
    touched = [path for path in sorted({*old, *new}) if old.get(path) != new.get(path) and path not in before]
    made = [path for path in touched if path in new and may_edit(path)]
    files: dict[str, str] = {}
    problems: list[str] = []
    for path in (*before, *made):
        try:
            text = _with_ends_of(before.get(path), _read(tree, path))
        except _Unusable as error:
            problems.append(str(error))
        else:
            if text != before.get(path):
                files[path] = text
    return Changes(files, tuple(problems), tuple(path for path in touched if path not in made))


def _read(tree: Path, path: str) -> str:
    """Return the text of a regular file.  Raises _Unusable for a link, or a file that is missing, large or not text."""
    folder = tree.resolve() / PurePosixPath(path).parent
    if folder.resolve() != folder:
        raise _Unusable(f"{path}: its folder is a symbolic link now, which is not followed")
    try:
        # With these flags, a link is refused, and opening a pipe without a writer does not block.
        descriptor = os.open(tree / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise _Unusable(f"{path} was deleted; it has to stay, as a regular file") from None
    except OSError as error:
        link = "is a symbolic link now, which is not followed"
        raise _Unusable(
            f"{path} {link if (tree / path).is_symlink() else f'cannot be read: {error.strerror}'}"
        ) from None
    try:
        data = _whole(descriptor, path)
    finally:
        os.close(descriptor)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _Unusable(f"{path} is no longer UTF-8 text: {error}") from None


def _with_ends_of(before: str | None, text: str) -> str:
    """Return the text with line feeds if every line ends with CR LF now but not in the commit.

    The cause is usually a ``git checkout`` by the agent: with some filters, it writes CR LF, and git stores LF.
    """
    turned = before is not None and "\r" not in before and text.count("\r\n") == text.count("\n") == text.count("\r")
    return text.replace("\r\n", "\n") if turned else text


def _whole(descriptor: int, path: str) -> bytes:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise _Unusable(f"{path} is no longer a regular file")
    if found.st_size > LARGEST:
        raise _Unusable(f"{path} has {found.st_size:,} bytes now; at most {LARGEST:,} are taken")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read()


def title_of(output: str, prompt: str) -> str:
    """Return the text of the last line ``TITLE: ...`` in the output.

    If there is none, return the last short line; if there is no short line, return an empty string.
    """
    lines = _own_lines(output, prompt)
    titles = _said(lines, "TITLE")
    short = [line for line in lines if len(line) <= LONGEST_TITLE and any(c.isalnum() for c in line)]
    return cut((titles or short or [""])[-1], LONGEST_TITLE)


def why_of(output: str, prompt: str) -> str:
    """Return the text of the last line ``WHY: ...`` of the output; empty when there is none."""
    return cut((_said(_own_lines(output, prompt), "WHY") or [""])[-1], _LONGEST_WHY)


def last_line(output: str) -> str:
    lines = _lines(output)
    return cut(lines[-1], 300) if lines else ""


def _said(lines: list[str], word: str) -> list[str]:
    found = [match for line in lines if (match := _SAID.fullmatch(line)) and match.group(2) == word]
    texts = [match.group(3).removesuffix(match.group(1)).strip() for match in found]
    return [text for text in texts if text]


def _own_lines(output: str, prompt: str) -> list[str]:
    """Return the output's lines without the prompt's lines.

    Some programs repeat the prompt, and the prompt contains ``TITLE:``.
    """
    told = set(_lines(prompt))
    return [line for line in _lines(output) if line not in told]


def _lines(text: str) -> list[str]:
    """Return the printable lines that are not blank, without progress bars and colours."""
    lines = (one_line(line[:_LONGEST_LINE]) for line in printable(text).split("\n"))
    return [line for line in lines if line]
