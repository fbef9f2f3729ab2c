"""Find the axes of a change from its diff: a constant's name shows its axis, and functions and words show the axis of
code.

A title may say anything; the diff shows what was changed.  For each function that differs, the added or removed words
decide the axis (``silu``, ``softcap``, ``x0``).  If these words say nothing, the function's name decides
(``Attention``, ``lr_factor``).  One call of ``git log`` gives the diffs of many commits.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping

from autoresearch_mlx.lab.source import UNPARSABLE, axis_of, changed_knobs, parse, read_knobs

_WHOLE = "-U1000000"
ARGUMENTS = ("--no-walk=unsorted", "--ignore-missing", "--format=%x00%H", "-p", "--no-ext-diff", "--no-color", _WHOLE)
"""Arguments of ``git log``, after which the caller puts commits; :func:`read_patches` reads the output."""
_FILE = re.compile(r"^diff --git ", re.MULTILINE)
_HUNK = re.compile(r"^@@ [^\n]*@@[^\n]*\n", re.MULTILINE)


def read_patches(text: str) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return ``{commit: ((before, after), ...)}`` from git's output: a pair of texts for each Python file that a commit
    changed."""
    patches: dict[str, tuple[tuple[str, str], ...]] = {}
    for piece in text.split("\0")[1:]:
        commit, _, patch = piece.partition("\n")
        patches[commit] = tuple(_pairs(patch))
    return patches


def _pairs(patch: str) -> Iterator[tuple[str, str]]:
    for part in _FILE.split(patch)[1:]:
        head, *hunks = _HUNK.split(part)
        if hunks and head.split("\n", 1)[0].endswith((".py", '.py"')):
            lines = "".join(hunks).split("\n")
            yield _side(lines, " -"), _side(lines, " +")


def _side(lines: list[str], marks: str) -> str:
    return "\n".join(line[1:] for line in lines if line and line[0] in marks) + "\n"


_WORDS = tuple(
    (re.compile(pattern), axis)
    for pattern, axis in (
        (r"silu|gelu|relu|swish|sigmoid_mlp", "mlp.activation"),
        (r"softcap|tanh", "softcap"),
        (r"dropout", "regularisation.dropout"),
        (r"rope|rotary", "rope"),
        (r"^x0$|x0_lambda", "residual.x0"),
        (r"resid_lambda", "residual.resid"),
        (r"value_embed|^ve_?|_ve$", "value_embedding"),
        (r"clip", "optimizer.clip"),
        (r"nesterov", "muon.nesterov"),
        (r"weight_decay|^decay$", "weight_decay"),
        (r"(^|_)norm|rms", "norm"),
        (r"^cos$|cosine", "schedule.shape"),
        (r"(kv|query|key)_?heads?", "attention.heads"),
        (r"window|mask", "attention.window"),
        (r"bfloat16|float16|astype", "precision"),
        (r"smooth|z_loss|logsumexp", "loss"),
    )
)
_PLACES = tuple(
    (re.compile(pattern), axis)
    for pattern, axis in (
        (r"mask|window", "attention.window"),
        (r"attention|attn", "attention"),
        (r"mlp|feed_?forward", "mlp"),
        (r"(^|\.)norm|rms", "norm"),
        (r"muon|orthogonal|newton|even_rows", "muon"),
        (r"adamw?", "adam"),
        (r"optimi[sz]er", "optimizer"),
        (r"lr_factor|schedule|warm", "schedule"),
        (r"initial|init_weights", "init"),
        (r"embed", "embedding"),
        (r"loss", "loss"),
        (r"block", "block"),
        (r"batch|groups|loader", "batch"),
        (r"gpt|model", "model"),
        (r"train|step", "training"),
    )
)

_TOP = re.compile(r"(?!(?:else|elif|except|finally|case)\b)[A-Za-z_@]")
"""Pattern of a line on which a top-level statement begins."""


def axes_of_diff(before: str, after: str) -> tuple[str, ...]:
    """Return the axes of a change of a Python text: first of well-known constants, then of code, then of other
    constants.

    A change of code that fits no pattern has the axis ``code``.  The result is empty for equal programs and for texts
    that do not parse.
    """
    for old, new in (_cores(before, after), (before, after)):
        try:
            return _touched(old, new)
        except UNPARSABLE:  # the part may begin inside a string of several lines; then the whole files are compared
            continue
    return ()


def _touched(before: str, after: str) -> tuple[str, ...]:
    old, new = _units(before), _units(after)
    knobs = [axis_of(name) for name in changed_knobs(before, after)]
    touched = [name for name in (*old, *(n for n in new if n not in old)) if old.get(name) != new.get(name)]
    code = [axis for name in touched for axis in _axes(name, old.get(name), new.get(name))]
    return tuple(dict.fromkeys(sorted([*knobs, *code], key=lambda axis: axis.startswith("knob."))))


def _cores(before: str, after: str) -> tuple[str, str]:
    """Return both texts without the equal top-level statements at the start and at the end; this saves slow parsing."""
    old, new = before.split("\n"), after.split("\n")
    same = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = max((i for i in range(same) if _TOP.match(old[i])), default=0)
    most = min(len(old), len(new)) - same
    behind = next((i for i in range(most) if old[-1 - i] != new[-1 - i]), most)
    end = min((i for i in range(len(old) - behind, len(old)) if _TOP.match(old[i])), default=len(old))
    return "\n".join(old[start:end]), "\n".join(new[start : len(new) - (len(old) - end)])


def _axes(name: str, old: str | None, new: str | None) -> list[str]:
    """Return the axes of one function that differs: by the words that were added or removed, else by the function's
    name."""
    was, now = Counter(_names(old)), Counter(_names(new))
    moved = {*(was - now), *(now - was)} if old is not None and new is not None else set()
    named = [axis for pattern, axis in _WORDS if any(pattern.search(word.lower()) for word in moved)]
    return named or [next((axis for pattern, axis in _PLACES if pattern.search(name.lower())), "code")]


def _names(dump: str | None) -> list[str]:
    """Return every identifier and string in the output of ``ast.dump``."""
    return re.findall(r"(?:id|attr|arg|value)='([^']*)'", dump or "")


def _units(text: str) -> Mapping[str, str]:
    """Return the dumped syntax tree of each function (``Class.method``) and of the code outside all functions.

    Knobs and docstrings are left out.
    """
    knobs = read_knobs(text)
    return dict(_walk(parse(text).body, "", set(knobs)))


def _walk(body: list[ast.stmt], inside: str, knobs: set[str]) -> Iterator[tuple[str, str]]:
    rest: list[str] = []
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield f"{inside}{node.name}()", ast.dump(ast.Tuple([*node.bases, *node.decorator_list]))
            yield from _walk(node.body, f"{inside}{node.name}.", set())
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{inside}{node.name}", _dump(node)
        elif not _is_knob(node, knobs) and not _is_text(node):
            rest.append(ast.dump(node))
    yield f"{inside}", "\n".join(rest)


def _dump(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    if ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:]
    return ast.dump(node)


def _is_knob(node: ast.stmt, knobs: set[str]) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return len(targets) == 1 and isinstance(targets[0], ast.Name) and targets[0].id in knobs


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
