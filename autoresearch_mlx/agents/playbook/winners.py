"""Find the strategies that won in another session, each with the size of its gain there.

Runs that moved the same knob are one strategy.  Its change goes from the first value to the last, and its gain is the
sum of the kept gains.  Knobs that once moved together belong to the same strategy.
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
    """A strategy that won.

    All values in ``changes`` are known.  ``gain`` is the sum of its kept gains in bits per byte, each over the
    incumbent of its time.
    """

    axis: str
    changes: KnobChanges
    gain: float
    runs: tuple[int, ...]
    """Numbers of its kept runs in the table."""


def winners(reference: Reference) -> tuple[Winner, ...]:
    """Return the winners, largest gain first, without changes of code, unknown values and seeds, which cannot be
    replayed."""
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
    """Group the effects that share a knob, directly or through others; each group is sorted oldest first."""
    groups: list[list[Effect]] = []
    for effect in kept:
        linked = [group for group in groups if any(set(e.run.changes) & set(effect.run.changes) for e in group)]
        merged = [*(e for group in linked for e in group), effect]
        groups = [group for group in groups if group not in linked]
        groups.append(sorted(merged, key=lambda e: e.run.order))
    return groups


def _winner(group: Sequence[Effect]) -> Winner | None:
    """Make a winner from a group of effects; None when the knobs returned to their first values."""
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
