"""Read a one-line description of an experiment: its axis, its knobs, and their values before and after.

Only plain statements are read: ``matrix LR 0.04 -> 0.06``, ``halve batch to 2^14``, ``WARMDOWN_RATIO=0.7``.
A line that does not say what changed gets the axis ``other`` and no knobs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoresearch_mlx.compare.phrases import CODE, NAMES, REPEAT
from autoresearch_mlx.experiment import KnobChanges
from autoresearch_mlx.lab.source import axis_of

OTHER = "other"
_PLAIN = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?(?![\^\d.])\s?(?:%|percent|[kx](?![a-z]))?"
_NUMBER = rf"(?:1/\d+|seq_len/\d+|2\s?(?:\^|\*\*)\s?\d+|{_PLAIN})"
_ARROW = r"(?:->|→|\bto\b)"
_FROM_TO = re.compile(
    rf"[\s:=]*(?:init |by |target |ratio )*(?:from\s+)?(?P<was>{_NUMBER})\s*{_ARROW}\s*(?P<now>{_NUMBER})"
)
_INSTEAD = re.compile(rf"[\s:=]*(?P<now>{_NUMBER}) instead of (?P<was>{_NUMBER})")
_TO = re.compile(
    rf"[\s:]*(?:size |again |ratio |expansion |width |ramp |start |init )*(?:=|to|of|at)?\s*(?P<now>{_NUMBER})"
)
_WAS = re.compile(rf"\b(?:from|was) (?P<was>{_NUMBER})(?: to (?P<now>{_NUMBER}))?")
_BEFORE = re.compile(rf"(?<![\^\w.])(?P<now>{_NUMBER})\s+(?:of\s+)?$")
_PATTERNS = re.compile(
    r"\b(?P<was>[SL]{2,8})\s*(?:->|→|to)\s*(?P<now>[SL]{1,8})\b|\b(?P<only>[SL]{2,8})\b|=\s*(?P<one>[SL])\b"
)
_VERBS = ((re.compile(r"\bhalv|\bhalf"), 0.5), (re.compile(r"\bdoubl"), 2.0), (re.compile(r"\bquarter"), 0.25))
_ASIDE = re.compile(r"(?<![=a-z])\s?\([^()]*\)|\[[^\[\]]*\]")
_SET = re.compile(r"\b[A-Z][A-Z0-9_]{2,}\s*=\s*[0-9.^*]+")
_BETAS = re.compile(r"ADAM_BETAS\s*=\s*\(([\d.]+), ?([\d.]+)\)")
_LABEL = re.compile(r"^(?:exp ?\d+|gpu\d+|agent\d+)\s*:\s*", re.IGNORECASE)
_JOINT = re.compile(r"\s\+\s|\band\b|,\s(?=[a-zA-Z])|\bwith\b")
_REPLACED = re.compile(r"\b(?:replace|switch|instead of)\b", re.IGNORECASE)
_OLD = re.compile(r"\breplace .* with\b|\bfrom\s+[a-z ]+ to\b|\binstead of\b.*$", re.IGNORECASE)
_COMMENT = re.compile(r"\s[—–]\s|\s--?\s|;|:\s|\s(?:on|after|during|for)\s|\sat\s(?!\d)|\bover \d+ steps.*$")
_WHOLE = frozenset(("DEPTH", "HEAD_DIM", "N_KV_HEAD", "NS_STEPS", "SEED", "MUON_RAMP_STEPS", "VE_GATE_CHANNELS"))
_BATCHES = frozenset(("TOTAL_BATCH_SIZE", "DEVICE_BATCH_SIZE"))
_SHARES = frozenset(("WARMUP_RATIO", "WARMDOWN_RATIO", "FINAL_LR_FRAC", "SHORT_WINDOW"))
_ABSENT = frozenset(("WARMUP_RATIO", "WEIGHT_DECAY"))
"""Knobs for which "add" and "remove" say that the value before or after is 0."""
_ADDED, _REMOVED = re.compile(r"\badd\b"), re.compile(r"\b(?:remove|no)\s*$")
_AXES = {"ADAM_BETA1": "adam.betas", "ADAM_BETA2": "adam.betas"}
_FEWEST_TOKENS = 1024
"""A batch size below this is taken as a number of rows, as for the device's batch."""


@dataclass(frozen=True, slots=True)
class Described:
    """The change in a description.  ``note`` is in our own words; empty if the knobs say everything."""

    axis: str
    changes: KnobChanges
    note: str = ""


def read_description(text: str, standing: Mapping[str, Any] | None = None) -> Described:
    """Return the change that a description states.

    ``standing`` has the known values before the change.  A value that is neither there nor in the line is None.  Never
    raises.
    """
    known = dict(standing or {})
    if REPEAT.search(text.lower()):
        return Described("repeat", {}, "the same again: it shows noise")
    plain, sets = _plain(text)
    changes: dict[str, tuple[Any, Any]] = {}
    codes: list[tuple[str, str]] = []
    parts = [plain] if _REPLACED.search(plain) else [part for part in _JOINT.split(plain) if part.strip()]
    for part in parts:
        found = _knob_change(part, known)
        if found:
            changes.update(found)
        elif code := _code_change(part):
            codes.append(code)
    if betas := _BETAS.search(text):
        changes["ADAM_BETAS"] = (known.get("ADAM_BETAS"), (float(betas[1]), float(betas[2])))
    changes = _with_aside(changes, text)
    for each in sets:
        changes = {**changes, **_knob_change(each, known)}
    return _described(changes, codes, len(parts) > 1)


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
    for at, (text, kept) in enumerate(rows):
        told = read_description(text, known)
        if at == 0 and kept:
            known |= _ends(told)
            told = Described("baseline", {}, "as it was")
        elif kept:
            known |= _ends(told)
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
            moved |= set(told.changes)
    return opening


def _ends(told: Described) -> dict[str, Any]:
    return {name: now for name, (_, now) in told.changes.items()}


def _described(changes: dict[str, tuple[Any, Any]], codes: list[tuple[str, str]], joined: bool) -> Described:
    changed = {name: pair for name, pair in changes.items() if pair[0] != pair[1]}
    if codes and changed and any(axis != axis_of(_leading(changed)) for axis, _ in codes):
        return Described(OTHER, {}, "several changes at once")
    if changed:
        leading = _leading(changed)
        return Described(_AXES.get(leading) or axis_of(leading), changed)
    axes = {axis for axis, _ in codes}
    if len(axes) == 1:
        return Described(codes[0][0], {}, codes[0][1])
    return Described(OTHER, {}, "several changes at once" if axes or joined else "")


def _leading(changes: Mapping[str, Any]) -> str:
    """Return the knob that names the axis; the device's batch size does so only if it is the only knob."""
    return next((name for name in changes if name != "DEVICE_BATCH_SIZE"), "DEVICE_BATCH_SIZE")


def _plain(text: str) -> tuple[str, list[str]]:
    """Return the line without label, parentheses and comment, and each ``NAME=value`` that was in parentheses."""
    sets = [match for aside in _ASIDE.findall(text) for match in _SET.findall(aside)]
    return _COMMENT.split(_ASIDE.sub(" ", _LABEL.sub("", text.strip())))[0].strip(), sets


def _knob_change(part: str, known: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return all knobs of one part, such as ``depth 9 aspect_ratio 57``; empty if one of them cannot be read."""
    windows = _window(part, known)
    if windows:
        return windows
    places = list(_places(part.lower()))
    found: dict[str, tuple[Any, Any]] = {}
    for at, (name, start, end) in enumerate(places):
        stop = places[at + 1][1] if at + 1 < len(places) else len(part)
        pair = _values(name, part.lower()[:start], part.lower()[end:stop], known)
        if pair is not None:
            found[_sized(name, pair[1])] = pair
    return found if len(found) == len(places) else {}


def _places(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield (knob, start, end) of the names in a text, from left to right, none inside another."""
    taken: list[tuple[str, int, int]] = []
    for name, pattern in NAMES:
        for match in pattern.finditer(text):
            if not any(match.start() < end and start < match.end() for _, start, end in taken):
                taken.append((name, match.start(), match.end()))
    return iter(sorted(taken, key=lambda place: place[1]))


def _values(name: str, before: str, after: str, known: Mapping[str, Any]) -> tuple[Any, Any] | None:
    if match := _FROM_TO.match(after):
        return _number(name, match["was"]), _number(name, match["now"])
    if match := _INSTEAD.match(after):
        return _number(name, match["was"]), _number(name, match["now"])
    factor = next((f for pattern, f in _VERBS if pattern.search(before)), None)
    match = _TO.match(after) or (None if factor else _BEFORE.search(before))
    standing = known.get(name)
    if match:
        now = _number(name, match["now"])
        if name in _ABSENT and standing is None and _ADDED.search(before):
            standing = 0.0
        return _derived(name, now, factor) if factor and standing is None else (standing, now)
    if factor and isinstance(standing, int | float):
        return standing, _derived(name, standing, 1 / factor)[0]
    if name in _ABSENT and not after.strip() and _REMOVED.search(before):
        return standing, 0.0
    return None


def _sized(name: str, now: Any) -> str:
    return "DEVICE_BATCH_SIZE" if name == "TOTAL_BATCH_SIZE" and now < _FEWEST_TOKENS else name


def _derived(name: str, now: Any, factor: float) -> tuple[Any, Any]:
    """Return (before, now); ``now`` is ``before`` multiplied by ``factor``."""
    was = now / factor
    return (int(was) if name in _BATCHES | _WHOLE else was), now


def _number(name: str, text: str) -> Any:
    text = text.replace(" ", "").replace("**", "^")
    if "/" in text:
        return 1 / int(text.split("/")[1])
    if text.startswith("2^"):
        return 2 ** int(text[2:])
    text = text.replace("percent", "%")
    unit = text[-1] if text[-1] in "%kx" else ""
    value = float(text.removesuffix(unit))
    if unit == "%":
        value /= 100
    if unit == "k":
        value = _round_thousands(value, name)
    whole = name in _WHOLE | _BATCHES or (value == int(value) and "." not in text and name not in _SHARES)
    return int(value) if whole else round(value, 12)


def _round_thousands(value: float, name: str) -> float:
    """Return the number behind a value in thousands: 65K of a batch are 65,536 tokens, 200K of a wavelength 200,000."""
    return float(2 ** round(math.log2(value * 1000))) if name in _BATCHES and value > 0 else value * 1000


def _with_aside(changes: dict[str, tuple[Any, Any]], text: str) -> dict[str, tuple[Any, Any]]:
    """Return the changes, with the old value if parentheses give it: ``x0_init 0.05 (reduce from 0.1)``."""
    if len(changes) == 1:
        [(name, (was, now))] = changes.items()
        match = next((m for aside in _ASIDE.findall(text) if (m := _WAS.search(aside.lower()))), None)
        if match and was is None and (match["now"] is None or _number(name, match["now"]) == now):
            return {name: (_number(name, match["was"]), now)}
    return changes


def _window(part: str, known: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    match = _PATTERNS.search(part)
    if match is None or (not re.search(r"window|pattern|full|attention|sliding", part.lower()) and not match["was"]):
        return {}
    now = match["now"] or match["only"] or match["one"]
    return {"WINDOW_PATTERN": (match["was"] or known.get("WINDOW_PATTERN"), now)}


def _code_change(part: str) -> tuple[str, str] | None:
    text = _OLD.sub(" ", part.lower())
    return next(((axis, note) for pattern, axis, note in CODE if pattern.search(text)), None)
