"""A search text that fits nowhere, shown beside the lines of the file that come nearest.

Everything is bounded: a search text of thousands of lines against a file of thousands costs
milliseconds, not minutes.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence

_MOST_LINES = 40
_WIDTH = 160
_COMMON = 8
"""A line that the file has more often than this says nothing about the place."""
_COMPARED = 2000
_TIED = 20
_OFF = 5
"""Lines by which the ends of the window may be off: so many were left out or made up."""


def show_nearest(lines: Sequence[str], folded: Sequence[str], search: Sequence[str]) -> str:
    """The nearest lines with their numbers; where the search text differs, what it has instead."""
    wanted = [" ".join(line[: 2 * _WIDTH].split())[:_WIDTH] for line in search[:_MOST_LINES]]
    at = _nearest([line[:_WIDTH] for line in folded], wanted)
    if at is None:
        return "Nothing in the file is like it. Copy the lines exactly as they stand in the file."
    at, end = _widened(folded, wanted, at)
    there = [line[:_WIDTH] for line in lines[at:end]]
    shown = "\n".join(_side_by_side(there, [line[:_WIDTH] for line in search[:_MOST_LINES]], at + 1))
    return f"The nearest lines are {at + 1} to {end} (file: the file's line, sent: yours instead):\n{shown}"


def _nearest(folded: Sequence[str], wanted: Sequence[str]) -> int | None:
    """Index of the first line of the window that shares most lines, or else has the most similar line."""
    votes = _votes(folded, wanted)
    if votes:
        best = max(votes.values())
        tied = sorted(at for at, count in votes.items() if count == best)[:_TIED]
        return max(tied, key=lambda at: _likeness(folded[at : at + len(wanted)], wanted))
    longest = sorted(range(len(wanted)), key=lambda k: -len(wanted[k]))[:3]
    scored = [(score, at - k) for k in longest if wanted[k] for score, at in _similar(folded, wanted[k])]
    return max(0, max(scored)[1]) if scored else None


def _widened(folded: Sequence[str], wanted: Sequence[str], at: int) -> tuple[int, int]:
    """The window from the first wanted line to the last, if they stand a few lines off."""
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
