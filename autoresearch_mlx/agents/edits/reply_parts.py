"""Split a reply into search/replace blocks, fences and prose, and into proposals."""

from __future__ import annotations

import ast
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from autoresearch_mlx.agents.edits.fences import HEADING, Fence, read_fences
from autoresearch_mlx.agents.edits.gate import Survey, parse, survey
from autoresearch_mlx.agents.edits.marks import Block, read_blocks
from autoresearch_mlx.agents.edits.objects import Found, objects
from autoresearch_mlx.lab.source import MARK, Knob, read_knobs

MOST = 16
"""Maximum number of proposals that are read from a reply; further proposals are ignored."""


class Original:
    """A file before the edit.

    ``text`` has only line feeds as line ends, and no byte order mark.  :meth:`restored` gives a new text the file's
    line ends and byte order mark.
    """

    def __init__(self, path: str, raw: str) -> None:
        self.path, self.raw = path, raw
        # True only when every line ends in CR LF.  If a file has several kinds of line end, each line keeps its own.
        self._crlf = "\r" in raw and raw.count("\r\n") == raw.count("\n") == raw.count("\r")
        self._mark = MARK if raw.startswith(MARK) else ""
        text = raw.removeprefix(MARK)
        self.text = text.replace("\r\n", "\n") if self._crlf else text

    def restored(self, text: str) -> str:
        return self._mark + (text.replace("\n", "\r\n") if self._crlf else text).removeprefix(MARK)

    @property
    def is_python(self) -> bool:
        return self.path.endswith((".py", ".pyi"))

    @cached_property
    def lines(self) -> list[str]:
        lines = self.text.split("\n")
        return lines[:-1] if lines[-1] == "" else lines

    @cached_property
    def folded(self) -> list[str]:
        return [folded(line) for line in self.lines]

    @cached_property
    def starts(self) -> list[int]:
        """Offset of each line in ``text``; the last entry is the offset of a line after the end."""
        return list(accumulate((len(line) + 1 for line in self.lines), initial=0))

    @cached_property
    def knobs(self) -> Mapping[str, Knob]:
        return read_knobs(self.text) if self.is_python else {}

    @cached_property
    def tree(self) -> ast.Module | None:
        """Syntax tree of the file; None when the file is not Python or does not parse."""
        found = parse(self.text) if self.is_python else ""
        return found if isinstance(found, ast.Module) else None

    @cached_property
    def survey(self) -> Survey:
        return survey(self.tree) if self.tree is not None else Survey()


def folded(line: str) -> str:
    """Return a line with single blanks between its words, and no blanks at its ends."""
    return " ".join(line.split())


@dataclass(frozen=True, slots=True)
class Page:
    lines: tuple[str, ...]
    blocks: tuple[Block, ...]
    fences: tuple[Fence, ...]
    prose: str
    """The reply with blanks instead of code, so that offsets and lines stay the same.  Fences with JSON are kept."""


@dataclass(frozen=True, slots=True)
class Part:
    """A proposal in a reply: its heading, its JSON object, its search/replace blocks and its fences."""

    heading: str
    found: Found | None
    blocks: tuple[Block, ...]
    fences: tuple[Fence, ...]

    @property
    def empty(self) -> bool:
        return self.found is None and not self.blocks and not self.fences


def read_page(text: str) -> Page:
    """Return the lines, blocks, fences and prose of a reply; a line may end with LF, CR LF or CR."""
    lines = tuple(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    blocks = read_blocks(lines)
    fences = read_fences(lines, blocks)
    return Page(lines, blocks, fences, _prose(lines, blocks, fences))


def _prose(lines: tuple[str, ...], blocks: tuple[Block, ...], fences: tuple[Fence, ...]) -> str:
    code = {at for block in blocks for at in range(block.start, block.end)}
    for fence in fences:
        # The lines that open and close a fence are not prose either, because an info string may contain braces.
        code |= {fence.start} if _may_hold_json(fence) else set(range(fence.start, fence.end))
    return "\n".join(" " * len(line) if at in code else line for at, line in enumerate(lines))


def _may_hold_json(fence: Fence) -> bool:
    """Return whether the first line inside a fence looks like JSON; the info string is ignored."""
    first = next((line.strip() for line in fence.lines if line.strip()), "")
    return first.startswith(("{", "["))


def parts(page: Page) -> tuple[Part, ...]:
    """Return the first ``MOST`` proposals: one for each heading (``## Proposal 2: ...``) or each object with fields.

    Text before the first heading, or before the second object, belongs to the first proposal.
    """
    found = objects(page.prose)
    lines_of = _lines_of(page, found)
    begun = _begun(_headings(page), list(zip(lines_of, found, strict=True)))
    ends = [*(one.line for one in begun[1:]), len(page.lines)]
    made = [
        Part(
            heading=one.heading,
            found=one.found,
            blocks=tuple(b for b in page.blocks if one.line <= b.start < end),
            fences=_code(page.fences, lines_of, one.line, end),
        )
        for one, end in list(zip(begun, ends, strict=True))[:MOST]
    ]
    return tuple(made[1:] if len(made) > 1 and made[0].empty else made)


@dataclass(slots=True)
class _Begun:
    line: int
    heading: str = ""
    found: Found | None = None


def _begun(headings: Mapping[int, str], found: Sequence[tuple[int, Found]]) -> list[_Begun]:
    """Return the lines where proposals begin.  The first object under a heading belongs to that heading."""
    begun = [_Begun(0)]
    marks: list[tuple[int, int, str | Found]] = [(at, 0, heading) for at, heading in headings.items()]
    marks += [(at, order, f) for order, (at, f) in enumerate(found, start=1)]
    for at, _, mark in sorted(marks, key=lambda m: m[:2]):
        if isinstance(mark, str):
            begun.append(_Begun(at, heading=mark))
        elif begun[-1].found is None:
            begun[-1].found = mark
        else:
            begun.append(_Begun(at, found=mark))
    return begun


def whole_part(page: Page) -> Part:
    """Return a whole reply as the code of one proposal; JSON objects in the reply are ignored."""
    return Part("", None, page.blocks, _code(page.fences, _lines_of(page, objects(page.prose)), 0, len(page.lines)))


def _lines_of(page: Page, found: Sequence[Found]) -> list[int]:
    """Return the line on which each object begins."""
    starts = list(accumulate((len(line) + 1 for line in page.lines), initial=0))
    return [bisect_right(starts, f.start) - 1 for f in found]


def _headings(page: Page) -> dict[int, str]:
    code = {at for block in page.blocks for at in range(block.start, block.end)}
    for fence in page.fences:
        code |= set(range(fence.start, fence.end))
    found = ((at, HEADING.fullmatch(line)) for at, line in enumerate(page.lines) if at not in code)
    return {at: match[1].strip(" \t:.-–—*#") for at, match in found if match is not None}


def _code(fences: tuple[Fence, ...], objects_at: list[int], first: int, last: int) -> tuple[Fence, ...]:
    """Return the fences of a proposal, except those that contain an object."""

    def holds_object(fence: Fence) -> bool:
        at = bisect_left(objects_at, fence.inner.start)
        return at < len(objects_at) and objects_at[at] < fence.inner.stop

    return tuple(f for f in fences if first <= f.start < last and not holds_object(f))
