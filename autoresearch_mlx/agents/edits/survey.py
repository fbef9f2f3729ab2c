"""The names of a Python file: what it defines, what it reads, what it imports."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Survey:
    """Filled once by :func:`survey`, in one walk over the tree."""

    bound: set[str] = field(default_factory=set)
    """Names that anything binds, in whatever scope."""
    used: dict[str, int] = field(default_factory=dict)
    """Names that are read, each with its first line."""
    imports: dict[str, int] = field(default_factory=dict)
    """Modules by their full names with the lines, but relative ones and those tried with a way out."""
    stars: list[int] = field(default_factory=list)
    """Lines of ``from ... import *``, after which any name may be defined."""


def survey(tree: ast.Module) -> Survey:
    found = Survey()
    tried: set[int] = set()
    for node in ast.walk(tree):  # parents come before their children
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                found.used[node.id] = min(node.lineno, found.used.get(node.id, node.lineno))
            else:
                found.bound.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            _add_import(found, node, id(node) in tried)
        elif isinstance(node, ast.arg):
            found.bound.add(node.arg)
        elif isinstance(node, ast.MatchMapping):
            found.bound.add(node.rest or "")
        elif isinstance(node, ast.Try) and node.handlers:
            tried.update(map(id, node.body))
        elif not isinstance(node, ast.alias) and isinstance(name := getattr(node, "name", None), str):
            found.bound.add(name)  # functions, classes, `except ... as`, patterns, type parameters
    return found


def _add_import(found: Survey, node: ast.Import | ast.ImportFrom, tried: bool) -> None:
    for alias in node.names:
        if alias.name == "*":
            found.stars.append(node.lineno)
        else:
            found.bound.add(alias.asname or alias.name.partition(".")[0])
    if tried:
        return
    if isinstance(node, ast.Import):
        for alias in node.names:
            found.imports.setdefault(alias.name, node.lineno)
    elif node.level == 0 and node.module:
        found.imports.setdefault(node.module, node.lineno)
