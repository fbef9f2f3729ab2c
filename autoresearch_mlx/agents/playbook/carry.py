"""Carry over a change from another machine to the files here.  The kind of the knob decides how:

    choice   "SSSL" -> "SSSSL"      use the new value: strings, tuples and switches have no size
    reached  0.5 -> 0.75 of a run   use the new value: a share of the run and a decay constant mean the same on every
                                    machine; also if the old value is 0 on one machine, because 0 has no ratio
    count    8 -> 9 layers          add the difference, if the old and the new value on the other machine are whole
                                    numbers, and the old value is below 16
    ratio    524288 -> 262144       multiply by the ratio, x0.5: sizes and rates depend on the machine

A value outside the range in the knob's comment is replaced by the nearest end of the range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoresearch_mlx.agents.knobs.ranges import Range, range_of
from autoresearch_mlx.agents.playbook.winners import SMALL, Winner
from autoresearch_mlx.lab.source import Knob, literal, read_knobs, set_knobs

_SHARES = ("_RATIO", "_FRAC")
_DECAYS = ("MOMENTUM", "BETA")


@dataclass(frozen=True, slots=True)
class Step:
    """One knob of a play: its new value here, and ``why``, which says how this value follows from the winner."""

    path: str
    name: str
    value: Any
    sign: str
    """The change in short form, such as ``x0.5`` or ``+1``; empty when the winner's new value is used."""
    why: str


@dataclass(frozen=True, slots=True)
class Play:
    """A winner, turned into a change of the files here."""

    winner: Winner
    steps: tuple[Step, ...]
    left_out: tuple[str, ...]
    """The winner's knobs that cannot be changed here, each with the reason."""

    def applied(self, files: Mapping[str, str]) -> dict[str, str] | None:
        """Return the new text of each file that the play changes; None when a knob is missing."""
        edited = dict(files)
        for step in self.steps:
            if step.name not in read_knobs(edited.get(step.path, "")):
                return None
            edited[step.path] = set_knobs(edited[step.path], {step.name: step.value})
        return {path: text for path, text in edited.items() if text != files[path]}

    def told(self, files: Mapping[str, str]) -> str:
        """Return the play as text for these files, such as ``TOTAL_BATCH_SIZE x0.5 (2**11 -> 2**10)``."""
        return ", ".join(_told(step, read_knobs(files[step.path])[step.name].value) for step in self.steps)


def _told(step: Step, was: Any) -> str:
    way = f"{literal(was)} -> {literal(step.value)}"
    return f"{step.name} {step.sign} ({way})" if step.sign else f"{step.name} {way}"


def carry(winner: Winner, files: Mapping[str, str]) -> Play:
    """Return the winner as a play on these files.  If the play has no steps, ``left_out`` says why."""
    steps: list[Step] = []
    left_out: list[str] = []
    for name, change in winner.changes.items():
        step = _step(name, change, files)
        if isinstance(step, Step):
            steps.append(step)
        else:
            left_out.append(f"{name}: {step}")
    return Play(winner, tuple(steps), tuple(left_out))


def _step(name: str, change: tuple[Any, Any], files: Mapping[str, str]) -> Step | str:
    """Return the knob's step, or the reason why the knob gets no step."""
    having = [path for path, text in files.items() if name in read_knobs(text)]
    if not having:
        return "no such knob in the file" if len(files) == 1 else "no such knob in the files"
    if len(having) > 1:
        return f"{' and '.join(having)} each have a knob of this name"
    knobs = read_knobs(files[having[0]])
    knob = knobs[name]
    if (reason := _idle(name, knobs) or _unlike(knob, change)) is not None:
        return reason
    value, sign, why = _wanted(knob, *change)
    value, note = _clipped(_rounded(value, knob, change), knob)
    if literal(value) == literal(knob.value):
        return f"it is {literal(knob.value)} already{note}"
    return Step(having[0], name, value, sign, why + note)


def _idle(name: str, knobs: Mapping[str, Knob]) -> str | None:
    """Return the reason why a knob has no effect here, so that its run would measure only noise.

    Returns None if the knob may have an effect.
    """
    pattern = knobs["WINDOW_PATTERN"].value if "WINDOW_PATTERN" in knobs else None
    if name == "SHORT_WINDOW" and isinstance(pattern, str) and "S" not in pattern.upper():
        return f"no layer has a short window while WINDOW_PATTERN is {literal(pattern)}"
    return None


def _unlike(knob: Knob, change: tuple[Any, Any]) -> str | None:
    if range_of(knob) is None and knob.kind is not None:
        return "the knob's comment says `fixed`"
    if _family(knob.value) is not _family(change[1]):
        return f"it is {literal(knob.value)} here, which is nothing like {literal(change[1])}"
    return None


def _wanted(knob: Knob, was: Any, to: Any) -> tuple[Any, str, str]:
    """Return the new value before rounding and clipping, the change in short form, and the rule as text."""
    here = knob.value
    if not _number(to):
        return to, "", "the value itself"
    if was == 0 or here == 0:
        return to, "", "the value reached on the other machine, because a change from 0 has no ratio"
    if _is_share(knob.name) and all(0 <= value <= 1 for value in (was, to, here)):
        return to, "", "the value reached on the other machine, because it is a share"
    if isinstance(was, int) and isinstance(to, int) and abs(was) < SMALL:
        return here + to - was, f"{to - was:+d}", "the difference, because it is a count"
    return here * to / was, f"x{to / was:.3g}", "by the ratio"


def _is_share(name: str) -> bool:
    return name.endswith(_SHARES) or any(word in name for word in _DECAYS)


def _rounded(value: Any, knob: Knob, change: tuple[Any, Any]) -> Any:
    """Round a value as the knob requires on both machines: to a whole number, a power of two, or six digits."""
    if not _number(value):
        return value
    if not all(isinstance(v, int) for v in (knob.value, *change)):
        return float(f"{value:.6g}")
    if value > 0 and (knob.kind == "pow2" or all(_is_power(v) for v in (knob.value, *change))):
        return 2 ** max(0, round(math.log2(value)))
    return round(value)


def _is_power(value: Any) -> bool:
    return isinstance(value, int) and value >= SMALL and value & (value - 1) == 0


def _clipped(value: Any, knob: Knob) -> tuple[Any, str]:
    """Return the value clipped to the range in the knob's comment, and a note if this changed the value."""
    allowed = range_of(knob) if knob.kind is not None else None
    if allowed is None:
        return value, ""
    if allowed.kind == "choice":
        return _chosen(value, allowed)
    low, high = _ends(allowed, value)
    inside = type(value)(min(max(value, low), high))
    return (value, "") if inside == value else (inside, f", clipped from {literal(value)} to the end of its range")


def _chosen(value: Any, allowed: Range) -> tuple[Any, str]:
    """Return the nearest number in a list of choices, and a note.  A string that is not in the list stays as it is."""
    if value in allowed.choices:
        return value, ""
    if not _number(value):
        return value, ", which its comment does not list"
    nearest = min(allowed.choices, key=lambda choice: abs(choice - value))
    return nearest, f", the nearest choice to {literal(value)}"


def _ends(allowed: Range, value: Any) -> tuple[float, float]:
    if allowed.kind == "pow2":
        return 2 ** math.ceil(math.log2(allowed.low)), 2 ** math.floor(math.log2(allowed.high))
    if isinstance(value, int):
        return math.ceil(allowed.low), math.floor(allowed.high)
    return allowed.low, allowed.high


def _family(value: Any) -> type:
    return float if _number(value) else type(value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
