"""Read one statement of a description, such as ``depth 9 aspect_ratio 57``, ``SSSL pattern`` or ``SwiGLU MLP``.

A statement is clear if it names one change and all its other words are comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoresearch_mlx.compare.fillers import CODE_FILLERS, only_fillers, without_verdicts
from autoresearch_mlx.compare.match import ONE_CHANGE
from autoresearch_mlx.compare.phrases import CODE, NAMES, REMOVALS
from autoresearch_mlx.compare.values import read_value
from autoresearch_mlx.experiment import KnobChanges

BASELINE = "baseline"
_PATTERNS = re.compile(
    r"\b(?P<was>[SL]{2,8})\s*(?:->|→|to)\s*(?P<now>[SL]{1,8})\b|\b(?P<only>[SL]{2,8})\b|=\s*(?P<one>[SL])\b"
)
_WINDOW = re.compile(r"\b(?:window[ _]pattern|windows?|pattern|attention|sliding)\b")
_OLD = re.compile(r"\breplace .* with\b|\bfrom\s+[a-z ]+ to\b|\binstead of\b.*$", re.IGNORECASE)
_NEGATION = re.compile(
    r"\b(?:no|not|without|revert\w*|undo\w*|remov\w*|disabl\w*|drop(?:s|ped|ping)?(?! ?out)|"
    r"skip\w*|minus|except|un-?t(?:ie[sd]?|ying)|restor\w*)\b"
)
_AMOUNT = {
    "loss.smoothing": re.compile(r"(?<=\s)0?\.\d+\b(?!\s*(?:->|→|to))"),
    "loss.z": re.compile(r"(?<=\s)(?:1e-\d+|0?\.\d+)\b(?!\s*(?:->|→|to))"),
    "optimizer.clip": re.compile(r"\b(?:max_norm\s*=?\s*|at )?\d+(?:\.\d+)?\b(?!\s*(?:->|→|to))"),
}
"""For an axis of code: the pattern of the figure that people give with a change on this axis."""
_HOLE = "¦"
"""Placeholder for a change that was already read at this place in the text.  A statement with letters directly beside
the placeholder is unclear."""


@dataclass(frozen=True, slots=True)
class Statement:
    """The change that a statement names: knobs, or code as (axis, note), or neither if the statement is only a comment.

    ``clear`` is False if the statement may name a different change, or more than one change.
    """

    changes: KnobChanges = field(default_factory=dict)
    code: tuple[str, str] | None = None
    clear: bool = True


def read_statement(text: str, known: Mapping[str, Any], width_follows: bool = False) -> Statement:
    """Return the change in a statement.

    ``known`` has the values of knobs before the change.  ``width_follows`` is True if another part of the line gives
    ASPECT_RATIO, so that a width in this statement is no change of its own.  Never raises.
    """
    if window := _window(text, known):
        return window
    lower = text.lower()
    places = list(names_in(lower))
    if places and (found := _knobs(lower, places, known, width_follows)) is not None:
        return found
    if code := _code(lower):
        return code
    return Statement(clear=not places and only_fillers(_WIDTH.sub(" ", lower) if width_follows else lower))


def _knobs(
    text: str, places: Sequence[tuple[str, int, int]], known: Mapping[str, Any], width_follows: bool
) -> Statement | None:
    """Return a statement with all knobs that are named at ``places``, or None if the value of a knob cannot be read."""
    changes: dict[str, tuple[Any, Any]] = {}
    left, opens = text, 0
    for at, (name, start, end) in enumerate(places):
        stop = places[at + 1][1] if at + 1 < len(places) else len(text)
        read = read_value(name, text, (opens, start, end, stop), known)
        if read is None or read.knob in changes:
            return None
        changes[read.knob] = read.was, read.now
        left = left[: read.start] + _HOLE * (read.end - read.start) + left[read.end :]
        opens = read.end
    if match := _WIN.search(left):
        changes["WINDOW_PATTERN"] = known.get("WINDOW_PATTERN"), match[1].upper()
        left = _WIN.sub(_HOLE, left)
    if width_follows or "ASPECT_RATIO" in changes:
        left = _WIDTH.sub(" ", left)
    torn = _TORN.search(left) is not None
    rest = re.sub(f"{_HOLE}+", " ", left)
    rest = _REMOVED_KNOB.sub(" ", rest) if any(now == 0 for _, now in changes.values()) else rest
    return Statement(changes, clear=not torn and not _negated(rest) and only_fillers(rest))


_WIN = re.compile(r"\bwin(?:dow)?=([sl]{1,8})\b")
_WIDTH = re.compile(r"\b(?:model[ _])?(?:width|dim|n_embd|model)\s*(?:=|to|of)?\s*\d+(?: dim)?\b")
_TORN = re.compile(rf"{_HOLE}[^\s{_HOLE},.;:!)]|[\w-]{_HOLE}")
_REMOVED_KNOB = re.compile(r"\b(?:remove|no)\b")


def _negated(text: str) -> bool:
    """Return whether a text says that something is removed or reverted; a verdict such as "no gain" is ignored."""
    return _NEGATION.search(without_verdicts(text)) is not None


def names_in(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield (knob, start, end) for each name of a knob in a text, from left to right.  The names do not overlap."""
    taken: list[tuple[str, int, int]] = []
    for name, pattern in NAMES:
        for match in pattern.finditer(text):
            if not any(match.start() < end and start < match.end() for _, start, end in taken):
                taken.append((name, match.start(), match.end()))
    return iter(sorted(taken, key=lambda place: place[1]))


def _window(part: str, known: Mapping[str, Any]) -> Statement | None:
    match = _PATTERNS.search(part)
    lower = part.lower()
    if match is None or (not re.search(r"window|pattern|full|attention|sliding", lower) and not match["was"]):
        return None
    now = match["now"] or match["only"] or match["one"]
    rest = _WINDOW.sub(" ", (part[: match.start()] + " " + part[match.end() :]).lower())
    pair = (match["was"] or known.get("WINDOW_PATTERN"), now)
    return Statement({"WINDOW_PATTERN": pair}, clear=only_fillers(rest) and not _negated(rest))


def _code(part: str) -> Statement | None:
    text = _OLD.sub(" ", part)
    for pattern, axis, note in CODE:
        if match := pattern.search(text):
            rest = text[: match.start()] + " " + text[match.end() :]
            if _WAS_THERE.search(text[: match.start()]) or text[: match.start()].endswith("-"):
                return Statement(clear=False)
            return Statement(code=(axis, note), clear=_one_change_of_code(axis, text, rest))
    return None


_WAS_THERE = re.compile(r"\b(?:replac\w*|from|instead of)\s+(?:\w+\s+){0,3}$")
"""Words before the name of something that the change removes."""
_PARTS = frozenset(("value_embedding", "residual.x0", "residual.resid"))
_OF_A_RATE = re.compile(r"\b(?:lrs?|warmup|warmdown|momentum|ramp)\b")
"""Words which show that a "window" belongs to the schedule, not to attention."""
_OF_A_PART = re.compile(r"\b(?:lrs?|rates?|wd|decay|betas?\d?|std)\b")
"""Settings of a part of the model that have axes of their own, such as the learning rate of the value embeddings."""


def _one_change_of_code(axis: str, text: str, rest: str) -> bool:
    """Return whether a line names this change of code alone: not the opposite change, and no possible second change."""
    negations = len(_NEGATION.findall(without_verdicts(text)))
    if (axis in REMOVALS.always and negations != 1) or (axis in REMOVALS.never and negations):
        return False
    if (axis in _PARTS and _OF_A_PART.search(rest)) or (axis.startswith("attention.") and _OF_A_RATE.search(rest)):
        return False
    if axis in ONE_CHANGE:
        amount = _AMOUNT.get(axis)
        return only_fillers(_NEGATION.sub(" ", amount.sub(" ", rest, 1) if amount else rest), CODE_FILLERS)
    words = " ".join(word for word in re.findall(r"\S+", rest) if word.strip(",.;:") not in CODE_FILLERS)
    return not any(names_in(words)) and not any(
        other != axis and pattern.search(rest) and other != BASELINE for pattern, other, _ in CODE if axis != BASELINE
    )
