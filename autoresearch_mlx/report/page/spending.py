"""Add up the session's expenses: time by phase, tokens, failures by cause, and runs that were stopped early."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import FAILED, Experiment, History, Measurement
from autoresearch_mlx.judge.history import selecting, stops
from autoresearch_mlx.lab.budget import of_conditions
from autoresearch_mlx.report.page.content import Cause, Spending, StoppedRun, Stops
from autoresearch_mlx.store.ledger import Journal
from autoresearch_mlx.store.talks import spent

_RUN_PHASES = ("start", "compile", "train", "evaluate")
_ORDER = ("propose", "think", "load", "unload", "smoke", *_RUN_PHASES, "commit", "settle")
_OF_RUNS = ("measure", "incumbent")
"""Steps of the loop that are left out here, because the runs record their own times."""
_RAISED = re.compile(r"([A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt))\b")


def spending_of(folder: Path, history: History, prices: tuple[float | None, float | None]) -> Spending:
    """Sum up time, tokens and cost, from the ledger and from the recorded calls to models."""
    asked = spent(folder)
    trained = [m.tokens for m in _measurements(history) if m.tokens is not None]
    return Spending(
        seconds=_seconds(history),
        calls=asked.calls,
        prompt_tokens=asked.prompt_tokens,
        completion_tokens=asked.completion_tokens,
        estimated=asked.estimated,
        cost=asked.cost(*prices),
        trained_tokens=sum(trained) if trained else None,
        agents=_agents(history.experiments),
    )


def _seconds(history: History) -> Mapping[str, float]:
    """Sum seconds by phase, in the order in which phases happen.  ``propose`` leaves out the model's own time."""
    phases: dict[str, float] = {}
    for e in history.experiments:
        for name, seconds in _loop_seconds(e).items():
            phases[name] = phases.get(name, 0.0) + seconds
    for m in _measurements(history):
        for name in _RUN_PHASES:
            phases[name] = phases.get(name, 0.0) + (getattr(m.seconds, name) or 0.0)
    ordered = [*_ORDER, *(name for name in phases if name not in _ORDER)]
    return {name: round(phases[name], 3) for name in ordered if phases.get(name, 0.0) > 0}


def _loop_seconds(e: Experiment) -> dict[str, float]:
    """Return the seconds of the loop's own steps.

    The time in which a model thought and was loaded is not part of ``propose``.
    """
    steps = {name: s for name, s in e.seconds.items() if name not in _OF_RUNS}
    for name in ("think", "load"):
        asked = e.talk.get(f"{name}_seconds")
        if isinstance(asked, int | float) and "propose" in steps:
            steps[name] = steps.get(name, 0.0) + min(float(asked), steps["propose"])
            steps["propose"] -= min(float(asked), steps["propose"])
    return steps


def _measurements(history: History) -> Iterable[Measurement]:
    yield from (m for e in history.experiments for m in e.measurements)
    yield from (r.measurement for r in history.repeats)


def _agents(experiments: Sequence[Experiment]) -> tuple[tuple[str, int, int, int], ...]:
    names = dict.fromkeys(terms.one_line(e.agent) for e in experiments if e.number > 0)
    return tuple((name or terms.UNKNOWN, *_outcome(experiments, name)) for name in names)


def _outcome(experiments: Sequence[Experiment], agent: str) -> tuple[int, int, int]:
    mine = [e for e in experiments if e.number > 0 and terms.one_line(e.agent) == agent]
    return len(mine), sum(e.status == "keep" for e in mine), sum(e.failed for e in mine)


def causes(experiments: Sequence[Experiment]) -> tuple[Cause, ...]:
    """Group failures by exception, or else by reason without its numbers; the most frequent failure comes first."""
    groups: dict[tuple[str, str], list[Experiment]] = {}
    for e in experiments:
        if e.status in FAILED:
            groups.setdefault((e.status, _cause(e.reason)), []).append(e)
    found = [
        Cause(status, cause, tuple(e.number for e in failed), terms.cut(terms.one_line(failed[-1].reason), 300))
        for (status, cause), failed in groups.items()
    ]
    return tuple(sorted(found, key=lambda cause: -len(cause.numbers)))


def _cause(reason: str) -> str:
    reason = terms.one_line(reason)
    if (raised := _RAISED.search(reason)) is not None:
        return raised.group(1)
    words = re.split(r"[:;(]", reason)[0]
    return re.sub(r"\d[\d,.]*", "N", words).strip()[:80] or "no reason is known"


def stops_of(journal: Journal) -> Stops | None:
    budget = of_conditions(journal.session.get("conditions") or {})
    if budget is None:
        return None
    told = stops(journal.history, budget.amount if budget.kind == "seconds" else None)
    return Stops(
        stopped=told.stopped,
        saved_seconds=told.saved_seconds,
        audits=told.audits,
        wrong=told.wrong,
        error_high=told.error_high,
        runs=tuple(_stopped(e) for e in journal.history.experiments if _rule_spoke(e)),
    )


def _rule_spoke(e: Experiment) -> bool:
    return bool(e.measurements) and isinstance(e.measurements[selecting(e.measurements)].extra.get("stop"), dict)


def _stopped(e: Experiment) -> StoppedRun:
    told = e.measurements[selecting(e.measurements)].extra["stop"]
    reason = terms.one_line(str(told.get("reason", "")))
    return StoppedRun(e.number, told["share"], bool(told["audit"]), e.status, terms.cut(reason, 300))
