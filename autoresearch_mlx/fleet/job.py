"""Define a job, which asks a machine for one run, and its delivery, which is the answer; both are sent as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from autoresearch_mlx.experiment import Measurement, Split, Usual
from autoresearch_mlx.store.records import measurement_from, measurement_to

Role: TypeAlias = Literal["baseline", "incumbent", "candidate", "smoke"]
"""The purpose of a run: which version it measures, or ``smoke`` for a smoke run."""


@dataclass(frozen=True, slots=True)
class Lab:
    """The facts about a lab and its session that all jobs of the session share."""

    session: str
    """Unique name of the session: its tag and a short hash."""
    kind: str
    """Kind of the target."""
    metric: str
    direction: str
    editable: tuple[str, ...]
    start: str
    """Commit at which the session began."""
    prefix: str
    """Path of the lab inside its repository."""
    conditions: Mapping[str, Any]
    """The session's conditions in the ledger, such as budget and data."""
    settings: Mapping[str, Any]
    """The tables of lab.toml on which a run depends."""

    def text(self) -> str:
        return json.dumps(asdict(self), allow_nan=False)


def lab_from(found: Mapping[str, Any]) -> Lab:
    """Return the lab from the JSON values that :meth:`Lab.text` wrote.

    Raises TypeError or KeyError for other values.
    """
    return Lab(**{**found, "editable": tuple(found["editable"])})


@dataclass(frozen=True, slots=True)
class Job:
    """A request for one run of a commit.  The budget of the run is among the conditions of ``lab``."""

    id: str
    lab: Lab
    commit: str
    ref: str
    """Ref of the commit in the bundle."""
    number: int
    role: Role
    seed: int
    split: Split = "val"
    steps: int | None = None
    usual: Usual | None = None
    habits: tuple[float, ...] = ()
    """Gaps between two steps, in seconds, that are usual for these files and are therefore no disturbance."""

    def text(self) -> str:
        return json.dumps(asdict(self), allow_nan=False)


def job_from(text: str) -> Job:
    """Return the job that :meth:`Job.text` wrote.  Raises ValueError, KeyError or TypeError for another text."""
    found = json.loads(text)
    lab = lab_from(found.pop("lab"))
    usual, habits = found.pop("usual"), found.pop("habits")
    return Job(
        **found,
        lab=lab,
        usual=None if usual is None else Usual(**usual),
        habits=tuple(habits),
    )


def job_id(*parts: object) -> str:
    """Return a short name for a job; the same run always gets the same name."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Delivery:
    """The answer to a job: its measurement, or the reason why there is none."""

    measurement: Measurement | None = None
    """The measurement, or None if the machine could not make the run, or if the target has no smoke run."""
    log: str = ""
    """The end of the program's output."""
    parts: Mapping[str, Any] = field(default_factory=dict)
    """The facts from which the machine's comparability key is computed, by name."""
    trouble: str = ""
    """What went wrong on the machine, as text, or an empty string.  Such a failure says nothing about the commit."""
    refused: bool = False
    """Whether the machine could not begin the run, for example because its disk is full."""
    lacks: bool = False
    """Whether the bundle builds on commits that the machine does not have."""
    ended: bool = False
    """Whether the run was ended because the coordinator no longer wanted its result."""
    waited: float = 0.0
    """Seconds for which the result waited in the machine's spool until it was delivered."""

    def text(self) -> str:
        found = {**asdict(self), "measurement": None}
        if self.measurement is not None:
            found["measurement"] = measurement_to(self.measurement)
        return json.dumps(found, allow_nan=False)


def delivery_from(text: str) -> Delivery:
    """Return the delivery that :meth:`Delivery.text` wrote.

    Raises ValueError, KeyError or TypeError for another text.
    """
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError("a delivery is a JSON object")
    measured = found.pop("measurement")
    return Delivery(None if measured is None else measurement_from(measured), **found)
