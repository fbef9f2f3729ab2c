"""Check the source of a Metal or CUDA kernel as text, and its launch geometry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from typing import Any

from autoresearch_mlx.targets.kernel.task import Task

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_BANNED: Mapping[str, str] = {
    r"#\s*(include|import|pragma|define|undef)": "a directive of the preprocessor",
    r"\basm\b|__asm": "inline assembly",
    r"\bstatic\b|\b__device__\b|\b__managed__\b|\bextern\b": "memory that keeps its content between calls",
    r"\b(malloc|free|new|delete)\b": "allocated memory",
    r"\b(printf|assert|__trap)\b": "output",
    r"\b(clock|clock64|__globaltimer|globaltimer)\b": "a clock",
    r"<<<|\bcuda[A-Z]\w*|\bcu[A-Z]\w*\(": "a separate launch or stream",
    r"\bgoto\b": "goto",
    r"\[\[": "an attribute (the harness writes the signature)",
    r"\b(kernel|__global__)\s+void\b": "a signature (write the body only)",
}
_NAMES = re.compile(r"[A-Z_][A-Z0-9_]*")
_MOST_THREADS, _MOST_GRID = 1024, 2**31 - 1
_LONGEST = 60_000
NEEDED_MLX = (0, 32, 2)
"""Oldest version of MLX in which two kernels with the same name have separate cache entries (MLX's pull requests 3833
and 4273)."""


def why_refused(name: str, constants: Mapping[str, Any], task: Task) -> str | None:
    """Return why the source ``METAL`` or ``CUDA`` of a candidate may not run, or None if it may run."""
    source, header = constants[name], constants.get("HEADER", "")
    if not isinstance(source, str) or not isinstance(header, str):
        return f"{name} and HEADER must be texts"
    if len(source) + len(header) > _LONGEST:
        return f"{name} has more than {_LONGEST:,} characters"
    code = _COMMENT.sub(" ", source)
    for text in (code, _COMMENT.sub(" ", header)):
        for pattern, what in _BANNED.items():
            if found := re.search(pattern, text):
                return f"{name} contains {found.group(0)!r}: {what} is not part of a computation"
        if unbalanced := _unbalanced(text):
            return f"{name}: {unbalanced}"
    for output in task.output_names:
        if not _writes(code, output):
            return f"{name} never writes {output}[...]"
    return _template_refused(constants)


def _unbalanced(text: str) -> str | None:
    pairs, open_ones = {")": "(", "]": "[", "}": "{"}, []
    for character in text:
        if character in "([{":
            open_ones.append(character)
        elif character in pairs and (not open_ones or open_ones.pop() != pairs[character]):
            return f"a {character} closes nothing; the body may not end its own function"
    return f"a {open_ones[-1]} is never closed" if open_ones else None


def _writes(code: str, output: str) -> bool:
    name = re.escape(output)
    assigned = re.search(rf"\b{name}\s*\[[^;]*\]\s*([-+*/|&^]|<<|>>)?=[^=]", code)
    return bool(assigned or re.search(rf"atomic\w*\([^;]*\b{name}\b|&\s*{name}\b|\b{name}\s*\+", code))


def _template_refused(constants: Mapping[str, Any]) -> str | None:
    template = constants.get("TEMPLATE", ())
    if not isinstance(template, tuple):
        return "TEMPLATE must be a tuple of names of constants"
    for name in template:
        if not isinstance(name, str) or not _NAMES.fullmatch(name) or not isinstance(constants.get(name), bool | int):
            return f"TEMPLATE names {name!r}, which is not a whole number or truth value of this file"
    return None


def template_of(constants: Mapping[str, Any]) -> list[tuple[str, int | bool]]:
    """Return a kernel's template arguments: the constants that TEMPLATE names, with their values."""
    return [(name, constants[name]) for name in constants.get("TEMPLATE", ())]


def geometry_refused(found: Any) -> str | None:
    """Return why the value that ``launch`` returned is not a launch geometry, or None if it is one.

    A geometry is a pair (grid, threadgroup), each of them three whole numbers; MLX counts the grid in threads.
    """
    if not isinstance(found, tuple) or len(found) != 2:
        return f"launch(shapes) returned {found!r}, not (grid, threadgroup)"
    for name, sizes in zip(("grid", "threadgroup"), found, strict=True):
        right = isinstance(sizes, tuple) and len(sizes) == 3
        if not right or not all(isinstance(each, int) and not isinstance(each, bool) and each >= 1 for each in sizes):
            return f"launch(shapes): the {name} is {sizes!r}, not three whole numbers above 0"
    grid, threadgroup = found
    if prod(threadgroup) > _MOST_THREADS:
        return f"launch(shapes) gave a threadgroup of {prod(threadgroup):,} threads, but at most {_MOST_THREADS:,} fit"
    if max(grid) > _MOST_GRID:
        return f"launch(shapes) gave a grid of {max(grid):,} threads along one axis, but at most {_MOST_GRID:,} fit"
    return None


def old_mlx(version: str) -> str | None:
    """Return why no kernel may run with this version of MLX, or None if kernels may run."""
    parts = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if parts >= NEEDED_MLX:
        return None
    needed = ".".join(map(str, NEEDED_MLX))
    return f"MLX {version} is older than {needed} and may run the code of another kernel with the same name: update MLX"
