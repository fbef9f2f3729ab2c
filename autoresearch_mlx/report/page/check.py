"""Check that a ledger's values have the types that the page needs, such as text or a finite number."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import LedgerError
from autoresearch_mlx.experiment import Experiment, Measurement
from autoresearch_mlx.store.ledger import FILE, Journal, read
from autoresearch_mlx.store.records import experiment_from, measurement_from

_CERTIFICATE = ("effect", "low", "high", "probability_better", "pairs", "before", "head")


def read_checked(folder: Path) -> Journal:
    """Read a session's journal.  Raises LedgerError with file and line for a value that the loop does not write."""
    path = folder / FILE
    journal = read(path)
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        for fault in _faults(json.loads(line)) if line.strip() else ():
            hint = "the file was changed by hand or by another program; restore that line"
            raise LedgerError(f"{path}, line {number}: {fault}", hint)
    return journal


def _faults(event: Mapping[str, Any]) -> Iterator[str]:
    kind = event.get("event")
    if kind == "session":
        yield from (f"{name} is not text" for name in ("metric", "direction") if not isinstance(event[name], str))
        if event["direction"] not in ("min", "max"):
            yield f"direction is {event['direction']!r}, neither min nor max"
    elif kind == "finished":
        yield from _of_experiment(experiment_from(event))
    elif kind == "repeated":
        yield from _of_run(measurement_from(event["measurement"]))
    elif kind == "certified":
        yield from (f"{name} is not a finite number" for name in _CERTIFICATE if not _is_number(event.get(name)))


def _of_experiment(e: Experiment) -> Iterator[str]:
    words = ("status", "title", "agent", "reason", "started", "finished", "rationale")
    yield from (f"{name} is not text" for name in words if not isinstance(getattr(e, name), str))
    optional = ("commit", "base", "ref", "axis")
    yield from (f"{name} is not text" for name in optional if not isinstance(getattr(e, name), str | None))
    yield from (f"{name} is not a finite number" for name in ("value", "gain") if not _may_be(getattr(e, name)))
    if not isinstance(e.talk, Mapping):
        yield "talk is not an object"
    for name, figures in (("seconds", e.seconds), ("effect", e.effect)):
        if not isinstance(figures, Mapping):
            yield f"{name} is not an object"
        else:
            unknown = (key for key, figure in figures.items() if not _may_be(figure))
            yield from (f"{name}.{key} is not a finite number" for key in unknown)
    if e.status == "keep" and e.value is None:
        yield "the experiment is kept, but has no value"
    for measured in e.measurements:
        yield from _of_run(measured)


def _of_run(m: Measurement) -> Iterator[str]:
    figures = ("value", "steps", "tokens", "tokens_per_second", "peak_memory_mb", "regime")
    yield from (f"a run's {name} is not a finite number" for name in figures if not _may_be(getattr(m, name)))
    phases = ("start", "compile", "train", "evaluate")
    yield from (f"a run's seconds.{name} is not a number" for name in phases if not _may_be(getattr(m.seconds, name)))
    objects = ("machine", "extra")
    yield from (f"a run's {name} is not an object" for name in objects if not isinstance(getattr(m, name), Mapping))
    if not isinstance(m.log, str | None):
        yield "a run's log is not a path"
    stop = m.extra.get("stop") if isinstance(m.extra, Mapping) else None
    if isinstance(stop, Mapping) and not (_is_number(stop.get("share")) and "audit" in stop):
        yield "a run's stop has no share of the budget, or does not say whether it was an audit"
    if m.value is None and m.failure is None:
        yield "a run has neither a value nor a failure"


def _may_be(figure: Any) -> bool:
    return figure is None or _is_number(figure)


def _is_number(figure: Any) -> bool:
    return isinstance(figure, int | float) and not isinstance(figure, bool) and math.isfinite(figure)
