"""How far the session was at each experiment's end: hours of work, tokens trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from autoresearch_mlx.experiment import Experiment, History


@dataclass(frozen=True, slots=True)
class Clock:
    """By experiment number; what is not known of an experiment is missing."""

    hours: Mapping[int, float]
    tokens: Mapping[int, int]


def clock_of(history: History) -> Clock:
    """Pauses between two runs of the loop are no work: only the time from each start to its end is summed."""
    hours: dict[int, float] = {}
    tokens: dict[int, int] = {}
    worked, trained = 0.0, 0
    for e in history.experiments:
        trained += sum(m.tokens or 0 for m in e.measurements)
        if any(m.tokens is not None for m in e.measurements) or trained:
            tokens[e.number] = trained
        if (spent := wall_seconds(e)) is not None:
            worked += spent / 3600
            hours[e.number] = round(worked, 5)
    return Clock(hours, tokens)


def wall_seconds(e: Experiment) -> float | None:
    """From its start to its end; None where either is no time."""
    try:
        return (datetime.fromisoformat(e.finished) - datetime.fromisoformat(e.started)).total_seconds()
    except (ValueError, TypeError):  # unreadable, or one with and one without an offset
        return None
