"""Read from a session's runs the speed of the machine that counts as 1, and whether two runs cost the same a step."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from autoresearch_mlx.experiment import History, Measurement, Reference
from autoresearch_mlx.judge.history import taken_now

_SAME_COST = 0.15
"""Relative difference in processor time for a step up to which two files cost the same: on a busy machine the time of
one and the same step varies by so much, because programs drive each other's data from the caches."""

_QUIET_SHARE = 0.95
"""Share of the wanted processor time below which the machine was not quiet."""


def reference_of(history: History, earlier: Sequence[Measurement] = ()) -> Reference:
    """Return the reference: the speed of the first undisturbed run of the baseline in the current regime.

    In a regime without one, that of the first repeat.  ``earlier``: runs that are not in the ledger yet.  When all of
    these were too slow, waiting for a quieter machine has not helped: then their speed is the reference.
    """
    best = history.baseline
    recorded = taken_now(history, best) if best is not None else ()
    later = [r.measurement for r in history.repeats if r.measurement.regime == history.regime]
    known = [m for m in (*recorded, *later, *earlier) if _share(m) is not None]
    counted = [m for m in known if not m.tainted]
    if counted:
        first = counted[0]
        share = (_share(first) or 1.0) / (first.speed or 1.0)
        return Reference(min(share, 1.0), _number(first, "product_ms"), _number(first, "copy_ms"))
    slow = [m for m in known if m.tainted and m.disturbed_by]
    return Reference(median(_share(m) or 1.0 for m in slow)) if slow else Reference()


def same_cost(run: Measurement, others: Sequence[Measurement]) -> int | None:
    """Return the number of steps that the others took, when a step of ``run`` costs what one of theirs does; else None.

    The model must have the same size, a step the same tokens and nearly the same processor time.
    """
    equal = [m for m in others if not m.tainted and m.value is not None and _alike(run, m)]
    return round(median(m.steps for m in equal if m.steps)) if equal else None


def speed_news(history: History) -> list[tuple[str, str]]:
    """Return (name, sentence) for a newest run that other programs slowed down too far, and for a busy baseline."""
    found = []
    newest = max(history.experiments, key=lambda e: e.number).measurements if history.experiments else ()
    slow = next((m for m in reversed(newest) if m.tainted and m.disturbed_by), None)
    if slow is not None and slow.speed is not None:
        said = f"a run got {100 * slow.speed:.0f} % of the machine's usual speed: {slow.disturbed_by}"
        found.append(("disturbed", f"{said}; such runs do not count and are taken again"))
    if history.baseline is not None and (share := reference_of(history).processor_share) < _QUIET_SHARE:
        said = f"the machine did not get quiet for the baseline, which got {100 * share:.0f} % of the processor time"
        found.append(("reference", f"{said} that it wanted: that speed counts as the usual one in this session"))
    return found


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


def _number(m: Measurement, name: str) -> float | None:
    found = m.machine.get(name)
    return float(found) if isinstance(found, int | float) and found > 0 else None
