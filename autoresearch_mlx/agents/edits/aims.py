"""Which file each block and each fence of a proposal is for, and which fences are code at all.

The path stands behind the opening mark or in the fence's info string, alone on the line before, or in
the first comment of the fence; with one editable file it may be missing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from autoresearch_mlx.agents.edits.fences import PYTHON, Fence, path_alone, path_in_info, path_mentioned
from autoresearch_mlx.agents.edits.marks import Block

_SHELLS = frozenset({"bash", "sh", "shell", "zsh", "console", "terminal"})
_TEXTS = frozenset({"text", "txt", "plain", "plaintext", "output", "log", "markdown", "md", "math", "latex", "csv"})
_DATA = frozenset({"json", "json5", "jsonc"})
_DIFFS = frozenset({"diff", "patch"})
_NO_CODE = _SHELLS | _TEXTS | _DATA | _DIFFS


@dataclass(frozen=True, slots=True)
class Aim:
    """A path, and whether the author wrote it out; None: nothing says which file."""

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
    """The path in a first line such as ``# train_mlx.py``."""
    first = fence.lines[0].strip() if fence.lines else ""
    return path_alone(first) if first.startswith(("#", "//")) else None


def _said_of_fence(fence: Fence, lines: Sequence[str]) -> str | None:
    return path_in_info(fence.info) or path_alone(_above(lines, fence.start)) or first_comment(fence)


def _unsaid(above: str, files: Collection[str]) -> Aim:
    return Aim(path_mentioned(above, files) or (next(iter(files)) if len(files) == 1 else None))


def _above(lines: Sequence[str], at: int) -> str:
    """The nearest line above with something on it, at most one empty line away."""
    return next((line for line in reversed(lines[max(0, at - 2) : at]) if line.strip()), "")


def code_fences(
    fences: Sequence[Fence], blocks: Sequence[Block], lines: Sequence[str], files: Collection[str]
) -> list[tuple[Fence, Aim]]:
    """The fences that hold whole files.  Beside blocks, one that names no file is an illustration."""
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
