"""Check whether a new file in a fence is complete.

Some models replace unchanged code by a comment such as "rest unchanged", or send only the part that they changed.  If
such a reply were taken as the whole file, the rest of the file would be deleted.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from autoresearch_mlx.lab.source import read_knobs

_COMMENT = re.compile(r"[ \t]*(?:#+|//+|--+)[ \t]*(.{0,160})")
_DOTS = ("...", "…")
_LEFT_OUT = re.compile(
    r"\b(?:rest|remain\w*|unchanged|existing|same|previous|as before|omitted|other|code|keep|kept|more|etc)\b"
)
_PHRASE = re.compile(
    r"(?:the |all |your )?(?:rest|remainder) of (?:the |this |your )?(?:original |existing |training )?"
    r"(?:code|file|script|class|functions?|methods?|module|implementation|program|definitions?|imports?)\b"
    r"|(?:the )?(?:rest|remainder|everything else|all else)\b.*\b(?:unchanged|same|as before|as is|omitted|remains)\b"
    r"|(?:the |all |your |keep |\()*(?:existing|previous|original|remaining|unchanged|other) "
    r"(?:code|functions?|classes|methods?|implementation|imports?|definitions?|content|lines|knobs|constants)\W*"
    r"(?:$|here|goes|remains?|stays?|continues?|follows?|unchanged|as before|above|below"
    r"|(?:is|are) (?:unchanged|the same))"
    r"|\(?(?:(?:code|functions?|class|method|body|imports?|constants|knobs|everything|remains?) )?"
    r"(?:is |are )?unchanged\W*$"
    r"|\(?same (?:code )?as (?:before|above|the original|in the original)\b"
    r"|.*\b(?:omitted|truncated|shortened) for (?:brevity|clarity)\b"
)
_FEW_NAMES = 3


def code_left_out(text: str, original: str) -> str | None:
    """Return a message about the first line that is written in place of omitted code; None when there is no such line.

    Lines that are also in the original are ignored.
    """
    known = {line.strip() for line in original.split("\n")}
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.strip()
        if bare and bare not in known and _stands_for_code(line):
            return f"line {number} ({bare[:100]!r}) stands for code that was left out"
    return None


def _stands_for_code(line: str) -> bool:
    if line.strip() == "…":
        return True
    comment = _COMMENT.fullmatch(line)
    if comment is None:
        return False
    said = comment[1].strip().lower()
    if said.startswith(_DOTS) and not said.strip(".… "):
        return True
    dotted = said.startswith(_DOTS) or said.rstrip(")]").endswith(_DOTS)
    return bool(dotted and _LEFT_OUT.search(said)) or (_PHRASE.match(said) is not None)


def body_left_out(tree: ast.Module, original: ast.Module | None) -> str | None:
    """Return a message about a line ``...`` where the original has code; None when there is no such line."""
    had = {name: _is_stub(node) for name, node in _bodies(original)} if original is not None else {}
    for name, node in _bodies(tree):
        if _is_stub(node) and not had.get(name, True):
            return f"line {node.body[-1].lineno}: `...` stands for the body of {name}"
        if len(node.body) > 2 and (dots := next(filter(_is_dots, node.body), None)) is not None:
            return f"line {dots.lineno}: `...` stands for code that was left out"
    return None


def _bodies(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """Yield the module, and all classes, functions and methods in the module, each with its dotted name."""
    yield "the file", tree
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node
            inner = (n for n in node.body if isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef))
            yield from ((f"{node.name}.{n.name}", n) for n in inner)


def _is_dots(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value is ...


def _is_stub(node: Any) -> bool:
    documented = not isinstance(node, ast.Module) and ast.get_docstring(node, clean=False) is not None
    body = node.body[1:] if documented else node.body
    return len(body) == 1 and _is_dots(body[0])


def only_an_excerpt(tree: ast.Module, original: ast.Module) -> str | None:
    """Return a message if a text is only a part of the file: it lacks most top-level names.  Otherwise return None."""
    had, has = top_names(original), top_names(tree)
    lacking = [name for name in had if name not in has]
    if len(had) < _FEW_NAMES or 3 * len(lacking) <= 2 * len(had):
        return None
    named = ", ".join(lacking[:8]) + (", ..." if len(lacking) > 8 else "")
    return f"it is only a part of the file: of {len(had)} names at the top level it lacks {len(lacking)} ({named})"


def top_names(tree: ast.Module) -> dict[str, int]:
    """Return the functions, classes and constants at the top level, each with its line number."""
    names: dict[str, int] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[node.name] = node.lineno
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names.update({t.id: node.lineno for t in targets if isinstance(t, ast.Name)})
    return names


def only_constants(text: str, tree: ast.Module, original: str) -> dict[str, Any] | None:
    """Return the values in a text that has only knobs of a file; None if the text has anything else.

    If the text has all knobs of the file, None is returned, because the text may be the whole file.
    """
    had, has = read_knobs(original), read_knobs(text)
    if not has or len(has) != len(tree.body) or any(name not in had for name in has) or len(has) == len(had):
        return None
    return {name: knob.value for name, knob in has.items()}
