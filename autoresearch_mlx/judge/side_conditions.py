"""Block a keep that breaks a guard case or costs too much, although its value is better.

A target puts both conditions into the ``extra`` of its measurements:

    guard       {case: score}: cases that do not enter the value; a case that passed before must not fail
    secondary   {name: {"value": 812.0, "limit": 0.5}}: a figure; ``limit`` is the largest allowed rise, as a share of
                the incumbent's figure; ``slack`` is a rise that is allowed in addition, in the figure's unit
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import History, Measurement, Verdict
from autoresearch_mlx.judge.by_case import PASSED
from autoresearch_mlx.judge.evidence import Again, Decision
from autoresearch_mlx.judge.history import taken_now

_ENOUGH = 3
"""Number of runs after which the majority decides, for a guard case whose result changes from run to run."""
_NAMED = 3
"""Largest number of broken cases that a reason names."""


def side_conditions(decision: Decision, history: History, measured: Sequence[Measurement]) -> Decision:
    """Return the decision; a keep becomes a discard when it breaks a guard case or exceeds a limit."""
    if not isinstance(decision, Verdict) or decision.status != "keep" or history.incumbent is None:
        return decision
    ours = [m for m in measured if m.value is not None and not m.tainted]
    theirs = [m for m in taken_now(history, history.incumbent) if m.value is not None and not m.tainted]
    gained = decision.reason.partition(": keep")[0]
    broken = _broken(ours, theirs)
    if broken and len(ours) < _ENOUGH and not _repeats_agree([*theirs], [*ours]):
        return Again(f"{gained}, but {_cases(broken)} failed; the majority of several runs decides")
    if broken:
        return Verdict("discard", f"{gained}, but {_cases(broken)} passed before and now fail{_s(broken)}: discard")
    if (dearer := _dearer(ours, theirs)) is not None:
        return Verdict("discard", f"{gained}, but {dearer}: discard")
    return decision


def _broken(ours: Sequence[Measurement], theirs: Sequence[Measurement]) -> list[str]:
    """Return the guard cases that pass in most runs of the incumbent and fail in most runs of the candidate."""
    now, before = _passes(ours), _passes(theirs)
    return sorted(case for case, share in before.items() if share > 0.5 and now.get(case, 1.0) < 0.5)


def _passes(runs: Sequence[Measurement]) -> Mapping[str, float]:
    """Return the share of runs that pass each guard case."""
    found: dict[str, list[bool]] = {}
    for run in runs:
        for case, score in _table(run, "guard").items():
            found.setdefault(case, []).append(float(score) >= PASSED)
    return {case: fmean(passed) for case, passed in found.items()}


def _repeats_agree(*sides: Sequence[Measurement]) -> bool:
    repeated = [side for side in sides if len(side) > 1]
    return bool(repeated) and all(_table(m, "guard") == _table(side[0], "guard") for side in repeated for m in side)


def _dearer(ours: Sequence[Measurement], theirs: Sequence[Measurement]) -> str | None:
    """Return a sentence on a figure that exceeds its limit, or None if no figure does.

    A figure is compared only if all runs of the candidate and of the incumbent report it.
    """
    for name, entry in _table(ours[-1], "secondary").items() if ours else ():
        limit = entry.get("limit") if isinstance(entry, Mapping) else None
        now, before = _figure(ours, name), _figure(theirs, name)
        if limit is None or now is None or before is None:
            continue
        most = before * (1 + limit) + entry.get("slack", 0.0)
        if now > most:
            said = f"{name} {terms.amount(now)} against the incumbent's {terms.amount(before)}"
            return f"{said}, and at most {terms.amount(most)} is allowed"
    return None


def _figure(runs: Sequence[Measurement], name: str) -> float | None:
    values = [_table(run, "secondary").get(name, {}).get("value") for run in runs]
    known = [float(value) for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _table(run: Measurement, name: str) -> Mapping[str, Any]:
    found = run.extra.get(name)
    return found if isinstance(found, Mapping) else {}


def _cases(broken: Sequence[str]) -> str:
    named = ", ".join(broken[:_NAMED]) + (f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else "")
    return f"the guard case{'' if len(broken) == 1 else 's'} {named}"


def _s(broken: Sequence[str]) -> str:
    return "s" if len(broken) == 1 else ""
