"""Make source files slower or longer on purpose, to see whether the lab's number then gets worse."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from autoresearch_mlx.lab.source import UNPARSABLE, parse

_C = re.compile(r"^([A-Za-z_][\w \t*]*\([^;{}()]*\)\s*\{)", re.MULTILINE)
_JS = re.compile(
    r"(\bfunction\b[^{;]*\([^{;]*\)\s*\{|=>\s*\{|^\s+(?!if\b|for\b|while\b|switch\b|catch\b)\w+\([^;{}]*\)\s*\{)",
    re.MULTILINE,
)
_CALLS = 25
"""Number of calls that are delayed.  A function may be called a million times, and to delay each call would take too
long."""


def slowed(files: Mapping[str, str], milliseconds: float) -> dict[str, str]:
    """Return changed texts of the files in which the first calls of functions take ``milliseconds`` longer.

    Files in unknown languages are left out.
    """
    found = {path: _slowed(path, text, milliseconds) for path, text in files.items()}
    return {path: text for path, text in found.items() if text is not None and text != files[path]}


def _slowed(path: str, text: str, milliseconds: float) -> str | None:
    if path.endswith(".py"):
        return _slow_python(text, milliseconds)
    if path.endswith((".js", ".mjs", ".cjs")):
        wait = (
            f" if ((waitsOfCheck = (waitsOfCheck ?? {_CALLS}) - 1) > 0)"
            f" for (const t = performance.now() + {milliseconds}; performance.now() < t;);"
        )
        return _JS.sub(lambda found: found[1] + wait, text) + "\nvar waitsOfCheck;\n"
    if path.endswith((".c", ".cc", ".cpp")):
        rounds = int(milliseconds * 1_000_000)
        loop = f"for (volatile long wait_i = 0; wait_i < {rounds}; wait_i++);"
        return _C.sub(lambda found: f"{found[1]} {{ static long waits = {_CALLS}; if (waits-- > 0) {loop} }}", text)
    return None


def _slow_python(text: str, milliseconds: float) -> str | None:
    try:
        tree = parse(text)
    except UNPARSABLE:
        return None
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    wait = f"_waits = globals().setdefault('_waits', [{_CALLS}])\nif _waits[0] > 0:\n    _waits[0] -= 1\n"
    wait += f"    _end = __import__('time').process_time() + {milliseconds / 1000}\n"
    wait += "    while __import__('time').process_time() < _end:\n        pass"
    for each in functions:
        at = 1 if ast.get_docstring(each, clean=False) is not None else 0
        each.body[at:at] = ast.parse(wait.replace("_waits", "_waits_of_check")).body
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n" if functions else None


def longer(files: Mapping[str, str]) -> dict[str, str]:
    """Return the first file with one more statement, which has no effect; an empty mapping for an unknown language."""
    path, text = next(iter(files.items()))
    families = {
        "_one_more_line = 0\n": (".py",),
        "void 0;\n": (".js", ".mjs", ".cjs", ".ts"),
        "extern int one_more_name;\n": (".c", ".cc", ".cpp"),
    }
    line = next((line for line, endings in families.items() if path.endswith(endings)), "")
    return {path: text.rstrip("\n") + "\n" + line} if line else {}
