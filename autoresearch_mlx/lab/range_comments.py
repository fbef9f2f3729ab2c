"""Find the ``# knob:`` comments that belong to no knob, and the reason for each, so that users can correct them."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

from autoresearch_mlx.lab.source import MARK, RANGE, UNPARSABLE, parse, read_knobs

MISSPELT = "a range comment has the form `# knob: KIND ...`, in lower case and with a colon"
_ALMOST = re.compile(r"#\s*knobs?\s*[:=–-]?\s*(?:log|lin|int|pow2|choice|fixed)\b", re.IGNORECASE)
_CAPITALS = re.compile(r"[A-Z][A-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Unread:
    """A comment that gives no knob a range: its line in the file, and the reason as text."""

    line: int
    reason: str


def unread_comments(text: str) -> tuple[Unread, ...]:
    """Return the range comments that belong to no knob in a Python text; an empty tuple if the text does not parse."""
    text = text.removeprefix(MARK)
    try:
        tree = parse(text)
        comments = [(line, comment) for line, comment, alone in _comments(text) if _gives_range(comment, alone)]
    except (tokenize.TokenError, *UNPARSABLE):
        return ()
    read = {knob.commented for knob in read_knobs(text).values()}
    return tuple(
        Unread(line, _reason(tree, line) if RANGE.search(comment) else MISSPELT)
        for line, comment in comments
        if line not in read
    )


def _comments(text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield the line and the text of each comment, and whether the line has nothing else."""
    for token in tokenize.generate_tokens(io.StringIO(text, newline="").readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string, not token.line[: token.start[1]].strip()


def _gives_range(comment: str, alone: bool) -> bool:
    """Return whether a comment is meant to give a range.

    A comment ``alone`` on its line must begin with ``# knob:``, because prose may mention ``# knob:`` later in a line.
    """
    return bool(
        RANGE.match(comment) or _ALMOST.match(comment) if alone else RANGE.search(comment) or _ALMOST.search(comment)
    )


def _reason(tree: ast.Module, line: int) -> str:
    found = next((node for node in tree.body if node.lineno <= line <= (node.end_lineno or node.lineno)), None)
    if found is None:
        return "there is no constant on this line; write the comment after NAME = value"
    if isinstance(found, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.If | ast.With | ast.Try):
        inside = f"class {found.name}" if isinstance(found, ast.ClassDef) else "a block"
        return f"the line is inside {inside}; write NAME = value at the top level of the file, and use NAME here"
    target = _target(found)
    if target is None:
        return "this line does not set exactly one name; write NAME = value"
    if not target.isascii():
        return f"the name {target} has letters other than A to Z"
    if not _CAPITALS.fullmatch(target):
        return f"the name {target} is not in capitals; call it {_capitals(target)}"
    later = [node.lineno for node in tree.body if node is not found and _target(node) == target and node.lineno >= line]
    if later:
        return f"{target} is set again on line {later[-1]}, and the later value is used; write the comment there"
    return f"the value of {target} is neither a literal nor arithmetic on numbers, or it contains a comment"


def _target(node: ast.stmt) -> str | None:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    only = targets[0] if len(targets) == 1 else None
    return only.id if isinstance(only, ast.Name) else None


def _capitals(name: str) -> str:
    """Return the name in capitals, as for a constant: ``BATCH_SIZE`` for ``batch_size`` and for ``batchSize``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper().strip("_")
