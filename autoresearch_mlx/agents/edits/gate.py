"""Refuse an edit before it runs: code that does not parse, undefined names, modules that are not installed.

Nothing is imported or run here.  The target checks later whether the file still defines what the target needs.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from importlib.util import find_spec

from autoresearch_mlx.lab import source
from autoresearch_mlx.lab.source import UNPARSABLE

_AROUND = 3
_WIDTH = 160
_SHOWN = 8
_OFFERED = ("mlx", "numpy")


@dataclass(frozen=True, slots=True)
class Survey:
    """The names that a Python file uses, and the modules that it imports."""

    undefined: Mapping[str, int] = field(default_factory=dict)
    """Names that are read but defined nowhere, each with the line of its first use."""
    names: frozenset[str] = frozenset()
    """Every name that the file reads or assigns, in any scope."""
    imports: Mapping[str, int] = field(default_factory=dict)
    """Full names of the imported modules, each with the line of its first import.  Relative imports and imports inside
    ``try`` are left out."""


def survey(tree: ast.Module) -> Survey:
    """Survey a syntax tree; nothing is imported or run."""
    imports: dict[str, int] = {}
    tried: set[int] = set()
    for node in ast.walk(tree):  # parents come before their children
        if isinstance(node, ast.Try) and node.handlers:
            tried.update(map(id, node.body))
        elif id(node) in tried:
            continue
        elif isinstance(node, ast.Import):
            for alias in node.names:
                imports.setdefault(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            imports.setdefault(node.module, node.lineno)
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    # Names inside quoted annotations are left out: nothing evaluates them, and `"batch heads"` may describe a shape.
    undefined = {name: line for name, line in _undefined(tree).items() if name in names}
    return Survey(undefined, names, imports)


def _undefined(tree: ast.Module) -> dict[str, int]:
    """Return the undefined names that pyflakes finds; no names if the code is nested too deeply for pyflakes."""
    from pyflakes.checker import Checker
    from pyflakes.messages import UndefinedName

    try:
        found = Checker(tree).messages
    except RecursionError:
        return {}  # the smoke run finds undefined names too
    undefined: dict[str, int] = {}
    for message in sorted((m for m in found if isinstance(m, UndefinedName)), key=lambda m: m.lineno):
        undefined.setdefault(message.message_args[0], message.lineno)
    return undefined


def parse(text: str) -> ast.Module | str:
    """Return the syntax tree of a Python text, or a message that says why the text does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about string escapes in the edit would appear on the terminal
            tree = source.parse(text)
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
    """Return a message about the names that the new text uses but does not define; None if there are no such names.

    Such a name would be a NameError when its line runs.  Names that were undefined in the old text are not reported,
    because they are not the edit's fault.
    """
    missing = {name: line for name, line in new.undefined.items() if name not in old.undefined}
    lost = [f"{name} (line {line})" for name, line in missing.items() if name in old.names][:_SHOWN]
    never = [f"{name} (line {line})" for name, line in missing.items() if name not in old.names][:_SHOWN]
    said = [f"still uses {', '.join(lost)} but no longer defines or imports it"] if lost else []
    said += [f"uses {', '.join(never)} but never defines or imports it"] if never else []
    return " and ".join(said) or None


def missing_modules(new: Survey, old: Survey, beside: Collection[str]) -> str | None:
    """Return a message about imported modules that are not installed; None if all imported modules are installed.

    Three kinds of import are allowed in any case: modules that the file imported before, the editable files, and
    imports inside ``try``.  ``beside`` has the names of the modules in the file's own folder.
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
    return f"imports {', '.join(missing[:_SHOWN])}, which cannot be found here; these can: {there}"


def _is_there(name: str, trusted: Collection[str]) -> bool:
    """Return whether the file of a module can be found; the module may be inside a package."""
    top, *inner = name.split(".")
    if top in sys.stdlib_module_names or top == "__main__":
        return True
    try:
        spec = find_spec(top)
        if spec is None:
            return top in trusted  # the module may lie in the file's own folder instead
        for part in inner:
            if spec.submodule_search_locations is None:
                break  # an extension module may create its submodules itself
            top = f"{top}.{part}"
            spec = PathFinder.find_spec(top, list(spec.submodule_search_locations))
            if spec is None:
                return False
    except (ImportError, ValueError, AttributeError, OSError):
        return top in trusted
    return True
