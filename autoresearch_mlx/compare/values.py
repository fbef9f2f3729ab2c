"""Read the value of one knob next to its name: ``0.04 -> 0.06``, ``=0.7``, ``to 2^14``, ``5% warmup``, ``halve``.

The value must be possible for the knob: a share lies between 0 and 1, so ``150 steps`` is not a share.  A signed or
relative figure (``-30%``, ``2x``) is not a value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PLAIN = r"(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?(?![\^\d])(?:\s?(?:%|percent|[kx](?![a-z0-9])))?"
NUMBER = rf"(?<![\w.^])(?:1/\d+|seq_len/\d+|2\s?(?:\^|\*\*)\s?\d+|{_PLAIN})"
ARROW = r"(?:->|→|=>|\bto\b)"
_FROM_TO = re.compile(
    rf"[\s:=]*(?:init |target |ratio |size )*(?:from\s+)?(?P<was>{NUMBER})\s*{ARROW}\s*(?P<now>{NUMBER})"
)
_INSTEAD = re.compile(rf"[\s:=]*(?P<now>{NUMBER})(?: context)? instead of (?P<was>{NUMBER})")
_TO = re.compile(rf"[\s:]*(?:size |again |ratio |expansion |init )*(?:=|to|of|at)?\s*(?P<now>{NUMBER})")
_BEFORE = re.compile(rf"(?P<now>{NUMBER})\s+(?:of\s+)?$")
_UNIT = re.compile(
    r"\s*-?(steps?|phases?|stages?|iters?|iterations?|epochs?|layers?|tokens?|rows?|seq(?:uence)?s?|heads?|dims?|seconds?|secs?|s|"
    r"minutes?|mins?|m|hours?|gb|mb|b|times|context|channels?)(?![a-z0-9_])"
)
_VERBS = ((re.compile(r"\bhalv|\bhalf"), 0.5), (re.compile(r"\bdoubl"), 2.0), (re.compile(r"\bquarter"), 0.25))
_WHOLE = frozenset(("DEPTH", "HEAD_DIM", "N_KV_HEAD", "NS_STEPS", "SEED", "MUON_RAMP_STEPS", "VE_GATE_CHANNELS"))
BATCHES = frozenset(("TOTAL_BATCH_SIZE", "DEVICE_BATCH_SIZE"))
_SHARES = frozenset(("WARMUP_RATIO", "WARMDOWN_RATIO", "FINAL_LR_FRAC", "SHORT_WINDOW"))
_UNITS: Mapping[str, str] = {
    "MUON_RAMP_STEPS": "steps",
    "NS_STEPS": "steps",
    "DEPTH": "layers",
    "TOTAL_BATCH_SIZE": "tokens",
    "DEVICE_BATCH_SIZE": "rows sequences seqs",
    "N_KV_HEAD": "heads",
    "SHORT_WINDOW": "context",
    "VE_GATE_CHANNELS": "channels",
    "HEAD_DIM": "dims",
}
_ABSENT = frozenset(("WARMUP_RATIO", "WEIGHT_DECAY"))
"""Knobs whose value is 0 before an "add" and after a "remove"."""
_ADDED, _REMOVED = re.compile(r"\badd\b"), re.compile(r"\b(?:remove|no)\s*$")
_FEWEST_TOKENS = 1024
"""A batch size below this number is read as a number of rows, which is how the device's batch size is counted."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The change of one knob; None is an unknown value.  The text states the change from ``start`` to ``end``."""

    knob: str
    was: Any
    now: Any
    start: int
    end: int


def read_value(name: str, text: str, place: tuple[int, int, int, int], known: Mapping[str, Any]) -> Reading | None:
    """Return the change of a knob, or None if the text does not state a value plainly.

    ``place`` has four positions: start of the text before the name, start of the name, end of the name, and end of the
    text after the name.  ``known`` has the values of knobs before the change.
    """
    opens, start, end, stop = place
    before, after = text[opens:start], text[end:stop]
    for pattern in (_FROM_TO, _INSTEAD):
        if match := pattern.match(after):
            pair = _pair(name, match["was"], match["now"], _behind(after, match.end("now"), match.end("was")))
            return None if pair is None else _sized(Reading(name, *pair, start, end + match.end()), {})
    factor = next((f for pattern, f in _VERBS if pattern.search(before)), None)
    match = _TO.match(after)
    if match is not None:
        now = _number(name, match["now"], _behind(after, match.end("now")))
        reach = start, end + match.end()
    elif factor is None and (match := _BEFORE.search(before)) is not None:
        now = _number(name, match["now"], "")
        reach = opens + match.start("now"), end
    else:
        return _in_words(name, before, after, factor, known.get(name), (start, end))
    if now is None:
        return None
    was = known.get(name)
    if name in _ABSENT and was is None and _ADDED.search(before):
        was = 0.0
    if factor and was is None:
        was = now / factor
        was = int(was) if name in BATCHES | _WHOLE else was
    return _sized(Reading(name, was, now, *reach), known)


def _in_words(
    name: str, before: str, after: str, factor: float | None, was: Any, reach: tuple[int, int]
) -> Reading | None:
    """Read words such as ``remove weight decay``, or ``halve batch`` if the value before the change is known."""
    if factor and isinstance(was, int | float):
        now = was * factor
        return Reading(name, was, int(now) if name in BATCHES | _WHOLE else now, *reach)
    if name in _ABSENT and not after.strip() and _REMOVED.search(before):
        return Reading(name, was, 0.0, *reach)
    return None


def _behind(text: str, *places: int) -> str:
    """Return the first unit that directly follows one of these positions in the text, or an empty string if no unit
    does."""
    units = (_UNIT.match(text, place) for place in places)
    return next((match[1] for match in units if match), "")


def _pair(name: str, was: str, now: str, unit: str) -> tuple[Any, Any] | None:
    a, b = _number(name, was, unit), _number(name, now, unit)
    return None if a is None or b is None else (a, b)


def _sized(read: Reading, known: Mapping[str, Any]) -> Reading | None:
    """Return the reading, or the same figures as a reading of the device's batch size if they are numbers of rows.

    Returns None if it is unclear which of the two batch sizes is meant.
    """
    if read.knob != "TOTAL_BATCH_SIZE" or read.now >= _FEWEST_TOKENS:
        return read
    was = read.was if read.was != known.get(read.knob) else known.get("DEVICE_BATCH_SIZE")
    if was is not None and was >= _FEWEST_TOKENS:
        return None  # a change from tokens to rows does not say which batch is meant
    return Reading("DEVICE_BATCH_SIZE", was, read.now, read.start, read.end)


def _number(name: str, text: str, unit: str) -> Any:
    """Return the figure in a text as a value of this knob, or None if the knob cannot have such a value."""
    if unit and unit.rstrip("s") not in {word.rstrip("s") for word in _UNITS.get(name, "").split()}:
        return None
    text = text.replace(" ", "").replace("**", "^").replace("percent", "%")
    if "/" in text:
        return 1 / int(text.split("/")[1]) if name in _SHARES and int(text.split("/")[1]) else None
    if text.startswith("2^"):
        value = 2.0 ** int(text[2:]) if len(text) < 5 else math.inf
        return int(value) if name in BATCHES | _WHOLE | {"ROPE_BASE"} and value < math.inf else None
    suffix = text[-1] if text[-1] in "%kx" else ""
    value = float(text.removesuffix(suffix))
    if not _suits(name, suffix, value):
        return None
    if suffix == "%":
        value /= 100
    if suffix == "k":
        value = _round_thousands(value, name)
    whole = name in _WHOLE | BATCHES or (value == int(value) and "." not in text and name not in _SHARES)
    return int(value) if whole else round(value, 12)


def _suits(name: str, suffix: str, value: float) -> bool:
    """Return whether a figure can be a value of this knob; only a share, for example, can be a percentage."""
    if name in _SHARES:
        return suffix in ("", "%") and value <= (100 if suffix else 1)
    if name in BATCHES | {"ROPE_BASE"}:
        return suffix in ("", "k") and value > 0
    if name in _WHOLE:
        return not suffix and value == int(value)
    return not suffix or (suffix == "x" and name in ("MLP_RATIO", "INIT_SCALE"))


def _round_thousands(value: float, name: str) -> float:
    """Return the exact number for a value in thousands: a batch of 65K is 65,536 tokens, and a wavelength of 200K is
    200,000."""
    return float(2 ** round(math.log2(value * 1000))) if name in BATCHES else value * 1000
