"""The strategies that won in somebody else's session, each with the size of its gain there.

Runs that moved the same knob are one strategy: its way is from the first value to the last, its gain
the sum of the kept gains.  Knobs that moved together once belong together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from autoresearch_mlx.compare.effects import Effect, effects, from_reference
from autoresearch_mlx.compare.reference import Reference
from autoresearch_mlx.experiment import KnobChanges
from autoresearch_mlx.lab.source import axis_of


@dataclass(frozen=True, slots=True)
class Winner:
    """``changes`` has no unknown value; ``gain`` is in bits per byte, against the incumbents of its time."""

    axis: str
    changes: KnobChanges
    gain: float
    runs: tuple[int, ...]
    """Order numbers of its kept runs in the table."""


def winners(reference: Reference) -> tuple[Winner, ...]:
    """The largest gain first.  Changes of code, values that nobody wrote down and seeds are not to be repeated."""
    kept = [e for e in effects(map(from_reference, reference.runs), "min") if _repeatable(e)]
    found = [winner for group in _grouped(kept) if (winner := _winner(group)) is not None]
    return tuple(sorted(found, key=lambda winner: -winner.gain))


def _repeatable(effect: Effect) -> bool:
    changes = effect.run.changes
    told = all(value is not None for change in changes.values() for value in change)
    seed = any(axis_of(name) == "seed" for name in changes)
    won = effect.run.status == "keep" and effect.gain is not None and effect.gain > 0
    return won and bool(changes) and told and not seed


def _grouped(kept: Iterable[Effect]) -> list[list[Effect]]:
    """Effects that share a knob, directly or by way of others; each group oldest first."""
    groups: list[list[Effect]] = []
    for effect in kept:
        linked = [group for group in groups if any(set(e.run.changes) & set(effect.run.changes) for e in group)]
        merged = [*(e for group in linked for e in group), effect]
        groups = [group for group in groups if group not in linked]
        groups.append(sorted(merged, key=lambda e: e.run.order))
    return groups


def _winner(group: Sequence[Effect]) -> Winner | None:
    """None when the knobs came back to where they were."""
    way: dict[str, tuple[Any, Any]] = {}
    for effect in group:
        for name, (was, now) in effect.run.changes.items():
            way[name] = (way[name][0] if name in way else was, now)
    changes = {name: (first, last) for name, (first, last) in way.items() if first != last}
    if not changes:
        return None
    return Winner(
        axis=group[0].run.axis,
        changes=changes,
        gain=sum(effect.gain or 0.0 for effect in group),
        runs=tuple(effect.run.order for effect in group),
    )
