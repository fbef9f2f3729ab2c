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
"""The purpose of a run."""


@dataclass(frozen=True, slots=True)
class Lab:
    """The facts that all jobs of a session share."""

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
    """The session's conditions, such as budget and data, as in the ledger."""
    settings: Mapping[str, Any]
    """The tables of lab.toml on which a run depends."""

    def text(self) -> str:
        return json.dumps(asdict(self), allow_nan=False)


def lab_from(found: Mapping[str, Any]) -> Lab:
    """Return what :meth:`Lab.text` wrote, once parsed.  Raises TypeError or KeyError for anything else."""
    return Lab(**{**found, "editable": tuple(found["editable"])})


@dataclass(frozen=True, slots=True)
class Job:
    """A request for one run of a commit with this seed, split and role.

    The budget is among the conditions of ``lab``.
    """

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
    """Pauses between two steps, in seconds, that these files always make; they do not count as a disturbance."""

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
    """The measurement.  It is None if the machine could not make the run, or if the target has no smoke run."""
    log: str = ""
    """The end of the program's output."""
    parts: Mapping[str, Any] = field(default_factory=dict)
    """The parts of the machine's comparability key."""
    trouble: str = ""
    """The fault of the machine, as text; if there is one, the failure is no evidence against the commit."""
    refused: bool = False
    """Whether the machine could not begin the run, for example because its disk is full."""
    lacks: bool = False
    """Whether the bundle builds on commits that the machine does not have."""
    ended: bool = False
    """Whether the run ended because the coordinator asked for that."""
    waited: float = 0.0
    """Seconds that the finished run waited in the machine's spool before it could be delivered."""

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
