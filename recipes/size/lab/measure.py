"""Print the size of the editable files, in lines and in bytes, after formatting them in one way.

Python is parsed and written again without comments and docstrings, so that neither long lines nor the layout count.
Other files are cut at each ``;``, ``{`` and ``}``, and the parts that are not blank count.
"""

import ast
import re
import tomllib
from pathlib import Path


def editable():
    """Return the editable files of the lab, as its lab.toml names them."""
    patterns = tomllib.loads(Path("lab.toml").read_text())["target"]["editable"]
    return sorted({path for pattern in patterns for path in Path().glob(pattern) if path.is_file()})


def formatted(path):
    """Return the text of a file in the form in which it is counted."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return "\n".join(part.strip() for part in re.split(r"[\n;{}]", text) if part.strip())
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [each for each in body if not is_text(each)]
            node.body = kept if kept or isinstance(node, ast.Module) else [ast.Pass()]
    return "\n".join(line for line in ast.unparse(tree).splitlines() if line.strip())


def is_text(statement):
    """Return whether a statement is a string alone: a docstring, or a string used as a comment."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


if __name__ == "__main__":
    texts = [formatted(path) for path in editable()]
    if not texts:
        raise SystemExit("no file fits `editable` in lab.toml")
    print(f"METRIC lines={sum(len(text.splitlines()) for text in texts)}")
    print(f"METRIC bytes={sum(len(text.encode()) for text in texts)}")
