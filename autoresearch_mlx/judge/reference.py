"""Find in a session's runs which machine speed is called 1, and whether the steps of two files cost the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from autoresearch_mlx.experiment import History, Measurement, Reference
from autoresearch_mlx.judge.history import taken_now

_SAME_COST = 0.15
"""Relative difference in processor time up to which the steps of two files count as equally expensive.

On a busy machine the time of the same step varies by about this share, because programs push each other's data out of
the caches.
"""

_FASTER = 1.15
"""Ratio of a baseline run's speed to the reference speed above which the machine must have been busy when the reference
was set."""

_QUIET_SHARE = 0.95
"""Smallest share of the wanted processor time that a run gets on a quiet machine."""


def reference_of(history: History, earlier: Sequence[Measurement] = ()) -> Reference:
    """Return the reference: the speed of the first undisturbed run of the baseline in the current regime.

    In a regime without such a run, the reference is the speed of the first repeat.  ``earlier`` has the runs that are
    not in the ledger yet.  If all runs in ``earlier`` were too slow, the machine did not become quieter, and the median
    speed of these runs is the reference.
    """
    best = history.baseline
    recorded = taken_now(history, best) if best is not None else ()
    later = [r.measurement for r in history.repeats if r.measurement.regime == history.regime]
    known = [m for m in (*recorded, *later, *earlier) if m.speed is not None and (_share(m) or _product(m))]
    counted = [m for m in known if not m.tainted]
    if counted:
        first = counted[0]
        share = (_share(first) or 1.0) / (first.speed or 1.0)
        return Reference(min(share, 1.0), _product(first), _number(first, "copy_ms"))
    slow = [m for m in known if m.tainted and m.disturbed_by]
    return Reference(median(_share(m) or 1.0 for m in slow)) if slow else Reference()


def by_the_fastest(runs: Sequence[Measurement]) -> list[Measurement]:
    """Return the baseline's runs; if one of them is more than 15 % faster than the reference, the fastest run is the
    new reference.

    All speeds are then shares of that run's speed, and runs that were slower by more than 15 % are marked as disturbed.
    """
    speeds = [m.speed for m in runs if m.speed is not None and not m.tainted and m.value is not None]
    fastest = max(speeds, default=1.0)
    if fastest <= _FASTER:
        return list(runs)
    return [m if m.speed is None else _by(m, m.speed, fastest) for m in runs]


def _by(m: Measurement, speed: float, fastest: float) -> Measurement:
    now = replace(m, speed=round(speed / fastest, 4))
    if m.tainted or fastest <= _FASTER * speed:
        return now
    said = f"the machine was busy: a later run of the baseline was {fastest / speed:.1f} times as fast"
    return replace(now, tainted=True, disturbed_by=m.disturbed_by or said, extra={**m.extra, "tainted": said})


def same_cost(run: Measurement, others: Sequence[Measurement]) -> int | None:
    """Return the number of steps of the other runs if a step of ``run`` costs as much as a step of the other runs, else
    None.

    Both models must have the same size, and both steps the same number of tokens and nearly the same processor time.
    """
    equal = [m for m in others if not m.tainted and m.value is not None and _alike(run, m)]
    return round(median(m.steps for m in equal if m.steps)) if equal else None


def speed_news(history: History) -> list[tuple[str, str]]:
    """Return warnings about the speed, each with a name and a sentence.

    One warning says that other programs slowed down the newest run too much, the other warning that the machine was
    busy during the baseline.
    """
    found = []
    newest = max(history.experiments, key=lambda e: e.number) if history.experiments else None
    if history.baseline is not None and (share := reference_of(history).processor_share) < _QUIET_SHARE:
        said = f"the machine was busy during the baseline, which got {100 * share:.0f} % of the processor time that"
        less = f"it wanted; so this session trains {_part(share)} of its budget"
        found.append(("reference", f"{said} {less}; start afresh with `run --tag NAME` when the machine is quiet"))
        if newest is history.baseline:
            return found  # this warning covers the baseline's disturbed runs
    measured = newest.measurements if newest is not None else ()
    slow = next((m for m in reversed(measured) if m.tainted and m.disturbed_by), None)
    if slow is not None and slow.speed is not None:
        said = f"a run got {100 * slow.speed:.0f} % of the machine's usual speed: {slow.disturbed_by}"
        found.append(("disturbed", f"{said}; such runs do not count and are repeated"))
    return found


def _part(share: float) -> str:
    """Return a share in words: ``about a third``, or ``about 80 %``."""
    named = {1 / 4: "a quarter", 1 / 3: "a third", 1 / 2: "half", 2 / 3: "two thirds", 3 / 4: "three quarters"}
    near = min(named, key=lambda each: abs(each - share))
    return f"about {named[near] if abs(near - share) <= 0.04 else f'{100 * share:.0f} %'}"


def _alike(one: Measurement, other: Measurement) -> bool:
    if not (one.steps and other.steps and one.tokens and other.tokens):
        return False
    if any(one.extra.get(name) != other.extra.get(name) for name in ("num_params", "matrix_params")):
        return False
    if one.tokens * other.steps != other.tokens * one.steps:
        return False
    spent = [_number(m, "processor_seconds") for m in (one, other)]
    if spent[0] is None or not spent[1]:
        return False
    ratio = spent[0] / one.steps / (spent[1] / other.steps)
    return abs(ratio - 1) <= _SAME_COST


def _share(m: Measurement) -> float | None:
    return _number(m, "processor_share")


def _product(m: Measurement) -> float | None:
    return _number(m, "product_ms")


def _number(m: Measurement, name: str) -> float | None:
    found = m.machine.get(name)
    return float(found) if isinstance(found, int | float) and found > 0 else None
