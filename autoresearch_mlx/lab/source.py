"""Read the text of an editable file: its knobs, and a hash that is equal for texts that do the same thing.

A knob is a top-level line ``ALL_CAPS = literal``.  A comment ``# knob: KIND ...`` after the literal may give a range:
``log LOW HIGH``, ``lin LOW HIGH``, ``int LOW HIGH``, ``pow2 LOW HIGH`` or ``choice A B C``.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from autoresearch_mlx.experiment import KnobChanges
from autoresearch_mlx.lab.constants import fits_json, literal_of, number_of

_AXES: dict[str, tuple[str, ...]] = {
    "depth": ("DEPTH", "N_LAYER"),
    "width": ("ASPECT_RATIO", "N_EMBD", "WIDTH"),
    "mlp": ("MLP_RATIO",),
    "attention.heads": ("HEAD_DIM", "N_HEAD", "N_KV_HEAD"),
    "attention.window": ("WINDOW_PATTERN", "SHORT_WINDOW"),
    "rope": ("ROPE_BASE",),
    "softcap": ("SOFTCAP", "CAP_LOGITS"),
    "batch": ("TOTAL_BATCH_SIZE",),
    "batch.device": ("DEVICE_BATCH_SIZE",),
    "lr.matrix": ("MATRIX_LR",),
    "lr.embedding": ("EMBEDDING_LR",),
    "lr.unembedding": ("UNEMBEDDING_LR",),
    "lr.scalar": ("SCALAR_LR",),
    "weight_decay.matrix": ("WEIGHT_DECAY",),
    "weight_decay.embedding": ("EMBEDDING_WD",),
    "weight_decay.value": ("VALUE_WD",),
    "weight_decay.unembedding": ("UNEMBEDDING_WD",),
    "adam.betas": ("ADAM_BETAS",),
    "schedule.warmup": ("WARMUP_RATIO", "WARMUP_STEPS"),
    "schedule.warmdown": ("WARMDOWN_RATIO",),
    "schedule.final": ("FINAL_LR_FRAC",),
    "muon.momentum": ("MUON_MOMENTUM", "MUON_MOMENTUM_START", "MUON_RAMP_STEPS"),
    "muon.beta2": ("MUON_BETA2",),
    "muon.ns_steps": ("NS_STEPS",),
    "residual.x0": ("X0_LAMBDA",),
    "residual.resid": ("RESID_LAMBDA",),
    "init.matrix": ("INIT_SCALE",),
    "init.embedding": ("EMBEDDING_INIT_STD",),
    "init.unembedding": ("UNEMBEDDING_INIT_STD",),
    "value_embedding": ("VE_GATE_CHANNELS", "VE_GATE_SCALE"),
}


_COSTLESS = frozenset({"lr", "weight_decay", "adam", "schedule", "rope", "softcap", "residual", "init", "seed"})
"""First words of axes whose knobs change numbers in a step, but not how much the step computes."""
_SWITCHES = frozenset({"softcap", "residual", "rope"})
"""First words of the ``_COSTLESS`` axes on which a value of 0 may leave out a part of the step."""


def axis_of(knob_name: str) -> str:
    """Return the axis of a knob: ``depth`` for ``DEPTH``; ``knob.name`` for a knob NAME that is not in the table.

    A file before the name (``model.py:DEPTH``) is ignored.
    """
    name = knob_name.rsplit(":", 1)[-1]
    if "SEED" in name.split("_"):
        return "seed"
    return next((axis for axis, names in _AXES.items() if name in names), f"knob.{name.lower()}")


_NAME = re.compile(r"^[A-Z][A-Z0-9_]*$")
RANGE = re.compile(r"#\s*knob:\s*(\w+)\s*([^#;,]*)")
"""Pattern of a comment that gives a range: its kind, and the words after it."""
_LARGEST_POWER = 64

UNPARSABLE = (SyntaxError, ValueError, MemoryError, RecursionError)
"""Errors that Python raises for a text that is not a program: bad syntax, lone surrogates, nesting that is too deep."""

MARK = "\ufeff"
"""A byte order mark, with which some editors begin a file; Python ignores it."""


def parse(text: str) -> ast.Module:
    """Return the tree of a Python text, which may begin with a byte order mark.  Raises :data:`UNPARSABLE`."""
    return ast.parse(text.removeprefix(MARK))


def why_unparsable(error: BaseException) -> str:
    """Return the message of one of :data:`UNPARSABLE` without a file name, such as ``invalid syntax (line 6)``."""
    if isinstance(error, SyntaxError):
        return error.msg if error.lineno is None else f"{error.msg} (line {error.lineno})"
    return str(error) or "it is nested too deeply"


@dataclass(frozen=True, slots=True)
class Knob:
    """A constant: its value, the position of its literal, and the words of its range comment."""

    name: str
    value: Any
    line: int
    span: tuple[int, int]
    """Start of the literal in its first line, and end of the literal in its last line, in bytes of UTF-8."""
    kind: str | None = None
    words: tuple[str, ...] = ()
    last_line: int = 0
    commented: int = 0
    """Line number of the knob's range comment; 0 if the knob has no range comment."""


def read_knobs(text: str) -> dict[str, Knob]:
    """Return every knob of a Python text by its name, in order; an empty dict when the text does not parse.

    Two sorts of constant are not knobs: values that JSON cannot store (infinities, sets, bytes), and literals of
    several lines, which cannot be replaced in place.  Arithmetic on numbers (``64 * 1024``) is a knob only with a range
    comment at its end.  Such arithmetic may have several lines, but no other comment.
    """
    return dict(_knobs(text))


@lru_cache(maxsize=32)  # an experiment asks for the knobs of its texts, and of the shipped script, dozens of times
def _knobs(text: str) -> dict[str, Knob]:
    text = text.removeprefix(MARK)
    try:
        tree = parse(text)
    except UNPARSABLE:
        return {}
    lines = lines_of(text)
    found: dict[str, Knob] = {}
    for node in tree.body:
        target, value = _assignment(node)
        if target is None or value is None:
            continue
        first, last = value.lineno, value.end_lineno or value.lineno
        # The comment follows the value, or the bracket that closes it.
        ends = ((last, value.end_col_offset or 0), (node.end_lineno or last, node.end_col_offset or 0))
        behind, match = next(
            ((n, m) for n, at in ends if (m := RANGE.search(_comment_after(lines[n - 1], at)))), (0, None)
        )
        constant = _value(value, bool(behind) and not any("#" in line for line in lines[first - 1 : last - 1]))
        if constant is _NOTHING:
            continue
        found[target] = Knob(
            name=target,
            value=constant,
            line=first,
            span=(value.col_offset, value.end_col_offset or value.col_offset),
            kind=match.group(1) if match else None,
            words=_words(match) if match else (),
            last_line=last,
            commented=behind,
        )
    return found


def _comment_after(line: str, place: int) -> str:
    """Return the comment after a position in a line; empty if there is code before the comment.

    The position is in bytes of UTF-8.
    """
    rest = line.encode()[place:].decode().lstrip(" \t\f)")
    return rest if rest.startswith("#") else ""


def _words(comment: re.Match[str]) -> tuple[str, ...]:
    """Return the words of a range comment.

    In a choice, commas may separate the options (``choice relu, gelu``).  In any other range, the text after a comma is
    a remark, which is left out.
    """
    words = tuple(comment[2].split())
    if comment[1] != "choice" or len(words) != 1:
        return words
    listed = [part.split() for part in re.split(r"[#;]", comment.string[comment.start(2) :])[0].split(",")]
    return tuple(word for [word] in listed) if all(len(part) == 1 for part in listed) else words


_NOTHING = object()


def _value(node: ast.expr, ranged: bool) -> Any:
    """Return the value of a constant, or ``_NOTHING`` if the expression is not constant.

    ``ranged`` is true if a range comment follows.
    """
    if node.lineno == node.end_lineno:
        try:
            value = literal_of(node)
            return value if fits_json(value) else _NOTHING
        except (TypeError, *UNPARSABLE):
            pass
    try:
        return number_of(node) if ranged else _NOTHING
    except UNPARSABLE:
        return _NOTHING


def _assignment(node: ast.stmt) -> tuple[str | None, ast.expr | None]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target: ast.expr = node.targets[0]
        value: ast.expr | None = node.value
    elif isinstance(node, ast.AnnAssign):
        target, value = node.target, node.value
    else:
        return None, None
    if isinstance(target, ast.Name) and _NAME.match(target.id):
        return target.id, value
    return None, None


def set_knobs(text: str, values: Mapping[str, Any]) -> str:
    """Return the text with new values of these knobs; all other text is unchanged.

    Raises KeyError for a name that is not a knob of the text.
    """
    mark, text = (MARK, text.removeprefix(MARK)) if text.startswith(MARK) else ("", text)
    knobs = read_knobs(text)
    lines = lines_of(text)
    # The last knob is replaced first, so that the positions of earlier knobs stay correct.
    for knob in sorted((knobs[name] for name in values), key=lambda k: (k.line, k.span), reverse=True):
        first, last = lines[knob.line - 1].encode(), lines[knob.last_line - 1].encode()
        start, end = knob.span
        new = (first[:start] + literal(values[knob.name]).encode() + last[end:]).decode()
        lines[knob.line - 1 : knob.last_line] = [new]
    return mark + "".join(lines)


def lines_of(text: str) -> list[str]:
    """Return the lines of a text as Python's parser reads them; ``splitlines`` would also split at form feeds."""
    return list(io.StringIO(text, newline=""))


def literal(value: Any) -> str:
    """Return a value as a programmer would write it in Python.

    A large power of two becomes ``2**16``, and a number with a fraction gets at most six significant digits.
    """
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return repr(value)
    if isinstance(value, int):
        power = value.bit_length() - 1
        short = value >= 1024 and value == 1 << power and power <= _LARGEST_POWER
        return f"2**{power}" if short else repr(value)
    if math.isinf(value):
        return "1e999" if value > 0 else "-1e999"  # Python has no literal for infinity, but reads this as infinity
    return repr(float(f"{value:.6g}"))


def changed_knobs(before: str, after: str) -> dict[str, tuple[Any, Any]]:
    """Return ``{name: (from, to)}`` for the knobs that two texts set differently.

    A value is None if the text does not have the knob.
    """
    old, new = read_knobs(before), read_knobs(after)
    changes: dict[str, tuple[Any, Any]] = {}
    for name in [*old, *(n for n in new if n not in old)]:
        was = old[name].value if name in old else None
        now = new[name].value if name in new else None
        if was != now or type(was) is not type(now):
            changes[name] = (was, now)
    return changes


def only_knobs_differ(before: str, after: str) -> bool:
    """Return whether the only difference between two Python texts is in the values of knobs that both texts have."""
    shared = {name: now for name, (was, now) in changed_knobs(before, after).items() if name in read_knobs(before)}
    if any(name not in read_knobs(after) for name in shared):
        return False
    return _normal("x.py", set_knobs(before, shared)) == _normal("x.py", set_knobs(after, shared))


def same_work(before: Mapping[str, str], edited: Mapping[str, str]) -> bool:
    """Return whether a step computes as much after an edit as before, because only knobs such as rates changed."""
    for path, text in edited.items():
        was = before.get(path)
        if was is None or not only_knobs_differ(was, text):
            return False
        if not all(_costless(name, *change) for name, change in changed_knobs(was, text).items()):
            return False
    return bool(edited)


def _costless(name: str, was: Any, now: Any) -> bool:
    axis = axis_of(name).split(".")[0]
    switched = axis in _SWITCHES and (was == 0) != (now == 0)
    return axis in _COSTLESS and _numeric(was) and _numeric(now) and not switched


def _numeric(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_numeric, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def lines_removed(before: Mapping[str, str], after: Mapping[str, str]) -> int:
    """Return how many lines of code the files have lost; blank lines and comments do not count."""
    return sum(map(_code_lines, before.values())) - sum(map(_code_lines, after.values()))


def _code_lines(text: str) -> int:
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines())


def describe(changes: KnobChanges) -> str:
    """Return the changes as one line, such as ``MATRIX_LR 0.04 -> 0.03, DEPTH 4 -> 5``."""
    return ", ".join(f"{name} {literal(was)} -> {literal(now)}" for name, (was, now) in changes.items())


def fingerprint(files: Mapping[str, str]) -> str:
    """Return a SHA-256 of the files that ignores comments, blank lines and docstrings in Python."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.encode() + b"\0" + _normal(path, files[path]).encode() + b"\0")
    return digest.hexdigest()


@lru_cache(maxsize=32)
def _normal(path: str, text: str) -> str:
    if not path.endswith(".py"):
        return text
    documented = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    try:
        tree = parse(text)
        for node in ast.walk(tree):
            if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:]
        return ast.dump(tree)
    except UNPARSABLE:
        return text
