"""Measure with the machines of a fleet: take the runs that a machine needs first, and let a second one confirm a gain.

Absolute values of two machines are never compared.  Each machine measures the baseline and the incumbent itself, and a
candidate is compared with the runs of the same machine.  The judge says which machine takes the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from autoresearch_mlx.experiment import Experiment, History, Measurement, Watch
from autoresearch_mlx.judge import Decision
from autoresearch_mlx.judge.across import name_of
from autoresearch_mlx.judge.faults import fault_of
from autoresearch_mlx.judge.history import taken_now
from autoresearch_mlx.loop.attempt import Attempt
from autoresearch_mlx.loop.measure import measure, repeat
from autoresearch_mlx.loop.screen import Screen
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.loop.upkeep import drift_of
from autoresearch_mlx.loop.worker import MachineLost, MachineUnfit, Worker
from autoresearch_mlx.store.records import measurement_to


@dataclass(frozen=True, slots=True)
class Waiting:
    """An experiment that waits for another machine to continue it."""

    attempt: Attempt
    avoid: Sequence[str] = ()
    """Names of the machines that were lost while they measured it."""
    to: str | None = None
    """Name of the machine from which the judge wants the next run, or which may have taken that run already."""


class Staff(Protocol):
    """The part of a crew that takes the first runs of a fleet."""

    session: Session

    @property
    def workers(self) -> Sequence[Worker]: ...

    def do(self, worker: Worker, number: int, task: Callable[[Worker, Watch], None]) -> None: ...


def note_proposal(attempt: Attempt) -> None:
    """Log the facts about a proposal that its commit does not contain; with them it can go on after a crash."""
    p = attempt.proposal
    told = {"agent": p.agent, "axis": p.axis, "rationale": p.rationale, "talk": dict(p.talk)}
    attempt.session.append("proposed", number=attempt.number, **told)


def know_incumbent(session: Session, attempt: Attempt, watch: Watch) -> None:
    """Measure the incumbent on the machine of this attempt, if it has no run there that counts.

    The first time, the machine takes as many runs as a baseline has, to learn its own noise.  Raises MachineUnfit when
    the incumbent does not run there, and lets the machine rest.
    """
    worker = attempt.worker
    if not worker.machine:
        return
    history = session.history(worker)
    best = history.incumbent
    if best is None or attempt.number == 0 or _known(history, best):
        return
    new = not history.own or not any(r.measurement.regime in history.own for r in history.repeats)
    first = new and not any(m.regime in (history.own or ()) for e in history.experiments for m in e.measurements)
    for at in range(session.judge.baseline_runs if first else 1):
        repeat(session, worker, best, watch, seed=session.seed + at)
    now = session.history(worker)
    if not _known(now, best):
        taken = taken_now(now, best)
        said = taken[-1].reason or str(taken[-1].extra.get("tainted", "")) if taken else "no run counts"
        worker.health.bench()
        raise MachineUnfit(f"experiment {best.number}, the incumbent, has no value on {worker.name}: {said}")
    attempt.history = now if session.incumbent(now) == attempt.incumbent else attempt.history


def _known(history: History, best: Experiment) -> bool:
    return any(m.value is not None and not m.tainted for m in taken_now(history, best))


def refuse_fault(attempt: Attempt) -> None:
    """Raise MachineLost if this machine has ended a run, for example because its disk is full.

    Another machine then takes the run.  After two such machines the judge decides, because the fault may lie in the
    edited file.
    """
    last = attempt.measurements[-1] if attempt.measurements else None
    if not attempt.worker.machine or attempt.number == 0 or last is None or len(attempt.lost) > 1:
        return
    if (fault := fault_of(last)) is not None and name_of(last) == attempt.worker.name:
        attempt.measurements.pop()
        attempt.worker.health.bench()
        raise MachineLost(f"{attempt.worker.name}: {fault}")


def due_on_machine(history: History, every: int) -> bool:
    """Return whether a machine has measured ``every`` experiments since it last measured the incumbent."""
    best, own = history.incumbent, history.own or frozenset()
    if best is None or not _known(history, best):
        return False
    there = [r.during for r in history.repeats if r.number == best.number and r.measurement.regime in own]
    since = max([*there, best.number if any(m.regime in own for m in best.measurements) else 0])
    return sum(e.number > since and any(m.regime in own for m in e.measurements) for e in history.experiments) >= every


def look_for_drift_on(session: Session, worker: Worker, watch: Watch, screen: Screen) -> None:
    """Measure the incumbent again on a machine, and open a new regime for the machine after a shift beyond 3 sigma."""
    best = session.history(worker).incumbent
    if best is not None and (reason := drift_of(session, worker, best, watch)) is not None:
        screen.say(f"{worker.name} has changed: {reason}; its earlier runs stop counting")


def first_runs_of_fleet(staff: Staff, attempt: Attempt, watch: Watch) -> Decision:
    """Let every machine measure the baseline at the same time; return the judge's decision on the first machine's runs.

    The runs of the other machines are logged as repeats, and their later candidates are compared with these.  A machine
    gets no experiment until it has finished.  Raises MachineLost when the first machine does not come back.
    """
    assert attempt.sha is not None
    session, sha, count = staff.session, attempt.sha, staff.session.judge.baseline_runs
    lead = attempt.worker

    def series(worker: Worker, watch: Watch) -> list[Measurement]:
        name = "" if worker.name == lead.name else f"{worker.name}-"
        return [measure(session, worker, sha, 0, run, watch, name=name) for run in range(1, count + 1)]

    def beside(worker: Worker, watch: Watch) -> None:
        for each in series(worker, watch):
            session.append("repeated", number=0, during=0, measurement=measurement_to(each))

    for worker in staff.workers:
        if worker.name != lead.name:
            staff.do(worker, 0, beside)  # a machine that fails is asked again before its first experiment
    with attempt.timed("measure"):
        attempt.measurements.extend(series(lead, watch))
    attempt.taken = len(attempt.measurements)
    return attempt.decide()
