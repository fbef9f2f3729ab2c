"""The rooms of the package and the arrows between them, as the code has them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

LEAF = "report/terms"
"""A file that counts as a room of its own: whoever speaks to a person uses it."""


def rooms(package: Path) -> set[str]:
    inside = (p for p in package.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists())
    return {p.stem for p in inside} - {"__init__", "__main__"} | {LEAF}


def arrows(package: Path) -> dict[str, set[str]]:
    """For each room those that it imports."""
    known = rooms(package)
    found: dict[str, set[str]] = {room: set() for room in known}
    for file in package.rglob("*.py"):
        here = _room(".".join(file.relative_to(package.parent).with_suffix("").parts), known)
        if here is not None:
            named = {_room(module, known) for module in _imported(ast.parse(file.read_text()))}
            found[here] |= {room for room in named if room is not None and room != here}
    return found


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            # What stands in a package's own __init__ has no further name.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _room(module: str, known: set[str]) -> str | None:
    package, *parts = module.split(".")
    if package != "autoresearch_mlx" or not parts:
        return None
    return LEAF if "/".join(parts[:2]) == LEAF else parts[0] if parts[0] in known else None
