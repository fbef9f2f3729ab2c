"""Report the state of a fleet: for each machine, its task, its speed, its noise, and its number of runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import History, Measurement
from autoresearch_mlx.fleet.coordinator import STATE
from autoresearch_mlx.fleet.machines import Machine
from autoresearch_mlx.fleet.pairing import FOLDER, need_dask
from autoresearch_mlx.judge.across import name_of
from autoresearch_mlx.judge.history import sigma_of
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE, Journal, read


@dataclass(frozen=True, slots=True)
class Member:
    """One machine of a fleet and what it is doing now."""

    name: str
    chip: str | None
    state: str
    """``free``, ``measures``, ``away``, or ``left`` after it has left the fleet."""
    does: str
    """The experiment that the machine is measuring, as text; empty if it measures no experiment."""
    runs: int
    """Number of runs that the machine has delivered in this session."""
    run_seconds: float | None
    """Median wall-clock time of a run on this machine, in seconds."""
    sigma: float | None
    """Standard deviation between repeated runs on this machine, in the metric's unit; None without repeats."""
    seen: float | None
    """Time of the machine's last report, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class FleetState:
    """The coordinator and its machines."""

    address: str
    answers: bool
    """Whether the coordinator's scheduler answers."""
    dashboard: str | None
    """Address of Dask's own page, which opens only on the coordinator's machine; None if the scheduler does not answer.
    """
    session: str | None
    members: tuple[Member, ...]


def fleet_state(lab: Lab) -> FleetState:
    """Return the state of this lab's fleet.

    Raises ConfigError if Dask is not installed, and LabError if no fleet was started in this lab.
    """
    need_dask()
    from autoresearch_mlx.fleet.engine.client import Fleet

    folder = lab.state / FOLDER
    fleet = Fleet(folder)
    try:
        answers = fleet.connected()
        machines = fleet.machines()
    finally:
        fleet.close()
    tag = lab.current()
    journal = read(lab.folder(tag) / FILE) if tag is not None and (lab.folder(tag) / FILE).exists() else None
    members = tuple(_members(machines, journal))
    return FleetState(fleet.address, answers, _dashboard(folder) if answers else None, tag, members)


def to_json(state: FleetState) -> dict[str, Any]:
    """Return the contents of ``fleet status --json``."""
    told = asdict(state)
    return {"schema": 1, **told, "machines": told.pop("members")}


def fleet_lines(state: FleetState) -> Iterator[str]:
    """Yield the lines of ``fleet status``."""
    answers = "" if state.answers else " (does not answer; `autoresearch-mlx fleet start` starts it)"
    yield f"coordinator  {state.address}{answers}"
    if state.answers:
        yield f"Dask's page  {state.dashboard or '-'}"
    yield f"session      {state.session or 'none yet'}"
    yield ""
    if not state.members:
        yield "no machine has joined; call `autoresearch-mlx fleet join pairing.json` on a machine that should measure"
        return
    head = ("machine", "chip", "state", "does", "runs", "s a run", "sigma", "last report")
    rows = [head, *(_row(member) for member in state.members)]
    yield from terms.table(rows, left=(0, 1, 2, 3, 7))


def _row(member: Member) -> tuple[str, ...]:
    return (
        member.name,
        member.chip or "-",
        member.state,
        member.does or "-",
        str(member.runs),
        "-" if member.run_seconds is None else f"{member.run_seconds:.1f}",
        "-" if member.sigma is None else terms.amount(member.sigma),
        "-" if member.seen is None else time.strftime("%H:%M:%S", time.localtime(member.seen)),
    )


def _members(machines: Sequence[Machine], journal: Journal | None) -> Iterator[Member]:
    here = {machine.name: machine for machine in machines}
    names = [*here, *(name for name in (journal.newest if journal is not None else ()) if name not in here)]
    for name in names:
        machine = here.get(name)
        runs = _runs(journal.history, name) if journal is not None else []
        does = [f"experiment {each.number}" for each in (journal.running if journal else ()) if each.worker == name]
        seconds = [m.seconds.total() for m in runs if m.value is not None]
        chip = next((str(m.machine["chip"]) for m in reversed(runs) if m.machine.get("chip")), None)
        yield Member(
            name=name,
            chip=chip or (str(machine.facts.get("chip") or "") or None if machine is not None else None),
            state=_state(machine),
            does=", ".join(does) if machine is not None and machine.here else "",
            runs=len(runs),
            run_seconds=round(median(seconds), 2) if seconds else None,
            sigma=_own_sigma(journal, name) if journal is not None else None,
            seen=machine.seen if machine is not None else None,
        )


def _state(machine: Machine | None) -> str:
    if machine is not None and machine.left:
        return "left"
    if machine is None or not machine.here:
        return "away"
    return "measures" if machine.busy else "free"


def _runs(history: History, name: str) -> list[Measurement]:
    every = [m for e in history.experiments for m in e.measurements] + [r.measurement for r in history.repeats]
    return [m for m in every if name_of(m) == name]


def _own_sigma(journal: Journal, name: str) -> float | None:
    return sigma_of(journal.seen_by(name)).value


def _dashboard(folder: Path) -> str | None:
    try:
        found = json.loads((folder / STATE).read_text(encoding="utf-8")).get("dashboard")
    except (OSError, ValueError):
        return None
    return str(found) if found else None
