"""Apply search/replace blocks: find where each block fits in a file, and return the text after all of them.

A block is tried in three ways, in this order:

- its lines match lines of the file exactly;
- its lines match lines of the file if blanks are ignored, and all lines are shifted by the same number of columns; then
  the replacement is shifted in the same way;
- it has only one line, and this line is part of a line of the file.

A block that fits nowhere or in several places is a problem.  Positions refer to the original text, so the order of the
blocks does not matter.  Either all blocks are applied or none.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from autoresearch_mlx.agents.edits.marks import Block
from autoresearch_mlx.agents.edits.reply_parts import Original, folded

_MOST_LINES = 40
_WIDTH = 160
_COMMON = 8
"""A line that occurs more often than this in the file does not help find the position."""
_COMPARED = 2000
_TIED = 20
_OFF = 5
"""Number of lines that may be added at each end of the window of nearest lines, because the model may have left out or
invented lines."""
MOST = 100
_SHOWN = 3
_TAB = 4


@dataclass(frozen=True, slots=True)
class Place:
    """A range of characters in the original text, and the text that replaces it."""

    start: int
    end: int
    text: str
    line: int
    """Number of the range's first line, counted from 1."""


def apply_blocks(original: Original, blocks: Sequence[Block]) -> tuple[str, str]:
    """Return the new text and an empty problem, or the old text and a problem for the model to read."""
    distinct = list({(b.search, b.replace): b for b in blocks}.values())
    if len(distinct) > MOST:
        return original.text, f"{len(distinct)} blocks are too many for one edit; send the whole file instead"
    places: list[tuple[Block, Place]] = []
    problems: list[str] = []
    for block in distinct:
        place = find(original, block)
        if isinstance(place, Place):
            places.append((block, place))
        else:
            problems.append(f"{block.where}: {place}")
        if len(problems) == _SHOWN:
            break
    if problems:
        return original.text, "\n\n".join([*problems, "No block was applied. Send all blocks of this edit again."])
    places.sort(key=lambda found: (found[1].start, found[1].end))
    for (first, one), (second, two) in pairwise(places):
        if two.start < one.end or two.start == one.start:
            said = f"{first.where} and {second.where} change the same lines of {original.path} (around line {two.line})"
            return original.text, f"{said}; make one block of them"
    return _joined(original, [place for _, place in places]), ""


def _joined(original: Original, places: Sequence[Place]) -> str:
    pieces: list[str] = []
    at = 0
    for place in places:
        pieces += [original.text[at : place.start], place.text]
        at = min(place.end, len(original.text))
    text = "".join([*pieces, original.text[at:]])
    return text if original.text.endswith("\n") or not original.text else text.removesuffix("\n")


def find(original: Original, block: Block) -> Place | str:
    """Return the place where a block fits, or why it does not fit."""
    if not any(line.strip() for line in block.search):
        if original.text.strip():
            return f"its SEARCH part is empty; copy into it the lines of {original.path} that should change"
        return Place(0, len(original.text), _text(block.replace), 1)
    for way in (_exact, _shifted, _within):
        places = way(original, block)
        if len(places) == 1:
            return places[0]
        if places:
            lines = ", ".join(str(place.line) for place in places[:10])
            said = f"its SEARCH text occurs {len(places)} times in {original.path}, at lines {lines}"
            return f"{said}; add lines before or after it, so that it fits in one place"
    said = f"its SEARCH text is not in {original.path}"
    return f"{said}. {show_nearest(original.lines, original.folded, block.search)}"


def _exact(original: Original, block: Block) -> list[Place]:
    size, wanted = len(block.search), list(block.search)
    return [
        _lines_at(original, at, size, block.replace)
        for at in _starts(original.lines, wanted[0], size)
        if original.lines[at : at + size] == wanted
    ]


def _shifted(original: Original, block: Block) -> list[Place]:
    search, replace = _without_blank_ends(block.search, block.replace)
    size, wanted = len(search), [folded(line) for line in search]
    places: list[Place] = []
    for at in _starts(original.folded, wanted[0], size):
        if original.folded[at : at + size] == wanted:
            shift = _shift(search, original.lines[at : at + size])
            if shift is not None:
                tabs = any("\t" in _margin(line) for line in original.lines[at : at + size])
                places.append(_lines_at(original, at, size, [_moved(line, shift, tabs) for line in replace]))
    return places


def _within(original: Original, block: Block) -> list[Place]:
    """Find the places where a search text of one line is a part of a line of the file.

    There usually is such a place when the model left out the comment at the end of the line.
    """
    search, replace = _without_blank_ends(block.search, block.replace)
    needle, instead = search[0].strip(), replace[0].strip() if len(replace) == 1 else ""
    if len(search) > 1 or not instead:
        return []
    return [
        Place(start + at, start + at + len(needle), instead, number)
        for number, (start, line) in enumerate(zip(original.starts, original.lines, strict=False), start=1)
        for at in _occurrences(line, needle)
        if _whole_words(line, at, at + len(needle))
    ]


def _occurrences(line: str, needle: str) -> Iterator[int]:
    at = line.find(needle)
    while at >= 0:
        yield at
        at = line.find(needle, at + len(needle))


def _whole_words(line: str, start: int, end: int) -> bool:
    before, after = line[start - 1 : start], line[end : end + 1]
    return not (_in_word(before) and _in_word(line[start])) and not (_in_word(after) and _in_word(line[end - 1]))


def _in_word(character: str) -> bool:
    return character.isalnum() or character in ("_", ".")


def _starts(lines: Sequence[str], first: str, size: int) -> list[int]:
    return [at for at in range(len(lines) - size + 1) if lines[at] == first]


def _lines_at(original: Original, at: int, size: int, replace: Sequence[str]) -> Place:
    return Place(original.starts[at], original.starts[at + size], _text(replace), at + 1)


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _without_blank_ends(search: Sequence[str], replace: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return both texts without blank lines at the ends; ``replace`` loses at most as many as ``search``."""
    old, new = list(search), list(replace)
    for end in (0, -1):
        while old and not old[end].strip():
            old.pop(end)
            if new and not new[end].strip():
                new.pop(end)
    return old, new


def _indent(line: str) -> int:
    return len(_margin(line).expandtabs(_TAB))


def _margin(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _shift(search: Sequence[str], lines: Sequence[str]) -> int | None:
    """Return by how many columns the file's lines are indented more than the model's lines; None if this varies."""
    shifts = {_indent(there) - _indent(here) for here, there in zip(search, lines, strict=True) if here.strip()}
    return shifts.pop() if len(shifts) == 1 else None


def _moved(line: str, shift: int, tabs: bool) -> str:
    """Return the line with its indentation shifted; tabs are kept only if ``tabs`` is true and the shift is 0."""
    if not line.strip() or (shift == 0 and (tabs or "\t" not in _margin(line))):
        return line
    return " " * max(0, _indent(line) + shift) + line.lstrip()


def show_nearest(lines: Sequence[str], folded: Sequence[str], search: Sequence[str]) -> str:
    """Return the nearest lines of the file with their numbers, and the lines of the search text that differ."""
    wanted = [" ".join(line[: 2 * _WIDTH].split())[:_WIDTH] for line in search[:_MOST_LINES]]
    at = _nearest([line[:_WIDTH] for line in folded], wanted)
    if at is None:
        return "Nothing in the file is like it. Copy the lines exactly as they stand in the file."
    at, end = _widened(folded, wanted, at)
    there = [line[:_WIDTH] for line in lines[at:end]]
    shown = "\n".join(_side_by_side(there, [line[:_WIDTH] for line in search[:_MOST_LINES]], at + 1))
    return f"The nearest lines are {at + 1} to {end} (file: the file's line, sent: yours instead):\n{shown}"


def _nearest(folded: Sequence[str], wanted: Sequence[str]) -> int | None:
    """Return the index of the first line of the nearest window.

    The nearest window has the most lines in common with the search text.  If no window has a line in common, the
    nearest window has the most similar line.
    """
    votes = _votes(folded, wanted)
    if votes:
        best = max(votes.values())
        tied = sorted(at for at, count in votes.items() if count == best)[:_TIED]
        return max(tied, key=lambda at: _likeness(folded[at : at + len(wanted)], wanted))
    longest = sorted(range(len(wanted)), key=lambda k: -len(wanted[k]))[:3]
    scored = [(score, at - k) for k in longest if wanted[k] for score, at in _similar(folded, wanted[k])]
    return max(0, max(scored)[1]) if scored else None


def _widened(folded: Sequence[str], wanted: Sequence[str], at: int) -> tuple[int, int]:
    """Return the first line and the end of the window that starts at line ``at``, made larger where this helps.

    The window is made larger to include the first or the last wanted line, if this line is near.
    """
    end = min(len(folded), at + len(wanted))
    before, behind = max(0, at - _OFF), min(len(folded), end + _OFF)
    at = next((k for k in range(before, at) if wanted[0] and folded[k] == wanted[0]), at)
    end = next((k + 1 for k in range(behind - 1, end - 1, -1) if wanted[-1] and folded[k] == wanted[-1]), end)
    return at, end


def _votes(folded: Sequence[str], wanted: Sequence[str]) -> Counter[int]:
    where: dict[str, list[int]] = {}
    for at, line in enumerate(folded):
        if line:
            where.setdefault(line, []).append(at)
    votes: Counter[int] = Counter()
    for k, line in enumerate(wanted):
        places = where.get(line, [])
        if len(places) <= _COMMON:
            votes.update(max(0, at - k) for at in places)
    return votes


def _likeness(there: Sequence[str], wanted: Sequence[str]) -> float:
    pairs = zip(there, wanted, strict=False)
    return sum(difflib.SequenceMatcher(a=a, b=b, autojunk=False).quick_ratio() for a, b in pairs)


def _similar(folded: Sequence[str], line: str) -> Iterator[tuple[float, int]]:
    matcher = difflib.SequenceMatcher(b=line, autojunk=False)
    for at, there in enumerate(folded[:_COMPARED]):
        matcher.set_seq1(there)
        if matcher.real_quick_ratio() >= 0.5 and (score := matcher.quick_ratio()) >= 0.5:
            yield score, at


def _side_by_side(there: Sequence[str], sent: Sequence[str], first: int) -> Iterator[str]:
    matcher = difflib.SequenceMatcher(a=[t.rstrip() for t in there], b=[s.rstrip() for s in sent], autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        mark = "    " if kind == "equal" else "file"
        for at in range(a, b):
            yield f"{mark} {first + at:5d} | {there[at]}"
        if kind != "equal":
            yield from (f"sent       | {line}" for line in sent[c:d])
