"""Read the number that a small model chose from a menu, and define the schemas of a choice and of knob values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from autoresearch_mlx.agents.edits.fields import MOST_CHANGES, text_of
from autoresearch_mlx.agents.edits.reply_parts import read_page
from autoresearch_mlx.agents.knobs.choices import KnobValues
from autoresearch_mlx.models.wire import closed_object
from autoresearch_mlx.terms import one_line

WHY = 200
"""Maximum length of a reason, in characters."""
SHORT_WHY = 120
"""Maximum length of the reason for a choice from a menu, in characters.  A short reason is enough, because the choice
is measured soon."""
_FIELD = re.compile(r'"?\bchoice"?\s*[:=]\s*"?(?:number\s*)?(\d{1,3})\b', re.IGNORECASE)
_FIRST = re.compile(
    r"\W*(?:(?:my|the|your) )?(?:i (?:would )?(?:choose|pick|select) )?(?:best )?"
    r"(?:answer|choice|number|line|option|change)?(?: is)?[\s:#*]*(\d{1,3})(?![\d.]*\d)",
    re.IGNORECASE,
)
_ANY = re.compile(r"(?<![\w.+-])(\d{1,3})(?![\w%]|\.\d)")
_WHY = re.compile(r'"why"\s*:\s*"((?:[^"\\]|\\.)*)', re.DOTALL)


def menu_schema(count: int) -> dict[str, Any]:
    """Return the schema of a choice among ``count`` entries.

    The number of the entry comes first, so that a reply that is cut off still contains the number.
    """
    return closed_object(choice={"type": "integer", "enum": list(range(1, count + 1))}, why=text_of(SHORT_WHY))


def values_schema(knobs: Sequence[KnobValues]) -> dict[str, Any]:
    """Return the schema of new values for knobs: for each knob, a branch lists the values that are offered."""
    branches = [
        closed_object(name={"type": "string", "enum": [k.name]}, value={"enum": [_plain(v) for v in k.values]})
        for k in knobs
    ]
    changes = {"type": "array", "items": {"anyOf": branches}, "minItems": 1, "maxItems": MOST_CHANGES}
    return closed_object(knobs=changes, hypothesis=text_of(WHY))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def read_choice(text: str, count: int) -> tuple[int | None, str, str]:
    """Return the chosen entry (1 to ``count``), the model's reason, and, if the reply chooses nothing, the problem.

    The number may be a field of an object or the beginning of the reply.  If the reply names only one entry, the number
    may be anywhere in the reply.
    """
    prose = read_page(text).prose or text
    named = _FIELD.search(prose) or _FIRST.match(prose)
    found = int(named[1]) if named is not None else _only(prose, count)
    if found is None or not 1 <= found <= count:
        wrong = "The reply names no entry." if found is None else f"There is no entry {found}."
        return None, "", f"{wrong} Answer with one number from 1 to {count}."
    why = _WHY.search(prose)
    return found, one_line(why[1] if why is not None else prose)[:WHY], ""


def _only(text: str, count: int) -> int | None:
    """Return the only entry that a text names; None if the text names no entry, or several entries."""
    found = {int(match[1]) for match in _ANY.finditer(text)}
    named = [number for number in found if 1 <= number <= count]
    return named[0] if len(named) == 1 else None
