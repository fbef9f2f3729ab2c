"""Read a one-line description of an experiment: its axis, its knobs, and their values before and after.

Only a line that is understood whole is read: ``matrix LR 0.04 -> 0.06``, ``halve batch to 2^14``, ``WARMDOWN_RATIO=0.7
(slightly worse)``.  A line with words or figures that may be a further change gets the axis ``other`` and no knobs, so
that it is never laid beside a change that it may not be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoresearch_mlx.compare.fillers import CODE_FILLERS, only_fillers, without_verdicts
from autoresearch_mlx.compare.match import ONE_CHANGE
from autoresearch_mlx.compare.phrases import CODE, NAMES, REMOVALS, REPEAT
from autoresearch_mlx.compare.remarks import Line, split_line
from autoresearch_mlx.compare.values import read_value
from autoresearch_mlx.experiment import KnobChanges
from autoresearch_mlx.lab.source import axis_of

OTHER = "other"
BASELINE = "baseline"
SEVERAL = "several changes at once"
_PATTERNS = re.compile(
    r"\b(?P<was>[SL]{2,8})\s*(?:->|→|to)\s*(?P<now>[SL]{1,8})\b|\b(?P<only>[SL]{2,8})\b|=\s*(?P<one>[SL])\b"
)
_WINDOW = re.compile(r"\b(?:window[ _]pattern|windows?|pattern|attention|sliding)\b")
_BETAS = re.compile(r"ADAM_BETAS\s*=\s*\(([\d.]+), ?([\d.]+)\)")
_REPLACED = re.compile(r"\b(?:replace|switch|instead of)\b", re.IGNORECASE)
_OLD = re.compile(r"\breplace .* with\b|\bfrom\s+[a-z ]+ to\b|\binstead of\b.*$", re.IGNORECASE)
_NEGATION = re.compile(
    r"\b(?:no|not|without|revert\w*|undo\w*|remov\w*|disabl\w*|drop(?:s|ped|ping)?(?! ?out)|"
    r"skip\w*|minus|except|un-?t(?:ie[sd]?|ying)|restor\w*)\b"
)
_MEMORY = frozenset({"DEVICE_BATCH_SIZE"})
_AMOUNT = {
    "loss.smoothing": re.compile(r"(?<=\s)0?\.\d+\b(?!\s*(?:->|→|to))"),
    "loss.z": re.compile(r"(?<=\s)(?:1e-\d+|0?\.\d+)\b(?!\s*(?:->|→|to))"),
    "optimizer.clip": re.compile(r"\b(?:max_norm\s*=?\s*|at )?\d+(?:\.\d+)?\b(?!\s*(?:->|→|to))"),
}
"""The figure that belongs to a change of code, by its axis."""
_AXES = {"ADAM_BETA1": "adam.betas", "ADAM_BETA2": "adam.betas"}
_HOLE = "¦"
"""Stands in a text where a change was read; nothing but an end of a word may follow it."""


@dataclass(frozen=True, slots=True)
class Described:
    """The change in a description.  ``note`` is in our own words; empty if the knobs say everything."""

    axis: str
    changes: KnobChanges
    note: str = ""
    mentioned: KnobChanges = field(default_factory=dict)
    """Knobs of a line that is not understood whole: what it says of them; a value of None is not known."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of a line: changes of knobs, or (axis, note) of changed code, or neither for words without a change."""

    changes: KnobChanges = field(default_factory=dict)
    code: tuple[str, str] | None = None
    clear: bool = True


def read_description(text: str, standing: Mapping[str, Any] | None = None) -> Described:
    """Return the change that a description states.

    ``standing`` has the known values before the change.  A value that is neither there nor in the line is None.  Never
    raises.
    """
    known = dict(standing or {})
    line = split_line(text)
    told = _read(line, text, known)
    unchanged = not told.changes and told.axis in (OTHER, BASELINE) and not (told.note == SEVERAL and told.mentioned)
    if unchanged and REPEAT.search(text.lower()):
        return Described("repeat", {}, "the same again: it shows noise")
    return told


def _read(line: Line, text: str, known: dict[str, Any]) -> Described:
    # A width is the consequence of ASPECT_RATIO where the line gives that too.
    given = {name for piece in line.sets for name, *_ in _places(piece.lower())}
    pieces = [line.main] if _REPLACED.search(line.main) else line.parts
    parts = [_part(piece, known, "ASPECT_RATIO" in given) for piece in pieces if not _repeats(piece, given)]
    changes: dict[str, tuple[Any, Any]] = {}
    for part in parts:
        changes |= part.changes
    if betas := _BETAS.search(text):
        changes["ADAM_BETAS"] = (known.get("ADAM_BETAS"), (float(betas[1]), float(betas[2])))
        parts = [part for part in parts if part.clear]
    clear = all(part.clear for part in parts) and not (line.more and any(part.changes or part.code for part in parts))
    changes = _with_old_value(changes, line)
    for piece in line.sets:  # an aside adds to what the line itself says, and never overwrites it
        aside = _part(piece, known, True)
        clear = clear and (aside.clear or set(changes) >= {name for name, *_ in _places(piece.lower())} != set())
        changes |= {name: pair for name, pair in aside.changes.items() if name not in changes}
    extra = [_part(remark, known, True) for remark in line.remarks if _states_a_change(remark)]
    clear = clear and not any(part.changes.keys() - changes.keys() - _MEMORY for part in extra if _moves(part))
    clear = clear and not any(not part.clear for part in extra)
    changed = {name: pair for name, pair in changes.items() if pair[0] != pair[1]}
    codes = [part.code for part in parts if part.code]
    if clear:
        return _described(changed, codes)
    joined = len(pieces) > 1 or bool(changes or codes or line.sets)
    return Described(OTHER, {}, SEVERAL if joined else "", _mentioned(line, changed))


def read_descriptions(
    lines: Iterable[tuple[str, bool]], standing: Mapping[str, Any] | None = None
) -> tuple[Described, ...]:
    """Return the changes in a whole log; lines are (description, whether it was kept), the baseline first.

    A knob's value before a change is the one that the last keep gave it.  If no keep moved it, its value is taken from
    the first line that names an old value.
    """
    rows = list(lines)
    known = {**_opening(rows), **(standing or {})}
    found: list[Described] = []
    made: set[str] = set()
    for at, (text, kept) in enumerate(rows):
        told = read_description(text, known)
        if told.axis in made:
            told = Described(OTHER, {}, "")  # what was kept before cannot be made once more: this is a variant of it
        if kept:
            known |= _ends(told)
            made |= {told.axis} & ONE_CHANGE
        if at == 0 and kept:
            told = Described(BASELINE, {}, "as it was")
        found.append(told)
    return tuple(found)


def _opening(rows: Sequence[tuple[str, bool]]) -> dict[str, Any]:
    """Return the value of each knob at the start of the log, if a line states it."""
    opening: dict[str, Any] = {}
    moved: set[str] = set()
    for text, kept in rows:
        told = read_description(text)
        for name, (was, _) in told.changes.items():
            if was is not None and name not in moved:
                opening.setdefault(name, was)
        if kept:
            moved |= {*told.changes, *told.mentioned}
    return opening


def _ends(told: Described) -> dict[str, Any]:
    return {name: now for name, (_, now) in {**told.mentioned, **told.changes}.items()}


def _described(changed: Mapping[str, tuple[Any, Any]], codes: Sequence[tuple[str, str]]) -> Described:
    if codes and changed and any(axis != axis_of(_leading(changed)) for axis, _ in codes):
        return Described(OTHER, {}, SEVERAL, changed)
    if changed:
        leading = _leading(changed)
        return Described(_AXES.get(leading) or axis_of(leading), changed)
    if len({axis for axis, _ in codes}) == 1 and (len(codes) == 1 or codes[0][0] not in ONE_CHANGE):
        return Described(codes[0][0], {}, codes[0][1])
    return Described(OTHER, {}, SEVERAL if codes else "")


def _leading(changes: Mapping[str, Any]) -> str:
    """Return the knob that names the axis; the device's batch size does so only if it is the only knob."""
    return next((name for name in changes if name != "DEVICE_BATCH_SIZE"), "DEVICE_BATCH_SIZE")


def _mentioned(line: Line, changed: KnobChanges) -> KnobChanges:
    """Return what a line that is not understood says of knobs: the values that could be read, None for the others."""
    named = {name: (None, None) for piece in (line.main, *line.sets) for name, *_ in _places(piece.lower())}
    return {**named, **changed}


def _repeats(piece: str, given: set[str]) -> bool:
    """Return whether a part only names what an aside gives: ``halve batch (TOTAL_BATCH_SIZE=2^13)``."""
    lower = piece.lower()
    places = list(_places(lower))
    rest = "".join(c for at, c in enumerate(lower) if not any(start <= at < end for _, start, end in places))
    return bool(places) and {name for name, *_ in places} <= given and only_fillers(rest)


def _part(text: str, known: Mapping[str, Any], width_follows: bool = False) -> _Part:
    """Read one part, such as ``depth 9 aspect_ratio 57`` or ``SwiGLU MLP``."""
    if window := _window(text, known):
        return window
    lower = text.lower()
    places = list(_places(lower))
    if places and (found := _knobs(lower, places, known, width_follows)) is not None:
        return found
    if code := _code(lower):
        return code
    return _Part(clear=not places and only_fillers(_WIDTH.sub(" ", lower) if width_follows else lower))


def _knobs(
    text: str, places: Sequence[tuple[str, int, int]], known: Mapping[str, Any], width_follows: bool
) -> _Part | None:
    """Return all knobs of one part; None if one of them has no value that can be read."""
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
    return _Part(changes, clear=not torn and not _negated(rest) and only_fillers(rest))


_WIN = re.compile(r"\bwin(?:dow)?=([sl]{1,8})\b")
_WIDTH = re.compile(r"\b(?:model[ _])?(?:width|dim|n_embd|model)\s*(?:=|to|of)?\s*\d+(?: dim)?\b")
_TORN = re.compile(rf"{_HOLE}[^\s{_HOLE},.;:!)]|[\w-]{_HOLE}")
_REMOVED_KNOB = re.compile(r"\b(?:remove|no)\b")


def _negated(text: str) -> bool:
    """Return whether a text takes something away or back; a verdict such as "no gain" does not."""
    return _NEGATION.search(without_verdicts(text)) is not None


def _places(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield (knob, start, end) of the names in a text, from left to right, none inside another."""
    taken: list[tuple[str, int, int]] = []
    for name, pattern in NAMES:
        for match in pattern.finditer(text):
            if not any(match.start() < end and start < match.end() for _, start, end in taken):
                taken.append((name, match.start(), match.end()))
    return iter(sorted(taken, key=lambda place: place[1]))


def _with_old_value(changes: dict[str, tuple[Any, Any]], line: Line) -> dict[str, tuple[Any, Any]]:
    """Return the changes, with the old value if parentheses give it: ``x0_init 0.05 (reduce from 0.1)``."""
    if len(changes) == 1:
        [(name, (was, now))] = changes.items()
        for aside in line.asides:
            match = _WAS.search(aside.lower())
            read = match and read_value(name, f" {match['was']} to {match['now'] or now}", (0, 0, 0, 99), {})
            if read and was is None and read.now == now:
                return {name: (read.was, now)}
    return changes


_FIGURE = r"(?:2\s?(?:\^|\*\*)\s?\d+|\d+\.?\d*[k%x]?)"
_WAS = re.compile(rf"\b(?:from|was|instead of) (?P<was>{_FIGURE})(?: to (?P<now>{_FIGURE}))?")
_STATED = re.compile(rf"\s*(?:=\s*{_FIGURE}|:?\s*{_FIGURE}\s*(?:->|→|to)\s*{_FIGURE})")
_OTHER_RATE = re.compile(
    rf"\b(?:lrs?|learning rates?|betas?|dropout|momentum)\s*"
    rf"(?:x\s?[\d.]+|[\d.]+x|=\s*[\d.]+|{_FIGURE}\s*(?:->|→)\s*{_FIGURE})"
)
_CONSTANT = re.compile(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9]\b|\b[A-Z]{4,}\b")


def _states_a_change(remark: str) -> bool:
    """Return whether a remark gives a constant a value, as in ``DEPTH 8->9; MATRIX_LR=0.03``."""
    lower = remark.lower()
    if _OTHER_RATE.search(lower):
        return True
    ends = [end for _, _, end in _places(lower)] + [match.end() for match in _CONSTANT.finditer(remark)]
    return any(_STATED.match(lower, end) for end in ends)


def _moves(part: _Part) -> bool:
    return any(was != now for was, now in part.changes.values())


def _window(part: str, known: Mapping[str, Any]) -> _Part | None:
    match = _PATTERNS.search(part)
    lower = part.lower()
    if match is None or (not re.search(r"window|pattern|full|attention|sliding", lower) and not match["was"]):
        return None
    now = match["now"] or match["only"] or match["one"]
    rest = _WINDOW.sub(" ", (part[: match.start()] + " " + part[match.end() :]).lower())
    pair = (match["was"] or known.get("WINDOW_PATTERN"), now)
    return _Part({"WINDOW_PATTERN": pair}, clear=only_fillers(rest) and not _negated(rest))


def _code(part: str) -> _Part | None:
    text = _OLD.sub(" ", part)
    for pattern, axis, note in CODE:
        if match := pattern.search(text):
            rest = text[: match.start()] + " " + text[match.end() :]
            if _WAS_THERE.search(text[: match.start()]) or text[: match.start()].endswith("-"):
                return _Part(clear=False)
            return _Part(code=(axis, note), clear=_one_change_of_code(axis, text, rest))
    return None


_WAS_THERE = re.compile(r"\b(?:replac\w*|from|instead of)\s+(?:\w+\s+){0,3}$")
"""Words before the name of something that is taken away."""
_PARTS = frozenset(("value_embedding", "residual.x0", "residual.resid"))
_OF_A_PART = re.compile(r"\b(?:lrs?|rates?|wd|decay|betas?\d?|std)\b")
"""Settings of a part of the model, which have axes of their own: the rate of the value embeddings, say."""


def _one_change_of_code(axis: str, text: str, rest: str) -> bool:
    """Return whether a line names this change of code, not its opposite, and nothing that may be another change."""
    negations = len(_NEGATION.findall(without_verdicts(text)))
    if (axis in REMOVALS.always and negations != 1) or (axis in REMOVALS.never and negations):
        return False
    if axis in _PARTS and _OF_A_PART.search(rest):
        return False
    if axis in ONE_CHANGE:
        amount = _AMOUNT.get(axis)
        return only_fillers(_NEGATION.sub(" ", amount.sub(" ", rest, 1) if amount else rest), CODE_FILLERS)
    words = " ".join(word for word in re.findall(r"\S+", rest) if word.strip(",.;:") not in CODE_FILLERS)
    return not any(_places(words)) and not any(
        other != axis and pattern.search(rest) and other != BASELINE for pattern, other, _ in CODE if axis != BASELINE
    )
