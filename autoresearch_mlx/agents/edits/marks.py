"""Find the search/replace blocks in a text.

    <<<<<<< SEARCH
    lines of the file
    =======
    lines that replace them
    >>>>>>> REPLACE

A mark is a run of five or more of the characters ``<``, ``=`` or ``>``.  A mark may be indented, and may be inside or
outside a fence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

OPENS = "<" * 5
"""The shortest mark that opens a block."""
_OPEN = re.compile(r"[ \t]*(<{5,})(?!<)(.{0,300})")
_DIVIDE = re.compile(r"[ \t]*(={5,})[ \t]*")
_CLOSE = re.compile(r"[ \t]*>{5,}(?!>).{0,300}")
_FENCE = re.compile(r"[ \t]*(?:`{3,}|~{3,})[ \t]*")
_LONE_CLOSE = re.compile(r"[ \t]*>{5,}[ \t]*(?:REPLACE|UPDATED)\b.{0,300}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Block:
    """One block, with the numbers of its lines in the reply, counted from 0.

    ``search`` has the lines to find, and ``replace`` has the lines that replace them.  A broken block has a
    ``problem``.
    """

    start: int
    end: int
    search: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    behind: str = ""
    """Text after the opening mark, on the same line."""
    problem: str = ""

    @property
    def where(self) -> str:
        return f"the block at line {self.start + 1} of the reply"


def read_blocks(lines: Sequence[str]) -> tuple[Block, ...]:
    """Return every block, complete or broken."""
    blocks: list[Block] = []
    at = 0
    while at < len(lines):
        if opening := _OPEN.fullmatch(lines[at]):
            blocks.append(_block(lines, at, opening))
            at = blocks[-1].end
            continue
        if _LONE_CLOSE.fullmatch(lines[at]):
            blocks.append(Block(at, at + 1, problem="has no line <<<<<<< SEARCH before its >>>>>>> REPLACE"))
        at += 1
    return tuple(blocks)


def _block(lines: Sequence[str], start: int, opening: re.Match[str]) -> Block:
    dividers: list[tuple[int, str]] = []
    for at in range(start + 1, len(lines)):
        if _OPEN.fullmatch(lines[at]):
            return Block(start, start + 1, problem="is not closed by a line >>>>>>> REPLACE before the next one opens")
        if divider := _DIVIDE.fullmatch(lines[at]):
            dividers.append((at, divider[1]))
        elif _CLOSE.fullmatch(lines[at]):
            return _closed(lines, start, at, opening, dividers)
    return Block(start, start + 1, problem="is not closed by a line >>>>>>> REPLACE")


def _closed(
    lines: Sequence[str], start: int, end: int, opening: re.Match[str], dividers: list[tuple[int, str]]
) -> Block:
    if (
        len(dividers) > 1
    ):  # the code contains a line of =====, as under a heading; the real divider is as long as the other marks
        dividers = [d for d in dividers if len(d[1]) == len(opening[1])]
    if len(dividers) != 1:
        many = "more than one line" if dividers else "no line"
        return Block(start, end + 1, problem=f"has {many} ======= between SEARCH and REPLACE")
    middle = dividers[0][0]
    search, replace = list(lines[start + 1 : middle]), list(lines[middle + 1 : end])
    if replace and _FENCE.fullmatch(replace[-1]) and not any(map(_FENCE.fullmatch, [*search, *replace[:-1]])):
        replace.pop()  # this line closes the fence around the block, which the model closed too early
    return Block(start, end + 1, tuple(search), tuple(replace), opening[2].strip())
