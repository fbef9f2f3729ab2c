"""An idea that a person types: checked before it is in the backlog."""

from __future__ import annotations

from pathlib import Path

from autoresearch_mlx.agents.ideas.backlog import YOU, Draft, Idea, add_ideas, same_open
from autoresearch_mlx.agents.ideas.novelty import LONGEST_TITLE
from autoresearch_mlx.agents.ideas.words import clean_axis
from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.terms import one_line


def add_yours(folder: Path, title: str, axis: str | None = None, why: str = "") -> Idea:
    """Add an idea of the person's.

    Raises ConfigError for what is no title, no axis, or open already; LedgerError when it cannot be written.
    """
    title = _title(title)
    if axis is not None and clean_axis(axis) != axis:
        raise ConfigError(f"{axis!r} names no axis", "lower-case words joined by dots, such as lr.matrix")
    added = add_ideas(folder, [Draft(title, axis, why)], YOU)
    if not added:
        known = same_open(folder, title, YOU)
        which = f"idea {known.id}" if known is not None else "an idea of yours"
        raise ConfigError(f"{which} says that already", "`autoresearch-mlx ideas` lists what is open")
    return added[0]


def _title(text: str) -> str:
    title = one_line(text)
    if not title:
        hint = 'for example: autoresearch-mlx ideas add "halve the batch" --axis batch'
        raise ConfigError("an idea needs a title", hint)
    if len(title) > LONGEST_TITLE:
        said = f"a title has at most {LONGEST_TITLE} characters, this one has {len(title)}"
        raise ConfigError(said, "say the rest with --why")
    return title
