"""Read from a one-line description of an experiment the axis, the knobs, and the knobs' values before and after.

A line is read only if all of it is understood: ``matrix LR 0.04 -> 0.06``, ``halve batch to 2^14``,
``WARMDOWN_RATIO=0.7 (slightly worse)``.  If words or figures of a line may be a further change, the line gets the axis
``other`` and no knobs, so that no comparison uses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoresearch_mlx.compare.fillers import only_fillers
from autoresearch_mlx.compare.match import ONE_CHANGE
from autoresearch_mlx.compare.phrases import REPEAT
from autoresearch_mlx.compare.remarks import Line, split_line
from autoresearch_mlx.compare.statements import BASELINE, Statement, names_in, read_statement
from autoresearch_mlx.compare.values import read_value
from autoresearch_mlx.experiment import KnobChanges
from autoresearch_mlx.lab.source import axis_of

OTHER = "other"
SEVERAL = "several changes at once"
_BETAS = re.compile(r"ADAM_BETAS\s*=\s*\(([\d.]+), ?([\d.]+)\)(?: (?:standard|default) momentum)?")
_REPLACED = re.compile(r"\b(?:replace|switch|instead of)\b", re.IGNORECASE)
_MEMORY = frozenset({"DEVICE_BATCH_SIZE"})
_AXES = {"ADAM_BETA1": "adam.betas", "ADAM_BETA2": "adam.betas"}


@dataclass(frozen=True, slots=True)
class Described:
    """The change that a description states.  ``note`` describes the change in our own words, and is empty if the knobs
    say everything."""

    axis: str
    changes: KnobChanges
    note: str = ""
    mentioned: KnobChanges = field(default_factory=dict)
    """Knobs, with their values, that a line names although the line is not fully understood; None is an unknown
    value."""


def read_description(text: str, standing: Mapping[str, Any] | None = None) -> Described:
    """Return the change that a description states.

    ``standing`` has the known values of knobs before the change.  A value that is neither in ``standing`` nor in the
    text is None.  Never raises.
    """
    known = dict(standing or {})
    changes: dict[str, tuple[Any, Any]] = {}
    if betas := _BETAS.search(text):
        changes["ADAM_BETAS"] = (known.get("ADAM_BETAS"), (float(betas[1]), float(betas[2])))
    line = split_line(_BETAS.sub(" ", text))
    told = _read(line, changes, known)
    unchanged = not told.changes and told.axis in (OTHER, BASELINE) and not (told.note == SEVERAL and told.mentioned)
    if unchanged and REPEAT.search(text.lower()):
        return Described("repeat", {}, "the same program again, which shows the noise")
    return told


def _read(line: Line, changes: dict[str, tuple[Any, Any]], known: dict[str, Any]) -> Described:
    given = {name for piece in line.sets for name, *_ in names_in(piece.lower())}
    pieces = [line.main] if _REPLACED.search(line.main) else line.parts
    stated = [read_statement(p, known, "ASPECT_RATIO" in given) for p in pieces if not _repeats(p, given)]
    for each in stated:
        changes |= each.changes
    changes = _with_old_value(changes, line)
    asides = [read_statement(piece, known, True) for piece in line.sets if not _repeats_value(piece, changes)]
    for each in asides:  # an aside may add values of knobs, but never overwrites a value from the line itself
        changes |= {name: pair for name, pair in each.changes.items() if name not in changes}
    remarks = [read_statement(remark, known, True) for remark in line.remarks if _states_a_change(remark, line)]
    limited = line.more and any(each.changes or each.code for each in stated)
    clear = not limited and all(each.clear for each in (*stated, *asides, *remarks))
    further = (each.changes.keys() - changes.keys() - _MEMORY for each in remarks if _moves(each))
    changed = {name: pair for name, pair in changes.items() if pair[0] != pair[1]}
    codes = [each.code for each in stated if each.code]
    if clear and not any(further):
        return _described(changed, codes)
    joined = len(pieces) > 1 or bool(changes or codes or line.sets)
    return Described(OTHER, {}, SEVERAL if joined else "", _mentioned(line, changed))


def _repeats_value(piece: str, changes: KnobChanges) -> bool:
    """Return True if an aside names knobs, and the line outside the aside gives all these knobs a value."""
    names = {name for name, *_ in names_in(piece.lower())}
    return bool(names) and names <= changes.keys()


def read_descriptions(
    lines: Iterable[tuple[str, bool]], standing: Mapping[str, Any] | None = None
) -> tuple[Described, ...]:
    """Return the changes in a whole log.  ``lines`` has a pair for each run, the baseline first: the run's description,
    and whether the run was kept.

    A knob's value before a change is the value that the last kept change gave to the knob.  If no kept change moved the
    knob, the value comes from the first line that names an old value.
    """
    rows = list(lines)
    known = {**_opening(rows), **(standing or {})}
    found: list[Described] = []
    made: set[str] = set()
    for at, (text, kept) in enumerate(rows):
        told = read_description(text, known)
        if told.axis in made:
            told = Described(
                OTHER, {}, ""
            )  # a kept change cannot be made again, so this run tries a variant of the change
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
    """Return the knob that names the axis: the first one that is not the device's batch size, if there is one."""
    return next((name for name in changes if name != "DEVICE_BATCH_SIZE"), "DEVICE_BATCH_SIZE")


def _mentioned(line: Line, changed: KnobChanges) -> KnobChanges:
    """Return the knobs in a line that is not fully understood, each with its value; an unreadable value is None."""
    named = {name: (None, None) for piece in (line.main, *line.sets) for name, *_ in names_in(piece.lower())}
    return {**named, **changed}


def _repeats(piece: str, given: set[str]) -> bool:
    """Return whether a part of a line only repeats the knobs of an aside, as in ``halve batch
    (TOTAL_BATCH_SIZE=2^13)``."""
    lower = piece.lower()
    places = list(names_in(lower))
    rest = "".join(c for at, c in enumerate(lower) if not any(start <= at < end for _, start, end in places))
    return bool(places) and {name for name, *_ in places} <= given and only_fillers(rest)


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
_RATE = re.compile(r"\b(?:lrs?|learning rates?)\b")
_BARE = re.compile(
    rf"\s*(?P<also>also|too)?\s*(?:(?:is|now|to)\s+)*(?:{_FIGURE}|halved|doubled|tripled)(?:\s+(?:also|too|now))?"
)
_CONSTANT = re.compile(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9]\b|\b[A-Z]{4,}\b")


def _states_a_change(remark: str, line: Line) -> bool:
    """Return whether a remark gives a constant a value, as in ``DEPTH 8->9; MATRIX_LR=0.03``."""
    lower = remark.lower()
    if _OTHER_RATE.search(lower) or _is_setting(remark, line):
        return True
    ends = [end for _, _, end in names_in(lower)] + [match.end() for match in _CONSTANT.finditer(remark)]
    return any(_STATED.match(lower, end) for end in ends)


def _is_setting(remark: str, line: Line) -> bool:
    """Return whether a remark consists of a name and a value only: ``depth 8->9; lr 0.03``, ``depth 9 (lr also 0.03)``.

    In parentheses or after "at", a name and a value only say with which settings the change was tried.
    """
    lower = remark.lower()
    named = [(start, end) for _, start, end in names_in(lower)] or [match.span() for match in _RATE.finditer(lower)]
    if len(named) != 1 or not only_fillers(lower[: named[0][0]]):
        return False
    [(start, end)] = named
    value = _BARE.fullmatch(lower, end)
    plain = value is not None and value["also"] is None and not _CONSTANT.match(remark, start)
    return value is not None and (remark in line.sentences or not plain)


def _moves(stated: Statement) -> bool:
    return any(was != now for was, now in stated.changes.values())
