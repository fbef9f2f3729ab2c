"""Print the backlog as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from autoresearch_mlx import terms
from autoresearch_mlx.agents.ideas.idea import Idea

_AXIS, _SOURCE = 24, 30
_LEAST = 20
"""Smallest width of a title in columns, even in a narrow terminal."""


def render_ideas(ideas: Sequence[Idea], all_ideas: int, width: int) -> str:
    """Return a row for each idea, oldest first, with titles cut to the width.

    ``all_ideas`` is the number of all ideas of the backlog; a note says how many are not in ``ideas``.
    """
    hidden = all_ideas - len(ideas)
    note = f"{terms.plural(hidden, 'idea')} done or dropped: --all shows them" if hidden else ""
    if not ideas:
        return f"no open ideas; {note}" if note else "no ideas yet"
    rows = [("id", "axis", "source", "state", "title"), *(_row(idea) for idea in ideas)]
    lines = terms.table([[*row[:4], "|"] for row in rows], left=(1, 2, 3))
    room = max(width - terms.columns(lines[0]) + 1, _LEAST)
    lines = [line[:-1] + terms.cut(row[4], room) for line, row in zip(lines, rows, strict=True)]
    return "\n".join([*lines, *(["", note] if note else [])])


def _row(idea: Idea) -> tuple[str, ...]:
    state = f"{idea.state} (#{idea.experiment})" if idea.experiment is not None else idea.state
    axis = terms.cut(idea.axis or terms.UNKNOWN, _AXIS)
    return str(idea.id), axis, terms.cut(terms.one_line(idea.source), _SOURCE), state, terms.one_line(idea.title)
