"""Refuse tests that reach into the measuring itself: a check of this lab, whose error names the line."""

import ast
import tomllib
from pathlib import Path

MEASURING = {"coverage", "_pytest", "settrace", "setprofile", "monitoring", "same_tests", "measure"}

patterns = tomllib.loads(Path("lab.toml").read_text())["target"]["editable"]
for path in sorted({path for pattern in patterns for path in Path().glob(pattern)}):
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        names = {
            name
            for alias in getattr(node, "names", ())
            if isinstance(alias, ast.alias)
            for name in alias.name.split(".")
        }
        names |= {*str(getattr(node, "module", "")).split("."), getattr(node, "attr", ""), getattr(node, "id", "")}
        if found := sorted(MEASURING & names):
            raise SystemExit(f"{path}, line {getattr(node, 'lineno', '?')}: {found[0]} belongs to the measuring")
