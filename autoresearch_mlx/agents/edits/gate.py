"""What is refused before anybody runs it: a text that does not parse, a name or a module that is not there.

Nothing is imported and nothing is run.  Whether the file keeps the contract of its target is the
target's question.
"""

from __future__ import annotations

import ast
import builtins
import sys
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from importlib.util import find_spec

from autoresearch_mlx.lab.source import UNPARSABLE


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


_AROUND = 3
_WIDTH = 160
_SHOWN = 8
_GIVEN = frozenset({*dir(builtins), "__file__", "__class__", "__path__", "__annotations__", "__builtins__"})
_OFFERED = ("mlx", "numpy")


def parse(text: str) -> ast.Module | str:
    """The tree of a Python text, or why it is no program, with the line and those around it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the author's string escapes; they would land on the terminal
            tree = ast.parse(text)
            compile(tree, "edit", "exec", dont_inherit=True)
            return tree
    except SyntaxError as error:
        at = error.lineno or 1
        return f"does not parse: line {at}: {error.msg}\n{_excerpt(text, at)}"
    except UNPARSABLE as error:
        return f"does not parse: {error or 'it is nested too deeply'}"


def _excerpt(text: str, at: int) -> str:
    lines = text.split("\n")
    first = max(1, min(at, len(lines)) - _AROUND)
    shown = enumerate(lines[first - 1 : at + _AROUND], start=first)
    return "\n".join(f"{'>' if number == at else ' '} {number:5d} | {line[:_WIDTH]}" for number, line in shown)


def missing_names(new: Survey, old: Survey) -> str | None:
    """Names that are used and defined nowhere: each would be a NameError once its line runs.

    A name counts as defined when anything in the file binds it, in whatever scope.
    """
    if new.stars:
        return None
    # What was so before is none of this edit's doing.
    known = new.bound | _GIVEN | (old.used.keys() - old.bound)
    missing = {name: line for name, line in new.used.items() if name not in known}
    lost = [f"{name} (line {line})" for name, line in missing.items() if name in old.bound][:_SHOWN]
    never = [f"{name} (line {line})" for name, line in missing.items() if name not in old.bound][:_SHOWN]
    said = [f"still uses {', '.join(lost)} but no longer defines or imports it"] if lost else []
    said += [f"uses {', '.join(never)} but never defines or imports it"] if never else []
    return " and ".join(said) or None


def missing_modules(new: Survey, old: Survey, beside: Collection[str]) -> str | None:
    """Imported modules that are not installed here, in words that say what is.

    What the file imported before, the editable files themselves, and imports that the code expects to
    fail (inside ``try``) are let through.  ``beside``: names of modules that lie beside the file.
    """
    trusted = {*beside, *(name.partition(".")[0] for name in old.imports)}
    missing = [
        f"{name} (line {line})"
        for name, line in new.imports.items()
        if name not in old.imports and not _is_there(name, trusted)
    ]
    if not missing:
        return None
    offered = [name for name in _OFFERED if _is_there(name, ())]
    there = ", ".join([*offered, "the standard library"])
    return f"imports {', '.join(missing[:_SHOWN])}, which cannot be found here; there are {there}"


def _is_there(name: str, trusted: Collection[str]) -> bool:
    """Whether a module can be found, by looking for its file; a package's inside is looked at too."""
    top, *inner = name.split(".")
    if top in sys.stdlib_module_names or top == "__main__":
        return True
    try:
        spec = find_spec(top)
        if spec is None:
            return top in trusted  # beside the file rather than installed
        for part in inner:
            if spec.submodule_search_locations is None:
                break  # an extension may make its submodules itself
            top = f"{top}.{part}"
            spec = PathFinder.find_spec(top, list(spec.submodule_search_locations))
            if spec is None:
                return False
    except (ImportError, ValueError, AttributeError, OSError):
        return top in trusted
    return True
