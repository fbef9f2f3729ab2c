"""Define an idea: as a draft before it enters the backlog, and as an entry of the backlog."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from autoresearch_mlx.agents.ideas.axis_names import axis_in, clean_axis, title_key
from autoresearch_mlx.terms import one_line

MOST_OPEN = 16
"""Number of open ideas at which the backlog is full; only the user may add more."""
LONGEST_TITLE, _TEXT = 120, 1000
State: TypeAlias = Literal["open", "taken", "done", "dropped"]
YOU, MODEL, H100 = "you", "model:", "H100"
"""Sources of ideas: the user, a model (its name follows the colon), the H100's table."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An idea before it enters the backlog."""

    title: str
    axis: str | None = None
    hypothesis: str = ""
    expected: float | None = None
    """The gain that the author expects, in the metric's unit; positive is better."""
    cost: str | None = None
    """The amount of code that the idea touches, in the author's words."""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """New values of constants as ``{name: value}``; empty for a change of code."""


@dataclass(frozen=True, slots=True)
class Idea:
    """One idea in the backlog.  ``experiment`` is the number of the experiment that took the idea."""

    id: int
    axis: str | None
    title: str
    hypothesis: str
    expected: float | None
    source: str
    added: str
    state: State = "open"
    experiment: int | None = None
    cost: str | None = None
    knobs: Mapping[str, Any] = field(default_factory=dict)


def tidy(draft: Draft) -> Draft:
    """Return a cleaned draft: texts are cut to one line, the axis is normalised, and infinite numbers are removed."""
    return Draft(
        title=_line(draft.title, LONGEST_TITLE),
        axis=clean_axis(draft.axis) or axis_in(draft.title),
        hypothesis=_line(draft.hypothesis, _TEXT),
        expected=finite(draft.expected),
        cost=_line(draft.cost, LONGEST_TITLE) if draft.cost else None,
        knobs=_plain(draft.knobs),
    )


def finite(number: Any) -> float | None:
    """Return a finite number as a float; None for anything else."""
    try:
        return float(number) if type(number) in (int, float) and math.isfinite(number) else None
    except OverflowError:
        return None


def _plain(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as JSON stores them; an empty dict when JSON cannot store all values."""
    try:
        return dict(json.loads(json.dumps(knobs, allow_nan=False)))
    except (TypeError, ValueError, RecursionError):
        return {}


def _line(text: str, most: int) -> str:
    line = one_line(text[: 10 * most])
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def distinct_axes_first(drafts: Iterable[Draft], ideas: Sequence[Idea]) -> list[Draft]:
    """Return the drafts in a new order: first a draft for each axis without an open idea, then all other drafts."""
    seen = {idea.axis for idea in ideas if idea.state == "open"}
    first: list[Draft] = []
    later: list[Draft] = []
    for draft in drafts:
        (later if draft.axis in seen else first).append(draft)
        seen.add(draft.axis)
    return first + later


def welcome(draft: Draft, ideas: Sequence[Idea], source: str) -> bool:
    """Return whether a cleaned draft may be added to the backlog."""
    if not draft.title:
        return False
    if source == YOU:
        return not any(i.state == "open" and i.source == YOU and same(draft, i) for i in ideas)
    room = sum(idea.state == "open" for idea in ideas) < MOST_OPEN
    return room and not any(same(draft, idea) for idea in ideas)


def same(draft: Draft, idea: Idea) -> bool:
    """Return whether a draft and an idea have the same title, or the same axis and the same values of knobs."""
    if title_key(draft.title) == title_key(idea.title):
        return True
    return bool(draft.knobs) and draft.axis == idea.axis and draft.knobs == idea.knobs
