"""A backlog that runs dry is filled again: by a model, asked for several ideas at once, or from the H100's table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.agents.edits.fields import check
from autoresearch_mlx.agents.edits.objects import NAMES, objects
from autoresearch_mlx.agents.ideas.backlog import read_backlog, refilled
from autoresearch_mlx.agents.ideas.idea import MODEL, Draft, Idea
from autoresearch_mlx.agents.ideas.request import COSTS, refill_request
from autoresearch_mlx.agents.ideas.table import h100_ideas
from autoresearch_mlx.agents.ideas.words import axis_in, clean_axis
from autoresearch_mlx.experiment import History
from autoresearch_mlx.lab.axes import axis_of

__all__ = ["h100_ideas", "read_ideas", "refill_due", "refill_request", "wants_refill"]

FEWEST_OPEN = 2
EXPERIMENTS = 4
"""Experiments between two refills, and before the first: what they showed is what new ideas are made of."""
MOST_READ = 16
"""Ideas that one reply may bring."""
_LONGEST_REPLY = 200_000


def wants_refill(ideas: Sequence[Idea], history: History) -> bool:
    """Whether fewer than two ideas are open and some experiments were done since a model's last idea came in."""
    added = [idea.added for idea in ideas if idea.source.startswith(MODEL)]
    return _dry(ideas) and _done_since(max(added, key=_moment, default=None), history) >= EXPERIMENTS


def refill_due(folder: Path, history: History) -> bool:
    """The same from the journal, which also knows of a refill that brought nothing.  Raises LedgerError."""
    return _dry(read_backlog(folder, history)) and _done_since(refilled(folder), history) >= EXPERIMENTS


def _dry(ideas: Sequence[Idea]) -> bool:
    return sum(idea.state == "open" for idea in ideas) < FEWEST_OPEN


def _done_since(time: str | None, history: History) -> int:
    done = [e for e in history.experiments if e.number > 0]
    return len(done) if time is None else sum(_moment(e.finished) > _moment(time) for e in done)


def _moment(time: str) -> float:
    """Seconds since 1970; minus infinity for what is no time."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except (ValueError, OverflowError, OSError):
        return -math.inf


def read_ideas(text: str) -> tuple[tuple[Draft, ...], str]:
    """The ideas in a reply, and what is wrong in words for its author; "" when every idea could be read.

    Tolerant: fences and talk around the JSON, several objects, a reply that broke off.  Never raises.
    """
    found = objects(text[:_LONGEST_REPLY])
    drafts = [draft for f in found if f.value is not None and (draft := _draft(f.value)) is not None]
    bad = len(found) - len(drafts)
    if not drafts:
        return (), 'There is no idea in the reply. Send {"ideas": [{"title": "...", "axis": "...", ...}]}'
    problem = f"{terms.plural(bad, 'idea')} could not be read: each needs a title." if bad else ""
    return tuple(drafts[:MOST_READ]), problem


def _draft(value: Mapping[str, Any]) -> Draft | None:
    """An object as a draft; a field that is wrong costs the field, not the idea, unless it is the title."""
    good = {name: value[name] for name in NAMES if name in value and check({name: value[name]})[0] is not None}
    fields, _ = check(good)
    if fields is None or not fields.title:
        return None
    cost = value.get("cost")
    of_knobs = next((axis_of(name) for name in fields.knobs), None)
    return Draft(
        title=fields.title,
        axis=clean_axis(fields.axis) or clean_axis(of_knobs) or axis_in(fields.title),
        hypothesis=terms.one_line(fields.hypothesis),
        expected=fields.expected_gain,
        cost=cost if isinstance(cost, str) and cost in COSTS else None,
        knobs=fields.knobs,
    )
