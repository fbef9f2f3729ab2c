"""Refuse tests that use the code that measures them: a check of this lab.  The error names the line."""

import ast
import tomllib
from pathlib import Path

MEASURING = {"coverage", "_pytest", "settrace", "setprofile", "monitoring", "runs", "mutants", "measure", "same_tests"}

patterns = tomllib.loads(Path("lab.toml").read_text())["target"]["editable"]
for path in sorted({path for pattern in patterns for path in Path().glob(pattern)}):
    text = path.read_text(encoding="utf-8")
    if "pragma: no" in text:
        raise SystemExit(f"{path}: a comment `pragma` takes lines out of the count")
    for node in ast.walk(ast.parse(text)):
        names = {
            name
            for alias in getattr(node, "names", ())
            if isinstance(alias, ast.alias)
            for name in alias.name.split(".")
        }
        names |= {*str(getattr(node, "module", "")).split("."), getattr(node, "attr", ""), getattr(node, "id", "")}
        if found := sorted(MEASURING & names):
            raise SystemExit(f"{path}, line {getattr(node, 'lineno', '?')}: {found[0]} is part of the measuring code")
