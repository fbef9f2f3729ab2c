"""Cut one function out of a script, together with everything that it uses from the top level."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.lab.source import MARK, lines_of, parse

_HEAD = '"""The function as it was in {script}, whose values a candidate must compute, and all that it uses."""\n'


def sliced(text: str, function: str, script: str) -> str:
    """Return a Python file with the function and all imports, constants and functions that it uses, in order.

    Raises LabError if the script does not define the function at the top level.
    """
    tree = parse(text)
    defined: dict[str, list[ast.stmt]] = {}
    for node in tree.body:
        for name in _defines(node):
            defined.setdefault(name, []).append(node)
    if not any(isinstance(node, ast.FunctionDef) for node in defined.get(function, [])):
        raise LabError(f"{script} does not define {function}() at the top level", "profile the script again")
    wanted: list[ast.stmt] = []
    waiting, seen = [function], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in defined.get(name, []):
            if node not in wanted:
                wanted.append(node)
                waiting += _reads(node)
        # A statement such as `exp.vjp(...)` is copied together with the definition of its first name.
        for node in tree.body:
            if isinstance(node, ast.Expr) and _first_name(node) == name and node not in wanted:
                wanted.append(node)
                waiting += _reads(node)
    lines = lines_of(text.removeprefix(MARK))
    parts = [_source(node, lines) for node in sorted(wanted, key=lambda each: each.lineno)]
    return _HEAD.format(script=script) + "\n" + _joined(parts)


def function_text(text: str, function: str) -> str:
    """Return the source of one function of a file."""
    node = next(n for n in parse(text).body if isinstance(n, ast.FunctionDef) and n.name == function)
    return _source(node, lines_of(text.removeprefix(MARK)))


def _joined(parts: list[str]) -> str:
    text = ""
    for at, part in enumerate(parts):
        block = part.startswith(("def ", "class ", "@"))
        gap = "" if at == 0 else "\n\n" if block or parts[at - 1].startswith(("def ", "class ", "@")) else ""
        text += gap + part.rstrip() + "\n"
    return text


def _source(node: ast.stmt, lines: list[str]) -> str:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "".join(lines[first - 1 : node.end_lineno])


def _defines(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from (alias.asname or alias.name.split(".")[0] for alias in names)
        case ast.Assign(targets=targets):
            for target in targets:
                yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _reads(node: ast.stmt) -> list[str]:
    return [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]


def _first_name(node: ast.Expr) -> str | None:
    found: ast.AST = node.value
    while isinstance(found, ast.Call | ast.Attribute):
        found = found.func if isinstance(found, ast.Call) else found.value
    return found.id if isinstance(found, ast.Name) else None
