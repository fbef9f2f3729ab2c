"""Read and write experiments and measurements as JSON objects, for the ledger and ``--json``.

The keys and their order are a contract: every version of the package reads the ledgers of all other versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from autoresearch_mlx.experiment import Experiment, Measurement, Seconds


def experiment_from(event: Mapping[str, Any]) -> Experiment:
    """Return an experiment from its JSON object.

    A missing key, as in a ledger of an earlier version, means "unknown".  Raises KeyError, TypeError or ValueError.
    """
    return Experiment(
        number=_count(event["number"]),
        status=event["status"],
        value=_figure(event, "value"),
        gain=_figure(event, "gain"),
        commit=event.get("commit"),
        base=event.get("base"),
        ref=event.get("ref"),
        title=event.get("title", ""),
        axis=event.get("axis"),
        knobs={name: (change[0], change[1]) for name, change in (event.get("knobs") or {}).items()},
        agent=event.get("agent", ""),
        reason=event.get("reason", ""),
        started=event.get("started", ""),
        finished=event.get("finished", ""),
        measurements=tuple(measurement_from(m) for m in event.get("measurements") or ()),
        rationale=event.get("rationale", ""),
        fingerprint=event.get("fingerprint"),
        seconds=event.get("seconds") or {},
        talk=event.get("talk") or {},
        effect=event.get("effect") or {},
        against=event.get("against"),
        held=event.get("held") is True,
    )


def measurement_from(event: Mapping[str, Any]) -> Measurement:
    """Return a measurement from its JSON object.

    Missing keys and errors are treated as in :func:`experiment_from`.
    """
    seconds = event.get("seconds") or {}
    return Measurement(
        value=_figure(event, "value"),
        seed=event.get("seed", 0),
        failure=event.get("failure"),
        reason=event.get("reason", ""),
        seconds=Seconds(*(seconds.get(k) for k in ("start", "compile", "train", "evaluate"))),
        steps=event.get("steps"),
        tokens=event.get("tokens"),
        tokens_per_second=event.get("tokens_per_second"),
        peak_memory_mb=event.get("peak_memory_mb"),
        machine=event.get("machine") or {},
        log=event.get("log"),
        curve=tuple([(share, loss) for share, loss in event.get("curve") or ()]),
        extra=event.get("extra") or {},
        regime=event.get("epoch", 0),
        tainted=event.get("tainted", False),
        key=event.get("key"),
        speed=event.get("speed"),
        stretch=event.get("stretch"),
        disturbed_by=event.get("disturbed_by", ""),
    )


def _count(number: Any) -> int:
    """Return an experiment's number.  Raises ValueError for anything but a whole number of 0 or more."""
    if type(number) is not int or number < 0:
        raise ValueError(f"{number!r} cannot be the number of an experiment")
    return number


def _figure(event: Mapping[str, Any], name: str) -> float | None:
    """Return the number with this name in the event, or None if it is unknown.  Raises ValueError for anything else."""
    found = event.get(name)
    if found is not None and type(found) not in (int, float):
        raise ValueError(f"{name} is not a finite number")
    return found


def experiment_to(experiment: Experiment) -> dict[str, Any]:
    """Return the JSON object of an experiment, with its keys in the fixed order."""
    fields = asdict(experiment)
    fields["measurements"] = [measurement_to(measured) for measured in experiment.measurements]
    fields["knobs"] = {name: list(change) for name, change in experiment.knobs.items()}
    if experiment.against is None:
        del fields["against"]  # the lines of a night with one lane stay as in earlier versions
    if not experiment.held:
        del fields["held"]
    return fields


def measurement_to(measured: Measurement) -> dict[str, Any]:
    """Return the JSON object of a measurement, with its keys in the fixed order.

    The regime's key is ``epoch``.
    """
    fields = {"epoch" if name == "regime" else name: value for name, value in asdict(measured).items()}
    for name, unknown in (("speed", None), ("stretch", None), ("disturbed_by", "")):
        if fields[name] == unknown:
            del fields[name]  # the line of a run without a known speed stays as in earlier versions
    return fields
