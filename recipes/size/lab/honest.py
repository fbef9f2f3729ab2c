"""Refuse a program that is short only because its code is elsewhere: in a string, in compressed data, in another file.

A check of this lab: it ends with an error that names the line.
"""

import ast
from pathlib import Path

from measure import editable

RUNS_TEXT = {"exec", "eval", "compile", "__import__", "getattr", "globals", "vars"}
HIDES_CODE = {
    "base64",
    "binascii",
    "bz2",
    "codecs",
    "ctypes",
    "gzip",
    "importlib",
    "lzma",
    "marshal",
    "pickle",
    "runpy",
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
        if isinstance(node, ast.Name) and node.id in RUNS_TEXT:
            raise SystemExit(f"{where}: {node.id} can run code that is not counted")
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
