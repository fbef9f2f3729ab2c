"""Make the example of an answer from the lab's own knobs, and recognise a copy of the example in a reply.

Small models copy examples.  If the example is about another program, a small model proposes a knob, a title or an axis
of that program.  Such names mean nothing in the lab.  So the example is about a knob of the lab, and a copy of the
example is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from autoresearch_mlx.agents.knobs.space import Dimension, read_space
from autoresearch_mlx.lab.source import axis_of, describe

OTHER_TITLE, OTHER_AXIS, OTHER_WHY = "pour twice", "pouring", "Less runs over."
"""Fields of the example for a lab without knobs; this example is about another program."""
WHY = "It should do more in the same time."
_FINE = 0.1
"""If a step of 1 is at most this share of an integer knob's range, the example's value is the far end of the range.  A
model would hardly propose this value by itself."""
_STEP = 0.037
"""Distance from the present value to the example's value, as a share of the knob's range.  A model would hardly propose
exactly this distance by itself, so a copy of the example is recognised."""


@dataclass(frozen=True, slots=True)
class Example:
    """A change of a knob of the lab, for the example in the prompt."""

    path: str
    knob: str
    before: Any
    after: Any

    @property
    def title(self) -> str:
        return describe({self.knob: (self.before, self.after)})

    def fields(self, knobs: Any) -> str:
        """Return the example's fields as JSON, with the given ``knobs``."""
        found = {"title": self.title, "axis": axis_of(self.knob), "hypothesis": WHY, "expected_gain": 0.001}
        return json.dumps({**found, "knobs": knobs})


def example_for(files: Mapping[str, str]) -> Example | None:
    """Return the example for these files; None when the files have no knob that may move."""
    return _example(tuple(sorted(files.items())))


@lru_cache(maxsize=16)  # cached, because every message needs the example
def _example(files: tuple[tuple[str, str], ...]) -> Example | None:
    dimensions = read_space(dict(files)).dimensions
    chosen = min(dimensions, key=lambda d: (d.tick, not isinstance(d.value, float)), default=None)
    return Example(chosen.path, chosen.knob, chosen.value, _after(chosen)) if chosen is not None else None


def _after(d: Dimension) -> Any:
    """Return a value that a model would hardly propose; return the present value if there is no such value."""
    here = d.unit(d.value)
    if not d.tick:
        return d.at(here + _STEP if here < 0.9 else here - _STEP)
    return d.at(1.0 if here < 0.5 else 0.0) if d.tick <= _FINE else d.value


def sample(files: Mapping[str, str]) -> str:
    """Return a JSON object with all fields, as an example for a message about a bad answer."""
    found = example_for(files)
    if found is None:
        return (
            f'{{"title": "{OTHER_TITLE}", "axis": "{OTHER_AXIS}", "hypothesis": "{OTHER_WHY}", '
            '"expected_gain": 0.01, "knobs": {}}'
        )
    return found.fields({found.knob: found.after})


def is_copy(files: Mapping[str, str], changes: Mapping[str, tuple[Any, Any]]) -> bool:
    """Return whether these changes of knobs are exactly the change of the example."""
    found = example_for(files)
    return found is not None and dict(changes) == {found.knob: (found.before, found.after)}


PLACEHOLDERS = frozenset({OTHER_TITLE, OTHER_AXIS, OTHER_WHY.lower(), WHY.lower(), "name", "why it should help", "..."})
"""Texts of the prompt, in lower case, that do not count as a title, axis or reason when a reply repeats them."""


def own_words(text: str) -> str:
    """Return the text, or an empty string if the text only repeats a placeholder of the prompt."""
    return "" if text.strip().lower() in PLACEHOLDERS else text
