"""Find the fenced blocks of a text, and the file that a fence or a line names.

A fence may be indented together with its contents.  A fence that is never closed ends at the next fence with an info
string (the words after the opening marks), at the heading of a proposal, or at the end of the text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from autoresearch_mlx.agents.edits.marks import Block

_SHELLS = frozenset({"bash", "sh", "shell", "zsh", "console", "terminal"})
_TEXTS = frozenset({"text", "txt", "plain", "plaintext", "output", "log", "markdown", "md", "math", "latex", "csv"})
_DATA = frozenset({"json", "json5", "jsonc"})
_DIFFS = frozenset({"diff", "patch"})
_NO_CODE = _SHELLS | _TEXTS | _DATA | _DIFFS
_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([^`]{0,300})")
HEADING = re.compile(
    r"[ \t]{0,3}(?:#{1,6}[ \t]*|\*\*[ \t]*)(?:proposal|idea|experiment|option|candidate|edit)"
    r"[ \t]*[#№]?[ \t]*\d{1,3}\b(.{0,300})",
    re.IGNORECASE,
)
"""Pattern of a proposal's heading in a reply with several proposals; the group is the rest of the line."""
_PATH = re.compile(r"[\w.~/\\+-]{1,300}")
_SUFFIX = re.compile(r"\.(?:py|pyi|toml|txt|json|yaml|yml|md|cfg|ini|sh|c|cc|cpp|h|hpp|metal|cu|rs|go|js|ts)$")
_PREFIX = re.compile(r"(?:file|filename|path|title|name|src)\s*[:=]\s*", re.IGNORECASE)
_DECORATION = " \t#*`'\"[]()<>:,;"
PYTHON = frozenset({"python", "py", "python3", "py3"})


@dataclass(frozen=True, slots=True)
class Fence:
    """A fence: the numbers of its lines in the reply, counted from 0, and its contents without the indentation."""

    start: int
    end: int
    info: str
    lines: tuple[str, ...]

    @property
    def language(self) -> str:
        first = re.split(r"[\s:,{]", self.info.strip().lstrip("{.").strip(), maxsplit=1)[0].lower()
        return "" if _path_in(first) else first

    @property
    def inner(self) -> range:
        """The numbers of the lines inside the fence, counted from 0 in the reply."""
        return range(self.start + 1, self.start + 1 + len(self.lines))


def read_fences(lines: Sequence[str], blocks: Sequence[Block]) -> tuple[Fence, ...]:
    """Return all fences; a line inside a complete search/replace block neither opens nor closes a fence."""
    covered = {at for block in blocks if not block.problem for at in range(block.start, block.end)}
    fences: list[Fence] = []
    opened: tuple[int, re.Match[str]] | None = None
    for at, line in enumerate(lines):
        found = _FENCE.fullmatch(line) if at not in covered else None
        if found is None:
            continue
        if opened is None:
            opened = at, found
        elif _closes(found, opened[1]):
            fences.append(_fence(lines, opened, at, at + 1))
            opened = None
        elif found[3].strip() and len(found[1]) <= len(opened[1][1]) and found[2] == opened[1][2]:
            fences.append(_left_open(lines, opened, at))
            opened = at, found
    if opened is not None:
        fences.append(_left_open(lines, opened, len(lines)))
    return tuple(fences)


def _closes(found: re.Match[str], opening: re.Match[str]) -> bool:
    same = found[2][0] == opening[2][0] and len(found[2]) >= len(opening[2])
    return same and not found[3].strip()


def _left_open(lines: Sequence[str], opened: tuple[int, re.Match[str]], next_one: int) -> Fence:
    last = next((at for at in range(opened[0] + 1, next_one) if HEADING.fullmatch(lines[at])), next_one)
    return _fence(lines, opened, last, last)


def _fence(lines: Sequence[str], opened: tuple[int, re.Match[str]], last: int, end: int) -> Fence:
    start, opening = opened
    inside = lines[start + 1 : last]
    indent = opening[1]
    if indent and all(line.startswith(indent) for line in inside if line.strip()):
        inside = [line[len(indent) :] for line in inside]
    return Fence(start, end, opening[3].strip(), tuple(inside))


@dataclass(frozen=True, slots=True)
class Aim:
    """The path of the file that a fence or block is for; ``said`` is true if the author named this path.

    The path is None if neither the fence nor the text around it names a file, and there are several files.
    """

    path: str | None
    said: bool = False


def aim_of_block(block: Block, fences: Sequence[Fence], lines: Sequence[str], files: Collection[str]) -> Aim:
    around = next((fence for fence in fences if block.start in fence.inner), None)
    said = path_in_info(block.behind) or path_alone(_above(lines, block.start))
    if said is None and around is not None:
        said = _said_of_fence(around, lines)
    if said is not None:
        return Aim(said, said=True)
    first = around.start if around is not None else block.start
    return _unsaid(_above(lines, first), files)


def aim_of_fence(fence: Fence, lines: Sequence[str], files: Collection[str]) -> Aim:
    said = _said_of_fence(fence, lines)
    return Aim(said, said=True) if said is not None else _unsaid(_above(lines, fence.start), files)


def first_comment(fence: Fence) -> str | None:
    """Return the path in the first line of a fence, such as ``# train_mlx.py``; None if this line has no path."""
    first = fence.lines[0].strip() if fence.lines else ""
    return path_alone(first) if first.startswith(("#", "//")) else None


def _said_of_fence(fence: Fence, lines: Sequence[str]) -> str | None:
    return path_in_info(fence.info) or path_alone(_above(lines, fence.start)) or first_comment(fence)


def _unsaid(above: str, files: Collection[str]) -> Aim:
    return Aim(path_mentioned(above, files) or (next(iter(files)) if len(files) == 1 else None))


def _above(lines: Sequence[str], at: int) -> str:
    """Return the line above line ``at``; if that line is empty, return the line before it."""
    return next((line for line in reversed(lines[max(0, at - 2) : at]) if line.strip()), "")


def code_fences(
    fences: Sequence[Fence], blocks: Sequence[Block], lines: Sequence[str], files: Collection[str]
) -> list[tuple[Fence, Aim]]:
    """Return the fences that contain whole files, each with the file that it is for.

    If there are blocks, a fence without a path is only an illustration, and is left out.
    """
    found: list[tuple[Fence, Aim]] = []
    all_python = all(path.endswith((".py", ".pyi")) for path in files)
    for fence in fences:
        if any(block.start in fence.inner for block in blocks):
            continue
        aim = aim_of_fence(fence, lines, files)
        language = fence.language
        is_code = language in PYTHON or language == "" if all_python else language not in _NO_CODE
        if aim.said or (is_code and not blocks):
            found.append((fence, aim))
    return found


def is_diff(fence: Fence) -> bool:
    return fence.language in _DIFFS


def path_in_info(info: str) -> str | None:
    """Return the path in an info string: ``python train_mlx.py``, ``path=train_mlx.py``, ``python:train_mlx.py``."""
    for word in re.split(r"[\s,{}]+", info):
        word = _PREFIX.sub("", word, count=1)
        for part in (word, word.partition(":")[2]):
            if path := _path_in(part.strip(_DECORATION)):
                return path
    return None


def path_alone(line: str) -> str | None:
    """Return the path on a line with nothing else on it: ``### `train_mlx.py`:``, ``# File: train_mlx.py``."""
    if len(line) > 300:
        return None
    bare = line.strip().removeprefix("//").removeprefix("- ").strip(_DECORATION)
    return _path_in(_PREFIX.sub("", bare, count=1).strip(_DECORATION))


def path_mentioned(line: str, files: Collection[str]) -> str | None:
    """Return the editable file that a line of prose mentions; None if the line mentions no file or several files."""
    words = {normal(word.rstrip(".")) for word in _PATH.findall(line[:300])}
    mentioned = [path for path in files if path in words]
    return mentioned[0] if len(mentioned) == 1 else None


def normal(path: str) -> str:
    return path.replace("\\", "/").removeprefix("./")


def _path_in(word: str) -> str | None:
    if not _PATH.fullmatch(word):
        return None
    outside = word.startswith(("../", "~/")) or (word.startswith("/") and word.count("/") > 1)
    return normal(word) if outside or _SUFFIX.search(word) else None
