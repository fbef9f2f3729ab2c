"""Follow up a clear gain without asking a model: try the midpoint of the step, and a point half a step past its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autoresearch_mlx.experiment import Context, Experiment
from autoresearch_mlx.lab.source import describe, read_knobs, set_knobs

CLEAR = 3.0
"""Gain, in sigmas of one run, above which a kept change is followed up."""
_STEPS = (("midpoint", -0.5), ("half overshoot", 0.5))


@dataclass(frozen=True, slots=True)
class Bracket:
    """A follow-up: the number of the experiment that gained, the name of the new point, and the edit."""

    of: int
    side: str
    title: str
    files: Mapping[str, str]


def brackets(context: Context) -> Iterator[Bracket]:
    """Yield the follow-ups that no experiment has tried, oldest gain first.

    A gain is followed up as long as the incumbent still has the values of this gain, or of one of its follow-ups.  A
    change of several constants is scaled as a whole.  A change of code or of a string is not followed up.
    """
    done = {tuple(told) for e in context.history.experiments if isinstance(told := e.talk.get("bracket"), list)}
    for e in context.history.experiments:
        if e.number == 0 or e.status != "keep" or not _clear(e, context.sigma) or "bracket" in e.talk:
            continue
        for side, way in _STEPS:
            if (e.number, side) not in done and (found := _followed(e, side, way, context.files)) is not None:
                yield found


def _clear(e: Experiment, sigma: float | None) -> bool:
    return bool(sigma) and e.gain is not None and sigma is not None and e.gain > CLEAR * sigma


def _followed(e: Experiment, side: str, way: float, files: Mapping[str, str]) -> Bracket | None:
    values: dict[str, Any] = {}
    edited = dict(files)
    for qualified, (before, after) in e.knobs.items():
        path, _, name = qualified.rpartition(":")
        home = next((p for p in files if (not path or p == path) and name in read_knobs(files[p])), None)
        if home is None or not _number(before) or not _number(after):
            return None
        value, now = _moved(before, after, way), read_knobs(files[home])[name].value
        if value in (before, after, now) or now not in (after, *(_moved(before, after, other) for _, other in _STEPS)):
            return None
        values[name] = (now, value)
        edited[home] = set_knobs(edited[home], {name: value})
    if not values:
        return None
    changed = {path: text for path, text in edited.items() if text != files[path]}
    return Bracket(e.number, side, f"{describe(values)} ({side} of #{e.number})", changed)


def _moved(before: float, after: float, way: float) -> float:
    value = after + way * (after - before)
    return round(value) if isinstance(before, int) and isinstance(after, int) else float(f"{value:.6g}")


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
