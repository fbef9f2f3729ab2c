"""Match the changes of two logs: find changes of the same knobs in the same direction by a similar ratio.

``MATRIX_LR 0.04 -> 0.03`` in one log and ``MATRIX_LR 0.02 -> 0.015`` in the other log are the same change.  Ratios are
similar when their logarithms are within a factor of 2: halving matches anything from x0.71 to x0.25.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from autoresearch_mlx.compare.effects import Effect, Run

TOLERANCE = 2.0
IN_WORDS = (
    "Matching changes move the same knobs in the same direction by a similar ratio: the logarithms of the two ratios "
    "(the differences, where a knob is 0 on one side) lie within a factor of 2. Each run is used once."
)
ONE_CHANGE = frozenset(
    (
        "block.parallel",
        "loss.smoothing",
        "loss.z",
        "mlp.gated",
        "muon.nesterov",
        "optimizer.clip",
        "optimizer.muon",
        "schedule.shape",
        "weight_decay.cautious",
        "weight_tying",
    )
)
"""Each of these axes stands for one particular change of code, so two runs on one axis made the same change."""
_MEMORY = frozenset({"DEVICE_BATCH_SIZE"})
"""Knobs that only make a batch fit into memory; two changes match even if these knobs differ."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The same change in two logs.  ``apart`` says how much the ratios differ: 0 if equal, log 2 if they barely
    match."""

    there: Effect
    here: Effect
    apart: float


def pairs(there: Sequence[Effect], here: Sequence[Effect]) -> tuple[Pair, ...]:
    """Return each measured change of ``there`` with the most similar change of ``here``; no change is used twice.

    The most similar pair is matched first, and the earliest of equally similar pairs.  A choice by gain would make the
    agreement look better than it is.
    """
    near = sorted(_candidates(there, here), key=lambda p: (p.apart, p.there.run.order, p.here.run.order))
    taken: set[tuple[str, int]] = set()
    found: list[Pair] = []
    for pair in near:
        ends = {("there", pair.there.run.order), ("here", pair.here.run.order)}
        if not ends & taken:
            taken |= ends
            found.append(pair)
    return tuple(sorted(found, key=lambda p: p.there.run.order))


def _candidates(there: Sequence[Effect], here: Sequence[Effect]) -> Iterator[Pair]:
    ours = [e for e in here if e.gain is not None]
    for a in (e for e in there if e.gain is not None):
        for b in ours:
            if (apart := distance(a.run, b.run)) is not None:
                yield Pair(a, b, apart)


def distance(a: Run, b: Run) -> float | None:
    """Return how much the changes of two runs differ, from 0 (equal ratios) up.

    Returns None if the two runs made different changes.
    """
    ours, theirs = _moves(a), _moves(b)
    if not ours and not theirs:
        return 0.0 if a.axis == b.axis and a.axis in ONE_CHANGE else None
    if ours.keys() != theirs.keys():
        return None
    each = [_apart(ours[name], theirs[name]) for name in ours]
    return None if None in each else max(d for d in each if d is not None)


def same_way(a: Run, b: Run) -> bool:
    """Return whether ``b`` moved all knobs that ``a`` moved, in the same directions and by any ratio.

    ``b`` may have moved other knobs too.
    """
    ours, theirs = _moves(a), _moves(b)
    if not ours:
        return a.axis == b.axis
    return all(name in theirs and _direction(ours[name]) == _direction(theirs[name]) for name in ours)


def _moves(run: Run) -> dict[str, tuple[Any, Any]]:
    """Return a run's changes of knobs, without knobs that only make a batch fit into memory.  If a knob's value is a
    tuple, each changed item is returned as a separate knob."""
    moves: dict[str, tuple[Any, Any]] = {}
    for name, (was, now) in run.changes.items():
        plain = name.rsplit(":", 1)[-1]
        if plain in _MEMORY:
            continue
        if isinstance(was, list | tuple) and isinstance(now, list | tuple) and len(was) == len(now):
            parts = enumerate(zip(was, now, strict=True), start=1)
            moves |= {f"{plain.removesuffix('S')}{i}": pair for i, pair in parts if pair[0] != pair[1]}
        else:
            moves[plain] = (was, now)
    return moves


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _direction(change: tuple[Any, Any]) -> Any:
    was, now = change
    return now > was if _number(was) and _number(now) else now


def _apart(a: tuple[Any, Any], b: tuple[Any, Any]) -> float | None:
    if None in (*a, *b):
        return None
    if not all(_number(v) for v in (*a, *b)):
        return 0.0 if a[1] == b[1] else None
    if min(*a, *b) > 0:
        return _within(math.log(a[1] / a[0]), math.log(b[1] / b[0]))
    if (a[0] == 0) == (b[0] == 0) and (a[1] == 0) == (b[1] == 0):
        return _within(a[1] - a[0], b[1] - b[0])
    return None


def _within(a: float, b: float) -> float | None:
    if a == 0 or b == 0 or (a > 0) != (b > 0):
        return None
    apart = abs(math.log(a / b))
    return apart if apart <= math.log(TOLERANCE) + 1e-9 else None
