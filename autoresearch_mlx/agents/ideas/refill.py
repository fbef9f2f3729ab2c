"""Refill an empty backlog by asking a model for several ideas at once."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.agents.edits.example import own_words
from autoresearch_mlx.agents.edits.fields import check, text_of
from autoresearch_mlx.agents.edits.objects import NAMES, objects
from autoresearch_mlx.agents.ideas.axes import banned, knobs_of, was_tried
from autoresearch_mlx.agents.ideas.axis_names import LONGEST_AXIS, axis_in, axis_tried, clean_axis
from autoresearch_mlx.agents.ideas.backlog import read_backlog, refilled
from autoresearch_mlx.agents.ideas.idea import LONGEST_TITLE, Draft, Idea
from autoresearch_mlx.agents.prompt.quoting import block, cell, phrase, tame
from autoresearch_mlx.experiment import Context, History
from autoresearch_mlx.lab.source import UNPARSABLE, axis_of, literal, parse, read_knobs
from autoresearch_mlx.models.wire import closed_object

COSTS = ("constant", "lines", "rewrite")
"""The amounts of code that an idea may touch."""
_BRIEF, _FILE = 2000, 6000
"""Maximum number of characters in the request: for program.md, and for a file that is shown whole."""
_ROWS = 20
FEWEST_OPEN = 2
EXPERIMENTS = 4
"""Number of experiments before the first refill, and between two refills.  New ideas should build on new results."""
MOST_READ = 16
"""Maximum number of ideas taken from one reply."""
_LONGEST_REPLY = 200_000
_HYPOTHESIS = 200
"""Maximum length of a hypothesis in the schema, in characters."""


def refill_due(folder: Path, history: History) -> bool:
    """Return whether a model should be asked for ideas.

    There must be fewer than FEWEST_OPEN open ideas, and at least EXPERIMENTS experiments after the last refill, even if
    this refill added no ideas.  Raises LedgerError when the journal cannot be read.
    """
    return _dry(read_backlog(folder, history)) and _done_since(refilled(folder), history) >= EXPERIMENTS


def refill_request(context: Context, known_axes: Sequence[str], count: int = 8) -> tuple[str, dict[str, Any]]:
    """Return the message that asks for ``count`` ideas on distinct axes, and the JSON schema of the answer."""
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
    """Return short files whole, and long files as an outline with their constants, which is enough for planning."""
    return "\n\n".join(_file(path, text) for path, text in context.files.items())


def _file(path: str, text: str) -> str:
    if len(text) <= _FILE:
        return f"{path}\n{block(tame(text), 'python' if path.endswith('.py') else '')}"
    outline = "\n".join(_outline(text)) or text
    shown = f"{path}, in outline:\n{block(tame(outline[:_FILE]))}"
    knobs = ", ".join(f"{k.name} = {literal(k.value)}" for k in read_knobs(text).values())
    return f"{shown}\nIts constants: {tame(knobs[:_FILE])}" if knobs else shown


def _outline(text: str) -> Iterator[str]:
    """Yield the heads of classes, methods and functions, each with the first line of its docstring."""
    try:
        tree = parse(text)
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
    tried = [e for e in history.experiments if e.number > 0 and was_tried(e)]
    lines = [
        f"- {e.number}: {cell(e.title)} (axis {axis_tried(e) or 'not known'}): {e.status}, gain {terms.gain(e.gain)}"
        for e in tried[-_ROWS:]
    ]
    older = f"\n{terms.plural(len(tried) - _ROWS, 'older experiment')} not shown." if len(tried) > _ROWS else ""
    return "\n".join(lines) + older


def _axes(context: Context, known: Sequence[str]) -> str:
    """Return the lines that name the axes to try, and the axes that are banned after several losses."""
    resting = banned(context.history, context.number)
    free = [f"{axis}{_belonging(axis, context)}" for axis in known if axis not in resting]
    lines = [f"Known: {', '.join(free)}."] if free else []
    lines += [f"These lost several times; leave them alone for now: {', '.join(sorted(resting))}."] if resting else []
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
        f"Give {count} ideas that have not been tried yet, each on a DIFFERENT axis: some small, some bold.\n"
        "title: the change itself in a few words, with names and values. hypothesis: why it should help here.\n"
        f"expected_gain: in {context.history.metric}, positive is better, null if you cannot say."
        f" cost: {', '.join(COSTS)}.\n"
        f"Answer with one JSON object and nothing else:\n{fields}",
    )


def _schema(count: int) -> dict[str, Any]:
    idea = closed_object(
        title=text_of(LONGEST_TITLE),
        axis=text_of(LONGEST_AXIS),
        hypothesis=text_of(_HYPOTHESIS),
        expected_gain={"type": ["number", "null"]},
        cost={"type": "string", "enum": list(COSTS)},
    )
    return closed_object(ideas={"type": "array", "items": idea, "minItems": 1, "maxItems": count})


def _dry(ideas: Sequence[Idea]) -> bool:
    return sum(idea.state == "open" for idea in ideas) < FEWEST_OPEN


def _done_since(time: str | None, history: History) -> int:
    done = [e for e in history.experiments if e.number > 0]
    return len(done) if time is None else sum(_moment(e.finished) > _moment(time) for e in done)


def _moment(time: str) -> float:
    """Return seconds since 1970; minus infinity for a text that is not a time."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except (ValueError, OverflowError, OSError):
        return -math.inf


def read_ideas(text: str) -> tuple[tuple[Draft, ...], str]:
    """Return the ideas in a reply, and a problem for the model; the problem is empty if every idea could be read.

    The reply may have fences and text around the JSON, contain several objects, or break off.  No text makes this
    function raise an error.
    """
    found = objects(text[:_LONGEST_REPLY])
    drafts = [draft for f in found if f.value is not None and (draft := _draft(f.value)) is not None]
    bad = len(found) - len(drafts)
    if not drafts:
        return (), 'There is no idea in the reply. Send {"ideas": [{"title": "...", "axis": "...", ...}]}'
    problem = f"{terms.plural(bad, 'idea')} could not be read: each needs a title." if bad else ""
    return tuple(drafts[:MOST_READ]), problem


def _draft(value: Mapping[str, Any]) -> Draft | None:
    """Return an object as a draft.  Wrong fields are ignored; without a title, return None."""
    good = {name: value[name] for name in NAMES if name in value and check({name: value[name]})[0] is not None}
    fields, _ = check(good)
    if fields is None or not own_words(fields.title):
        return None
    cost = value.get("cost")
    of_knobs = next((axis_of(name) for name in fields.knobs), None)
    return Draft(
        title=fields.title,
        axis=clean_axis(own_words(fields.axis or "")) or clean_axis(of_knobs) or axis_in(fields.title),
        hypothesis=terms.one_line(own_words(fields.hypothesis)),
        expected=fields.expected_gain,
        cost=cost if isinstance(cost, str) and cost in COSTS else None,
        knobs=fields.knobs,
    )
