"""Read the rooms of a package, and the imports between them, from its source text.

A room is a folder of the package, or a module at its top level.  Imports inside functions count too, because they bind
two rooms together just as those at the top of a file do.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path


def folders(package: Path) -> set[str]:
    return {p.name for p in package.iterdir() if (p / "__init__.py").exists()}


def loose_modules(package: Path) -> set[str]:
    return {p.stem for p in package.glob("*.py")}


def rooms(package: Path) -> set[str]:
    """Return all folders and top-level modules, except the package's own ``__init__`` and ``__main__``."""
    return folders(package) | loose_modules(package) - {"__init__", "__main__"}


def arrows(package: Path) -> dict[str, set[str]]:
    """Return the rooms that each room imports."""
    known = rooms(package)
    found: dict[str, set[str]] = {room: set() for room in known}
    for file, imported in files(package).items():
        here = file.split(".")[1] if "." in file else ""
        if here in known:
            found[here] |= {module.split(".")[1] for module in imported if "." in module} & known - {here}
    return found


def upward(arrows: Mapping[str, set[str]], top_down: Sequence[str]) -> list[str]:
    """Return the imports that point up, as text: ``"store imports loop, which stands above it"``."""
    return [
        f"{room} imports {above}, which stands above it"
        for at, room in enumerate(top_down)
        for above in top_down[:at]
        if above in arrows[room]
    ]


def longest_chain(arrows: Mapping[str, set[str]]) -> list[str]:
    """Return the longest chain of rooms in which each imports the next.  Raises RecursionError for a circle."""
    longest: dict[str, list[str]] = {}

    def below(room: str) -> list[str]:
        if room not in longest:
            longest[room] = [room, *max((below(each) for each in arrows[room]), key=len, default=[])]
        return longest[room]

    return max((below(room) for room in sorted(arrows)), key=len)


def circles(package: Path) -> list[list[str]]:
    """Return groups of modules that import each other, directly or through others (Tarjan, 1972)."""
    edges = files(package)
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in sorted(edges[module]):
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            at = stack.index(module)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(edges):
        if module not in order:
            visit(module)
    return found


def files(package: Path) -> dict[str, set[str]]:
    """Return, for each module by its dotted name, the modules of the same package that it imports."""
    paths = {_dotted(file, package): file for file in package.rglob("*.py")}
    return {
        module: {each for each in _imported(file.read_text(), paths) if each != module}
        for module, file in paths.items()
    }


@cache
def _imports(text: str) -> tuple[ast.Import | ast.ImportFrom, ...]:
    return tuple(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom))


def _dotted(file: Path, package: Path) -> str:
    parts = file.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(text: str, known: Mapping[str, Path]) -> Iterator[str]:
    for node in _imports(text):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif node.module in known:
            for alias in node.names:
                module = f"{node.module}.{alias.name}"  # a module of a package, or a name in the package's own file
                yield module if module in known else node.module
