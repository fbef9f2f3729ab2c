"""Turn a session into JSON values for the page.  Unknown values are null; the page shows every text as plain text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.agents.ideas.backlog import read_backlog
from autoresearch_mlx.agents.ideas.idea import Idea
from autoresearch_mlx.compare import machines
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Experiment, History
from autoresearch_mlx.judge.history import gained, standing
from autoresearch_mlx.judge.speeds import mean_speed, slowed
from autoresearch_mlx.lab.budget import of_conditions
from autoresearch_mlx.lab.config import AgentSettings
from autoresearch_mlx.loop.control import Run, live_run
from autoresearch_mlx.loop.policy import pace
from autoresearch_mlx.report.page.span import worth_showing
from autoresearch_mlx.report.status import priced, status_of, to_json, with_left_out
from autoresearch_mlx.store.freed import changes_of, log_of
from autoresearch_mlx.store.ledger import FILE, Journal, read
from autoresearch_mlx.store.notes import read_notes
from autoresearch_mlx.store.records import experiment_to

NEWEST = 200
"""Number of newest experiments in the page's table; the plot shows all experiments."""
_LONGEST_TITLE = 80
"""Maximum number of columns of a title in the plot's tooltip."""
_LONGEST_DIFF = 60_000
"""Maximum number of characters of a diff on the page; few people would read more there."""


def session_view(folder: Path, journal: Journal, settings: AgentSettings | None) -> dict[str, Any]:
    """Return the values that change only when a file of the session changes.  Raises LedgerError."""
    history, run = journal.history, live_run(folder)
    status = with_left_out(status_of(folder, journal), folder.parents[1], folder, journal)
    if settings is not None and status.spent.calls:
        status = priced(status, settings)
    conditions = journal.session.get("conditions") or {}
    fleet, levels = machines.fleetwide(history), machines.levelled(history)
    return {
        "tag": folder.name,
        "status": to_json(status),
        "left_out": list(status.left_out.sentences(folder.name)) if status.left_out is not None else [],
        "hardware": {"device": conditions.get("device"), **_budget(conditions)},
        "incumbent": _incumbent(history),
        "experiments": [_row(e) for e in reversed(history.experiments[-NEWEST:])],
        "night": [_point(e, levels) for e in history.experiments],
        "near": _near(history.experiments, levels),
        "fleet": None if fleet is None else machines.to_json(fleet),
        "ideas": [_idea(i) for i in read_backlog(folder, history) if i.state in ("open", "taken")],
        "notes": list(read_notes(folder)),
        "run": _run(run),
        "plan": _plan(run, history),
    }


def _budget(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the budget of one experiment as text, and in seconds if it is a time."""
    ends = of_conditions(conditions)
    return {"budget_seconds": conditions.get("budget_seconds"), "budget": ends.in_words() if ends else None}


def experiment_view(root: Path, folder: Path, number: int) -> dict[str, Any]:
    """Return one experiment with its diff and the end of its log.  Raises LabError for an unknown number."""
    history = read(folder / FILE).history
    e = next((e for e in history.experiments if e.number == number), None)
    if e is None:
        raise LabError(f"session {folder.name} has no experiment {number}", "the experiment may still be running")
    changes = changes_of(root, folder, e)
    return {**experiment_to(e), "diff": changes[:_LONGEST_DIFF], "log_tail": log_of(folder, e)}


def sendable(value: Any) -> Any:
    """Replace NaN and infinities, which JSON does not have, with None, and remove control and bidi marks from texts.

    A bidi mark changes the direction of writing, and would reorder the words around a title on the page.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return terms.printable(value)
    if isinstance(value, Mapping):
        return {str(k): sendable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [sendable(v) for v in value]
    return value


def _incumbent(history: History) -> dict[str, Any] | None:
    best = history.incumbent
    if best is None:
        return None
    curve = next((m.curve for m in best.measurements if m.curve and not m.tainted), ())
    value = standing(history, best)
    return {
        "number": best.number,
        "title": best.title,
        "commit": best.commit,
        "value": value,
        "measured": best.value,
        "gained": gained(history),
        "curve": [list(point) for point in curve],
    }


def _point(e: Experiment, levels: Mapping[int, float]) -> dict[str, Any]:
    """Return one experiment as the plot shows it; ``levels`` is the result of :func:`machines.levelled`."""
    title = terms.cut(terms.one_line(e.title), _LONGEST_TITLE)
    point = {"number": e.number, "value": e.value, "gain": e.gain, "status": e.status, "title": title}
    return {**point, "level": levels[e.number]} if e.number in levels else point


def _near(experiments: Sequence[Experiment], levels: Mapping[int, float]) -> tuple[float, float] | None:
    """Return the range of values that the plot shows, or None if no experiment has a value yet."""
    values = [(levels.get(e.number, e.value), e.status == "keep") for e in experiments if e.value is not None]
    return worth_showing(values) if values else None


def _row(e: Experiment) -> dict[str, Any]:
    return {
        "number": e.number,
        "status": e.status,
        "value": e.value,
        "gain": e.gain,
        "title": e.title,
        "axis": e.axis,
        "agent": e.agent,
        "reason": e.reason,
        "seconds": sum(e.seconds.values()) if e.seconds else None,
        "runs": len(e.measurements),
        "speed": mean_speed(e.measurements),
        "slowed": slowed(e.measurements),
    }


def _idea(idea: Idea) -> dict[str, Any]:
    names = ("id", "title", "axis", "hypothesis", "source", "state", "experiment")
    return {name: value for name, value in asdict(idea).items() if name in names}


def _run(run: Run | None) -> dict[str, Any] | None:
    if run is None:
        return None
    wish = run.wish
    return {"pid": run.pid, "paused": wish.paused, "stop": wish.stop, "skip": wish.skip, "limits": dict(run.limits)}


def _plan(run: Run | None, history: History) -> dict[str, Any] | None:
    """Return when the run began, how fast it is, and its limits.  Times are seconds since 1970."""
    if run is None:
        return None
    began = _epoch(run.time)
    done = _since(history.experiments, began)
    hours, until, most = (run.limits.get(name) for name in ("hours", "until", "experiments"))
    ends = [began + hours * 3600] if hours is not None and began is not None else []
    return {
        "began": began,
        "done": len(done),
        "kept": sum(e.status == "keep" for e in done),
        "pace_seconds": pace(history),
        "ends": min([*ends, *([until] if until is not None else [])], default=None),
        "left": max(most - len(done), 0) if most is not None else None,
    }


def _since(experiments: Sequence[Experiment], began: float | None) -> list[Experiment]:
    if began is None:
        return []
    return [e for e in experiments if e.number > 0 and (_epoch(e.started) or 0.0) >= began]


def _epoch(time: str) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return None
