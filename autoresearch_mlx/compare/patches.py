"""Whole texts before and after, out of a patch that was made with unlimited context."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WHOLE = "-U1000000"
ARGUMENTS = ("--no-walk=unsorted", "--ignore-missing", "--format=%x00%H", "-p", "--no-ext-diff", "--no-color", _WHOLE)
"""For ``git log`` with commits behind: what :func:`read_patches` reads."""
_FILE = re.compile(r"^diff --git ", re.MULTILINE)
_HUNK = re.compile(r"^@@ [^\n]*@@[^\n]*\n", re.MULTILINE)


def read_patches(text: str) -> dict[str, tuple[tuple[str, str], ...]]:
    """``{commit: ((before, after), ...)}``, a pair for each Python file that it changed."""
    patches: dict[str, tuple[tuple[str, str], ...]] = {}
    for piece in text.split("\0")[1:]:
        commit, _, patch = piece.partition("\n")
        patches[commit] = tuple(_pairs(patch))
    return patches


def _pairs(patch: str) -> Iterator[tuple[str, str]]:
    for part in _FILE.split(patch)[1:]:
        head, *hunks = _HUNK.split(part)
        if hunks and head.split("\n", 1)[0].endswith((".py", '.py"')):
            lines = "".join(hunks).split("\n")
            yield _side(lines, " -"), _side(lines, " +")


def _side(lines: list[str], marks: str) -> str:
    return "\n".join(line[1:] for line in lines if line and line[0] in marks) + "\n"
