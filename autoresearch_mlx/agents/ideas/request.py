"""The request for a batch of ideas: what a planner needs to know, in a few thousand tokens."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.agents.ideas.axes import banned, knobs_of
from autoresearch_mlx.agents.ideas.words import axis_tried
from autoresearch_mlx.agents.prompt.foreign import block, cell, phrase, tame
from autoresearch_mlx.experiment import Context, History
from autoresearch_mlx.lab.source import UNPARSABLE, literal, read_knobs
from autoresearch_mlx.models.schema import closed_object

COSTS = ("constant", "lines", "rewrite")
"""How much of the code an idea touches."""
_BRIEF, _FILE = 2000, 6000
"""Characters of program.md, and of a file that is shown whole."""
_ROWS = 20


def refill_request(context: Context, known_axes: Sequence[str], count: int = 8) -> tuple[str, dict[str, Any]]:
    """The message that asks for ``count`` ideas on distinct axes, and the JSON schema of the answer."""
    parts = [
        _goal(context),
        _section("Research brief", block(tame(context.program[:_BRIEF]), "markdown") if context.program else ""),
        _section("Files", _files(context)),
        _section("Experiments so far", _results(context.history)),
        _section("Wishes of the person who owns this lab", "\n".join(f"- {phrase(n, 300)}" for n in context.notes)),
        _section("Axes", _axes(context, known_axes)),
        _wanted(context, count),
    ]
    return "\n\n".join(part for part in parts if part), _schema(count)


def _section(heading: str, body: str) -> str:
    return f"# {heading}\n\n{body}" if body else ""


def _goal(context: Context) -> str:
    better = {"min": "lower", "max": "higher"}[context.history.direction]
    where = f" Machine: {phrase(context.hardware, 300)}." if context.hardware else ""
    return (
        f"A loop tries one change of a program at a time and keeps what improves {context.history.metric}"
        f" ({better} is better).{where} You plan what it tries next."
    )


def _files(context: Context) -> str:
    """Short files whole; of long ones the constants and an outline, which is enough to plan with."""
    return "\n\n".join(_file(path, text) for path, text in context.files.items())


def _file(path: str, text: str) -> str:
    if len(text) <= _FILE:
        return f"{path}\n{block(tame(text), 'python' if path.endswith('.py') else '')}"
    outline = "\n".join(_outline(text)) or text
    shown = f"{path}, in outline:\n{block(tame(outline[:_FILE]))}"
    knobs = ", ".join(f"{k.name} = {literal(k.value)}" for k in read_knobs(text).values())
    return f"{shown}\nIts constants: {tame(knobs[:_FILE])}" if knobs else shown


def _outline(text: str) -> Iterator[str]:
    """Heads of classes, methods and functions, each with the first line of its docstring."""
    try:
        tree = ast.parse(text)
    except UNPARSABLE:
        return
    for node in tree.body:
        yield from _head(node, "")
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                yield from _head(inner, "    ")


def _head(node: ast.stmt, indent: str) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        line = f"{indent}def {node.name}({ast.unparse(node.args)})"
    elif isinstance(node, ast.ClassDef):
        line = f"{indent}class {node.name}({', '.join(map(ast.unparse, node.bases))})"
    else:
        return
    said = (ast.get_docstring(node) or "").split("\n")[0]
    yield f"{line}: {said}" if said else line


def _results(history: History) -> str:
    tried = [e for e in history.experiments if e.number > 0]
    lines = [
        f"- {e.number}: {cell(e.title)} (axis {axis_tried(e) or 'not known'}): {e.status}, gain {terms.gain(e.gain)}"
        for e in tried[-_ROWS:]
    ]
    older = f"\n{terms.plural(len(tried) - _ROWS, 'older experiment')} not shown." if len(tried) > _ROWS else ""
    return "\n".join(lines) + older


def _axes(context: Context, known: Sequence[str]) -> str:
    """What is free, and what rests after a row of losses."""
    resting = banned(context.history, context.number)
    free = [f"{axis}{_belonging(axis, context)}" for axis in known if axis not in resting]
    lines = [f"Known: {', '.join(free)}."] if free else []
    lines += [f"Lost again and again, leave alone for now: {', '.join(sorted(resting))}."] if resting else []
    return "\n".join([*lines, "A new one is welcome: lower-case words joined by dots."])


def _belonging(axis: str, context: Context) -> str:
    names = ", ".join(knobs_of(axis, context.files))
    return f" ({names})" if names else ""


def _wanted(context: Context, count: int) -> str:
    fields = (
        '{"ideas": [{"title": "...", "axis": "...", "hypothesis": "...", "expected_gain": 0.001, "cost": "constant"}]}'
    )
    return _section(
        "Your task",
        f"Give {count} ideas that were not tried yet, each on a DIFFERENT axis: some small, some bold.\n"
        "title: the change itself in a few words, with names and values. hypothesis: why it should help here.\n"
        f"expected_gain: in {context.history.metric}, positive is better, null if you cannot say."
        f" cost: {', '.join(COSTS)}.\n"
        f"Answer with one JSON object and nothing else:\n{fields}",
    )


def _schema(count: int) -> dict[str, Any]:
    idea = closed_object(
        title={"type": "string"},
        axis={"type": "string"},
        hypothesis={"type": "string"},
        expected_gain={"type": ["number", "null"]},
        cost={"type": "string", "enum": list(COSTS)},
    )
    return closed_object(ideas={"type": "array", "items": idea, "minItems": 1, "maxItems": count})
