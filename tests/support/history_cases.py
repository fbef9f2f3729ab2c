"""Make histories in a few words, for tests of code that reads a history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from autoresearch_mlx.experiment import Context, Experiment, History, Status

MARGIN = 0.002
FILES = {"train.py": "MATRIX_LR = 0.04\nDEPTH = 4\nTOTAL_BATCH_SIZE = 2**14\nROPE_BASE = 10000.0\n"}


def tried(number: int, status: Status, axis: str | None = None, gain: float | None = None, **fields: Any) -> Experiment:
    """Return one experiment; if it was measured, its value is 2 - gain."""
    measured = {
        "value": None if gain is None else 2 - gain,
        "gain": gain,
        "reason": f"gain against the incumbent (margin {MARGIN:g}): {status}" if gain is not None else "it broke",
    }
    fixed: dict[str, Any] = {
        "commit": f"{number:040x}",
        "base": None,
        "ref": None,
        "title": f"try {number}",
        "axis": axis,
        "knobs": {},
        "agent": "ollama:m",
        "started": "",
        "finished": "",
    }
    return Experiment(number=number, status=status, **{**fixed, **measured, **fields})


def night(*experiments: Experiment, metric: str = "val_bpb") -> History:
    """Return the history of a kept baseline and these experiments."""
    baseline = tried(0, "keep", gain=0.0, title="baseline", agent="")
    return History((baseline, *experiments), metric, "min")


def lost(first: int, count: int, axis: str, gain: float = -0.05) -> list[Experiment]:
    """Return discards in a row, none of them near the incumbent."""
    return [tried(number, "discard", axis, gain) for number in range(first, first + count)]


def context(
    history: History,
    number: int | None = None,
    seed: int = 42,
    files: Mapping[str, str] = FILES,
    **fields: Any,
) -> Context:
    following = max((e.number for e in history.experiments), default=-1) + 1
    return Context(following if number is None else number, "", files, history, "a Mac", seed, **fields)


def at(minutes: float) -> str:
    """Return the time this number of minutes from now, as the ledger writes it."""
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat(timespec="seconds")
