"""Refuse a program that is short only because its code is elsewhere: in a string, in compressed data, in another file.

A check of this lab: it ends with an error that names the line.
"""

import ast
from pathlib import Path

from measure import editable

RUNS_TEXT = {"exec", "eval", "__import__", "getattr", "globals", "vars", "attrgetter", "methodcaller"}
RUNS_TEXT |= {
    "system",
    "popen",
    "posix_spawn",
    "posix_spawnp",
    "execv",
    "execve",
    "execvp",
    "execl",
    "execlp",
    "spawnv",
}
REACHES_IN = {"__builtins__", "__dict__", "__globals__", "__code__", "__subclasses__", "__loader__", "__spec__"}
REACHES_IN |= {"__doc__", "__getattribute__", "_exit", "_getframe", "_os", "_sys", "modules"}
HIDES_CODE = {
    "base64",
    "binascii",
    "builtins",
    "bz2",
    "codecs",
    "ctypes",
    "gc",
    "gzip",
    "importlib",
    "inspect",
    "lzma",
    "marshal",
    "pickle",
    "pytest",
    "runpy",
    "unittest",
}
HIDES_CODE |= {"subprocess", "zipimport", "zlib"}
LONGEST_TEXT = 200  # characters of one string

files = editable()
here = {path.stem for path in Path().glob("*.py")} - {path.stem for path in files}
for path in files:
    if path.suffix != ".py":
        continue
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        where = f"{path}, line {getattr(node, 'lineno', '?')}"
        taken = node.names if isinstance(node, ast.ImportFrom) else ()
        words = {getattr(node, "id", None), getattr(node, "attr", None), *(alias.name for alias in taken)}
        if isinstance(node, ast.Name) and node.id == "compile":  # re.compile is no harm
            raise SystemExit(f"{where}: compile can run code that is not counted")
        if found := sorted(RUNS_TEXT & words):
            raise SystemExit(f"{where}: {found[0]} can run code that is not counted")
        if found := sorted(REACHES_IN & words):
            raise SystemExit(f"{where}: {found[0]} reaches into Python itself or into the tests")
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and len(node.value) > LONGEST_TEXT:
            raise SystemExit(f"{where}: a string of {len(node.value)} characters; the most is {LONGEST_TEXT}")
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "."]
        else:
            continue
        for name in names:
            first = name.split(".")[0]
            if first in HIDES_CODE or not first:
                raise SystemExit(f"{where}: {name} can bring in code that is not counted")
            if first in here:
                raise SystemExit(f"{where}: the lines of {name} are not counted, because it is not editable")
