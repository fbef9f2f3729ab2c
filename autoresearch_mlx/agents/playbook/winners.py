"""Find the strategies that won in other sessions, each with its gain.

All kept runs that moved the same knob are one strategy.  Knobs that moved together in a run belong to one strategy.  A
strategy changes a knob from its first value to its last value, and its gain is the sum of the kept gains.

Sessions agree on a knob when the knob won in the same direction in these sessions (:func:`agreed`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autoresearch_mlx.compare.effects import Effect, effects, from_reference
from autoresearch_mlx.compare.reference import Reference
from autoresearch_mlx.experiment import KnobChanges
from autoresearch_mlx.lab.source import axis_of

SMALL = 16
"""Whole numbers below this value are counts; whole numbers from this value on are sizes."""
_LEADER, _FOLLOWER = "TOTAL_BATCH_SIZE", "DEVICE_BATCH_SIZE"


@dataclass(frozen=True, slots=True)
class Winner:
    """A strategy that won.

    ``changes`` has no unknown values.  ``gain`` is the sum of the strategy's kept gains in bits per byte.  Each of
    these gains was measured against the incumbent at that time.
    """

    axis: str
    changes: KnobChanges
    gain: float
    runs: tuple[int, ...]
    """Numbers of the strategy's kept runs in the table."""
    log: str = ""
    """Name of the log with this change and this gain; empty if the playbook has only one log."""
    agree: int = 1
    """Number of logs in which the knob won in this direction."""
    disagree: int = 0
    """Number of logs in which the knob won in another direction."""


def winners(reference: Reference) -> tuple[Winner, ...]:
    """Return the winners, largest gain first.

    Changes of code, unknown values and seeds are left out, because they cannot be replayed.
    """
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
    """Return groups of effects, each sorted oldest first.

    Two effects with a common knob are in the same group, so a chain of common knobs makes one group.
    """
    groups: list[list[Effect]] = []
    for effect in kept:
        linked = [group for group in groups if any(set(e.run.changes) & set(effect.run.changes) for e in group)]
        merged = [*(e for group in linked for e in group), effect]
        groups = [group for group in groups if group not in linked]
        groups.append(sorted(merged, key=lambda e: e.run.order))
    return groups


def _winner(group: Sequence[Effect]) -> Winner | None:
    """Return a group of effects as a winner; None when all knobs returned to their first values."""
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


def agreed(logs: Iterable[Reference], least: int = 2) -> tuple[Winner, ...]:
    """Return a winner for each knob that won in the same direction in at least ``least`` logs.

    A knob is left out if it won in another direction in as many logs.  The knob with the most agreeing logs comes
    first.  A winner's change and gain come from the log in which the change has the median size.  Gains of different
    logs are not added, because each log has its own data, evaluation and baseline.  If the batch per pass moved
    together with the batch per step, only the batch per step counts.
    """
    found: dict[str, dict[Any, list[Winner]]] = {}
    for log in logs:
        for winner in winners(log):
            for name, change in winner.changes.items():
                if name == _FOLLOWER and _LEADER in winner.changes:
                    continue
                one = replace(winner, changes={name: change}, axis=axis_of(name), log=log.name)
                found.setdefault(name, {}).setdefault(_direction(*change), []).append(one)
    best = [found_for for ways in found.values() if (found_for := _agreed(ways, least)) is not None]
    return tuple(sorted(best, key=lambda winner: (-winner.agree, -winner.gain)))


def _agreed(ways: dict[Any, list[Winner]], least: int) -> Winner | None:
    """Return a winner in the direction that won most often; None for a tie, or if too few logs agree."""
    first, *others = sorted(ways.values(), key=len, reverse=True)
    if len(first) < least or (others and len(others[0]) == len(first)):
        return None
    middle = sorted(first, key=_size)[(len(first) - 1) // 2]
    return replace(middle, agree=len(first), disagree=sum(map(len, others)))


def _direction(was: Any, now: Any) -> Any:
    """Return the direction of a change: "up" or "down" for numbers, and the new value for anything else."""
    return ("up" if now > was else "down") if _is_number(was) and _is_number(now) else now


def _size(winner: Winner) -> float:
    """Return the absolute size of a change: the difference for counts, and the logarithm of the ratio for others."""
    ((was, now),) = winner.changes.values()
    if not (_is_number(was) and _is_number(now)):
        return 0.0
    if min(was, now) <= 0 or (isinstance(was, int) and isinstance(now, int) and was < SMALL):
        return float(abs(now - was))
    return abs(math.log(now / was))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
