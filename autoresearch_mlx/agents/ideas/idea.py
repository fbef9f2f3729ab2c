"""One idea: before it is in the backlog, and in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["open", "taken", "done", "dropped"]

YOU, MODEL, H100 = "you", "model:", "H100"
"""Sources: the person, a model (its name behind the colon), the H100's table."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An idea before it is in the backlog."""

    title: str
    axis: str | None = None
    hypothesis: str = ""
    expected: float | None = None
    """Gain that its author expects, in the metric's unit; positive is better."""
    cost: str | None = None
    """How much of the code it touches, in its author's words."""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """``{name: new value}`` where it is a change of constants."""


@dataclass(frozen=True, slots=True)
class Idea:
    """One idea of the backlog.  ``experiment``: the number of the one that took it up."""

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
