"""Describe the results so far for a model: the incumbent, the last tries, failures, and the course of the runs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoresearch_mlx import terms
from autoresearch_mlx.agents.prompt.quoting import block, cell, phrase, tail, tame
from autoresearch_mlx.compare.effects import axis_of_experiment, by_axis, effects, from_experiment
from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.experiment import Context, Experiment, History, Measurement
from autoresearch_mlx.judge.early import loss_at
from autoresearch_mlx.judge.history import counting, gained, standing

MOST = 2
_TOLD = frozenset({"crash", "timeout", "invalid"})
_LOG_LINES = 15
_DIFF_LINES = 60
_WIDTH = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed experiment as text; ``diff`` or ``log`` is empty when there is no diff or log to show."""

    head: str
    diff: str
    log: str


def nearest(context: Context, axis: str | None) -> tuple[Failure, ...]:
    """Return at most ``MOST`` failures: the newest, or, if an axis is given, those that concern this axis most.

    With an axis, the failures on the axis itself come last.  Before them come failures on other axes of its family (the
    family of ``lr.matrix`` is ``lr.*``).  Otherwise the order is oldest first.
    """
    failed = [e for e in context.history.experiments if e.status in _TOLD and e.number > 0]
    if axis is not None:
        failed = _of_axis(failed, axis)
    return tuple(_failure(e, context) for e in failed[-MOST:])


def _of_axis(failed: Sequence[Experiment], axis: str) -> list[Experiment]:
    same = [e for e in failed if axis_of_experiment(e) == axis]
    family = axis.split(".")[0]
    kin = [e for e in failed if e not in same and axis_of_experiment(e).split(".")[0] == family]
    return [*kin, *same]


def _failure(e: Experiment, context: Context) -> Failure:
    head = f"Experiment {e.number} ({e.status}, axis {cell(axis_of_experiment(e), 24)}): {phrase(e.title)}"
    diff = _diff(e, context)
    log = tail(context.log_tail(e), _LOG_LINES, _WIDTH) if diff else ""
    return Failure(f"{head}\nReason: {phrase(e.reason, 400)}", diff, log)


def _diff(e: Experiment, context: Context) -> str:
    """Return the experiment's diff, cut to its first lines if long; empty when `gc` has removed the commit."""
    if e.commit is None or e.base is None:
        return ""
    try:
        lines = _unified(context.read(e.base), context.read(e.commit))
    except WorkspaceError:
        return ""
    more = len(lines) - _DIFF_LINES
    shown = lines[:_DIFF_LINES] + ([f"({more} more lines)"] if more > 0 else [])
    return "\n".join(tame(line[:_WIDTH]) for line in shown)


def _unified(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    for path in sorted({*before, *after}):
        old, new = before.get(path, ""), after.get(path, "")
        if old != new:
            lines += difflib.unified_diff(old.splitlines(), new.splitlines(), path, path, n=2, lineterm="")
    return lines


def render(failures: Sequence[Failure], code: bool, logs: bool) -> str:
    """Return the failures as text; without their code, the logs are left out as well."""
    return "\n\n".join(_render(failure, code, code and logs) for failure in failures)


def _render(failure: Failure, code: bool, log: bool) -> str:
    parts = [failure.head]
    if code and failure.diff:
        parts.append(f"It had changed this (the file above does not have it):\n{block(failure.diff, 'diff')}")
    if log and failure.log:
        parts.append(f"The end of its log:\n{block(failure.log, 'text')}")
    return "\n".join(parts)


SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Shares of the budget at which the loss curves are read."""
TRIES = 3
_NEAR = 0.06
"""Largest distance from a curve's first or last point at which this point's loss is shown, as a share of the budget.
The distance between two points is a little smaller."""
_BETTER = {"min": "lower is better", "max": "higher is better"}
_MARGIN = re.compile(r"\(margin ([^()\s]+)\)")


def better(history: History) -> str:
    return _BETTER[history.direction]


def incumbent(context: Context, short: bool = False) -> str:
    """Return the numbers to beat as text; empty before there is a baseline.

    If ``short`` is true, some numbers are left out: sigma, the gain since the baseline, and the run's steps, speed and
    memory.
    """
    history, best = context.history, context.history.incumbent
    if best is None:
        return ""
    runs, value = len(counting(history, best)), standing(history, best)
    lines = [
        f"Experiment {best.number}, {phrase(best.title)!r}: {history.metric} {terms.value(value)}"
        f" ({better(history)}; {terms.plural(max(runs, 1), 'run')})."
    ]
    if not short and (ran := _ran(_measured(best))):
        lines.append(f"{ran}.")
    first = history.baseline
    if first is not None and first.number != best.number and (gain := gained(history)) is not None:
        since = "" if short else f"; gained since: {terms.gain(gain)}"
        lines.append(f"The baseline had {terms.value(standing(history, first))}{since}.")
    lines += _noise(context, short)
    return "\n".join(lines)


def _noise(context: Context, short: bool) -> list[str]:
    lines = []
    if context.sigma is not None and not short:
        lines.append(f"Two runs of one file differ: sigma of one run is {terms.amount(context.sigma)}.")
    if (margin := margin_told(context.history)) is not None:
        lines.append(f"A change is kept when it gains more than {margin}.")
    return lines


def margin_told(history: History) -> str | None:
    """Return the gain that the judge last required for a keep, as text; None if no decision names such a gain."""
    found = (_MARGIN.search(e.reason) for e in reversed(history.experiments))
    return next((phrase(match.group(1), 20) for match in found if match), None)


def table(context: Context, rows: int) -> str:
    """Return a table of the last experiments, oldest first; empty when there are no experiments."""
    shown = context.history.experiments[-rows:] if rows else ()
    if not shown:
        return ""
    sigmas = context.sigma is not None and context.sigma > 0
    head = ["#", "status", "axis", "change", context.history.metric, "gain", *(["z"] if sigmas else [])]
    lines = [_row(head), _row(["---"] * len(head))]
    lines += [_row(_cells(e, context.sigma if sigmas else None)) for e in shown]
    note = "gain: against the incumbent of its time, positive is better; -: nothing was measured."
    note += " z: the gain in sigmas of one run; a gain below 2 may be luck." if sigmas else ""
    return "\n".join([note, "", *lines])


def _cells(e: Experiment, sigma: float | None) -> list[str]:
    gain = None if e.number == 0 else e.gain
    z = [] if sigma is None else [terms.UNKNOWN if gain is None else f"{gain / sigma:+.1f}"]
    return [
        str(e.number),
        e.status,
        cell(axis_of_experiment(e), 24),
        cell(e.title),
        terms.value(e.value),
        terms.gain(gain),
        *z,
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def tries_by_axis(history: History, most: int = 30) -> str:
    """Return a line for each axis that was tried in the session, in the order of their last tries."""
    ran = [e for e in history.experiments if e.status != "invalid" or e.measurements]
    found = by_axis(effects([from_experiment(e) for e in ran], history.direction))
    lines = []
    for axis in list(found.values())[-most:]:
        best = axis.best.gain if axis.best is not None else None
        lines.append(
            f"- {phrase(axis.axis, 24)}: {axis.tried} tried, {axis.kept} kept"
            + (f", best gain {terms.gain(best)}" if best is not None else ", none ran")
        )
    return "\n".join(lines)


def runs(context: Context) -> str:
    """Return loss curves, speed and memory of the incumbent and the last tries; empty when nothing was run."""
    chosen = [(e, m) for e in _to_show(context.history) if (m := _measured(e)) is not None and (m.curve or m.steps)]
    if not chosen:
        return ""
    columns = {
        **{f"loss at {share:.0%}": [_at(m.curve, share) for _, m in chosen] for share in SHARES},
        "steps": [terms.count(m.steps) for _, m in chosen],
        "tokens/s": [terms.count(m.tokens_per_second) for _, m in chosen],
        "memory MB": [terms.count(m.peak_memory_mb) for _, m in chosen],
    }
    known = {name: cells for name, cells in columns.items() if any(c != terms.UNKNOWN for c in cells)}
    best = context.history.incumbent
    names = [
        f"{e.number} (incumbent)" if best is not None and e.number == best.number else str(e.number) for e, _ in chosen
    ]
    lines = [_row(["#", *known]), _row(["---"] * (len(known) + 1))]
    lines += [_row([name, *(cells[i] for cells in known.values())]) for i, name in enumerate(names)]
    return "\n".join(["Training loss at equal shares of the budget.", "", *lines])


def _to_show(history: History) -> list[Experiment]:
    best = history.incumbent
    others = [e for e in history.experiments if e is not best and _measured(e) is not None]
    return ([best] if best is not None else []) + others[-TRIES:]


def _measured(e: Experiment) -> Measurement | None:
    """Return the run that shows best how training went; it may be a run that crashed halfway."""
    told = [m for m in e.measurements if m.curve or m.steps or m.tokens_per_second or m.peak_memory_mb]
    return max(told, key=lambda m: (not m.tainted, m.value is not None, len(m.curve)), default=None)


def _ran(m: Measurement | None) -> str:
    if m is None:
        return ""
    facts = [
        f"{terms.count(m.steps)} steps" if m.steps is not None else "",
        f"{terms.count(m.tokens_per_second)} tokens/s" if m.tokens_per_second is not None else "",
        f"peak memory {terms.count(m.peak_memory_mb)} MB" if m.peak_memory_mb is not None else "",
    ]
    return ", ".join(fact for fact in facts if fact)


def _at(curve: Sequence[tuple[float, float]], share: float) -> str:
    """Return the loss at a share of the budget as text, by linear interpolation; ``-`` far outside the curve."""
    if (loss := loss_at(curve, share)) is not None:
        return f"{loss:.3f}"
    near = min(curve, key=lambda point: abs(point[0] - share), default=None)
    return f"{near[1]:.3f}" if near is not None and abs(near[0] - share) <= _NEAR else terms.UNKNOWN
