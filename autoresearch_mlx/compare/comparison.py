"""Compare two logs in figures, and write the result as JSON.

The verdict on a change states no more than the intervals of its effects allow.  Every display of a comparison also
shows the comparison's remarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autoresearch_mlx.compare import match, verdict
from autoresearch_mlx.compare.agreement import Agreement, agreement, disagreements
from autoresearch_mlx.compare.effects import AxisEffect, Effect, Run, by_axis, difference, percent
from autoresearch_mlx.compare.log import METRIC, Log
from autoresearch_mlx.compare.log_noise import NULL_AXES, Noise
from autoresearch_mlx.compare.match import Pair
from autoresearch_mlx.compare.measured_under import comparable
from autoresearch_mlx.compare.verdict import Judged, Word, judged
from autoresearch_mlx.experiment import FAILED

ONCE = (
    "An effect compares one run with the incumbent at that time in the same log, unless there are repeats. The best of "
    "several tries tends to look better than it is; the matching changes are the fairer sample, because they were "
    "paired without regard to their gains."
)
ABSOLUTE = (
    "Absolute values can be compared only on the same data, tokenizer, validation rows, budget and machine; across "
    "machines, look at the signs and the order of the effects."
)
SAME = (
    "Data, tokenizer, validation rows, budget and machine are the same on both sides, so the values themselves can be "
    "compared."
)


@dataclass(frozen=True, slots=True)
class Side:
    """One session in a few figures.  ``best`` is the value of the session's last incumbent; ``kept`` counts the
    baseline too.

    If the log has later runs of the baseline and the incumbent, ``baseline`` and ``best`` are estimates from all runs
    of these versions, as in ``status``.
    """

    name: str
    hardware: str
    source: str
    baseline: float | None
    best: float | None
    gain: float | None
    gain_percent: float | None
    experiments: int
    measured: int
    """Number of runs that have a value."""
    kept: int
    discarded: int
    failed: int
    """Number of runs without a verdict, including interrupted runs."""
    interrupted: int
    left_out: int
    """Number of runs whose effects cannot be compared."""
    noise: Noise
    caveats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AxisRow:
    """One axis in both logs; ``there`` or ``here`` is None if the log has no run on the axis.

    The verdict compares the best effects of the two logs.
    """

    axis: str
    there: AxisEffect | None
    here: AxisEffect | None
    best_there: Judged | None
    best_here: Judged | None
    verdict: Word


@dataclass(frozen=True, slots=True)
class Match:
    """One change that is in both logs."""

    there: Judged
    here: Judged
    verdict: Word


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of two logs: ``there`` is the reference, ``here`` is this session.  ``there`` is None if the logs
    have different metrics, because then nothing is compared."""

    metric: str
    reference: str
    source: str
    there: Side | None
    here: Side
    axes: tuple[AxisRow, ...]
    matches: tuple[Match, ...]
    agreement: Agreement
    disagreements: tuple[Match, ...]
    """The largest disagreements that are not within noise, at most five."""
    untried: tuple[Effect, ...]
    """The reference's largest gain on each axis, in descending order, without changes that this session tried too."""
    absolute: bool
    """True if the values themselves can be compared, and not only the effects."""
    reasons: tuple[str, ...]
    """Reasons why the values cannot be compared."""
    remarks: tuple[str, ...]
    """Notes for the reader, in whole sentences."""


def compare_logs(here: Log, there: Log) -> Comparison:
    """Return the comparison of two logs: a few figures for each log, and the effects of the changes one by one."""
    applies = here.metric == there.metric == METRIC and here.direction == there.direction == "min"
    ours, theirs = (here.effects, there.effects) if applies else ((), ())
    found = match.pairs(theirs, ours)
    decided = [pair for pair in found if _match(pair, there, here).verdict != "within noise"]
    absolute, reasons = comparable(there.conditions, here.conditions)
    side = _side(here)
    return Comparison(
        metric=here.metric,
        reference=there.name,
        source=there.source,
        there=_side(there) if applies else None,
        here=side,
        axes=_axes(theirs, ours, there.noise, here.noise),
        matches=tuple(_match(pair, there, here) for pair in found),
        agreement=agreement(found),
        disagreements=tuple(_match(pair, there, here) for pair in disagreements(decided)),
        untried=untried(theirs, ours),
        absolute=applies and absolute,
        reasons=reasons,
        remarks=(
            *_nothing_yet(side),
            *((match.IN_WORDS, verdict.IN_WORDS, ONCE) if applies else (_other_metric(there, here),)),
            *((SAME if absolute else ABSOLUTE,) if applies else ()),
        ),
    )


def untried(there: Sequence[Effect], here: Sequence[Effect]) -> tuple[Effect, ...]:
    """Return the largest kept gain of ``there`` on each axis, in descending order, without changes that ``here`` tried
    too.

    ``here`` tried a change of knobs if a run of ``here`` moved the same knobs in the same direction, whatever the
    result was. ``here`` tried a change of code if a run of ``here`` has the same axis.
    """
    return tuple(e for e in best_wins(there) if not any(match.same_way(e.run, own.run) for own in here))


def best_wins(found: Sequence[Effect]) -> tuple[Effect, ...]:
    """Return the largest kept gain on each axis, in descending order."""
    wins = [e for e in found if e.run.status == "keep" and (e.gain or 0) > 0 and e.run.axis not in NULL_AXES]
    best = [axis.best for axis in by_axis(wins).values() if axis.best is not None]
    return tuple(sorted(best, key=lambda e: -(e.gain or 0.0)))


def _nothing_yet(here: Side) -> list[str]:
    if here.measured == 0:
        return ["Nothing has been measured here yet."]
    if here.measured == 1 and here.baseline is not None:
        return ["Only the baseline has been measured here so far."]
    return []


def _other_metric(there: Log, here: Log) -> str:
    better = "lower" if here.direction == "min" else "higher"
    return (
        f"The {there.name} table is about {METRIC}, lower is better. This session measures {here.metric}, "
        f"{better} is better: the table does not apply to it, so nothing is compared."
    )


def _match(pair: Pair, there: Log, here: Log) -> Match:
    a, b = judged(pair.there, there.noise), judged(pair.here, here.noise)
    return Match(a, b, verdict.verdict(a, b))


def _side(log: Log) -> Side:
    runs: Sequence[Run] = log.runs
    kept = [run for run in runs if run.status == "keep"]
    standing = [run for run in kept if run.comparable] or kept
    baseline = next((run.value for run in kept if run.order == 0), None)
    best = standing[-1].value if standing else None
    if log.ends is not None:
        baseline, best = log.ends
    gain = difference(best, baseline, log.direction)
    return Side(
        name=log.name,
        hardware=log.hardware,
        source=log.source,
        baseline=baseline,
        best=best,
        gain=gain,
        gain_percent=percent(gain, baseline),
        experiments=len(runs),
        measured=sum(run.value is not None for run in runs),
        kept=len(kept),
        discarded=sum(run.status == "discard" for run in runs),
        failed=sum(run.status in FAILED for run in runs),
        interrupted=sum(run.status == "interrupted" for run in runs),
        left_out=sum(not run.comparable for run in runs),
        noise=log.noise,
        caveats=log.caveats,
    )


def _axes(theirs: Sequence[Effect], ours: Sequence[Effect], there: Noise, here: Noise) -> tuple[AxisRow, ...]:
    """Return the axes, sorted by the best effect in the reference, then by the best effect in our log, then by name.

    Axes without a value come last.
    """
    a, b = by_axis(theirs), by_axis(ours)
    rows = [_row(axis, a.get(axis), b.get(axis), there, here) for axis in sorted(a.keys() | b.keys())]
    return tuple(sorted(rows, key=lambda row: (_rank(row.there), _rank(row.here))))


def _row(axis: str, theirs: AxisEffect | None, ours: AxisEffect | None, there: Noise, here: Noise) -> AxisRow:
    a = judged(theirs.best, there) if theirs and theirs.best else None
    b = judged(ours.best, here) if ours and ours.best else None
    word: Word = verdict.verdict(a, b)
    if theirs is not None and ours is not None and (a is None or b is None):
        word = "failed here" if b is None else "failed there"
    elif ours is None:
        word = "untested here"
    elif theirs is None:
        word = "tried only here"
    return AxisRow(axis, theirs, ours, a, b, word)


def _rank(side: AxisEffect | None) -> float:
    gain = side.best.gain if side and side.best else None
    return float("inf") if gain is None else -gain


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as JSON.  Gains are in the metric's unit, and a positive gain is better; null means
    unknown."""
    return {
        "metric": comparison.metric,
        "applies": comparison.there is not None,
        "reference": comparison.reference,
        "source": comparison.source,
        "there": asdict(comparison.there) if comparison.there else None,
        "here": asdict(comparison.here),
        "axes": [
            {
                "axis": row.axis,
                "there": _axis(row.there, row.best_there),
                "here": _axis(row.here, row.best_here),
                "verdict": row.verdict,
            }
            for row in comparison.axes
        ],
        "matches": [_match_as_json(found) for found in comparison.matches],
        "agreement": asdict(comparison.agreement),
        "disagreements": [_match_as_json(found) for found in comparison.disagreements],
        "untried": [_effect(effect) for effect in comparison.untried],
        "absolute": {"comparable": comparison.absolute, "reasons": list(comparison.reasons)},
        "remarks": list(comparison.remarks),
    }


def _axis(side: AxisEffect | None, best: Judged | None) -> dict[str, Any] | None:
    if side is None:
        return None
    return {"tried": side.tried, "kept": side.kept, "best": _judged(best) if best else None}


def _match_as_json(found: Match) -> dict[str, Any]:
    return {
        "axis": found.there.effect.run.axis,
        "there": _judged(found.there),
        "here": _judged(found.here),
        "verdict": found.verdict,
    }


def _judged(told: Judged) -> dict[str, Any]:
    return {**_effect(told.effect), "low": told.low, "high": told.high, "sigmas": told.sigmas}


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "order": effect.run.order,
        "commit": effect.run.commit,
        "status": effect.run.status,
        "axis": effect.run.axis,
        "value": effect.run.value,
        "incumbent": effect.incumbent,
        "gain": effect.gain,
        "gain_percent": effect.percent,
        "knobs": {name: list(change) for name, change in effect.run.changes.items()},
        "note": effect.run.note,
    }
