"""Summarise a session in one value: the counts of experiments, the incumbent, and the running experiment."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.experiment import Direction, Experiment, History, Measurement
from autoresearch_mlx.judge.early import Account
from autoresearch_mlx.judge.evidence import Sigma
from autoresearch_mlx.judge.history import gained, measurements_counting, sigma_of, standing, stops
from autoresearch_mlx.judge.speeds import mean_speed, slow
from autoresearch_mlx.judge.waiting import Waiting, waiting
from autoresearch_mlx.lab.budget import of_conditions
from autoresearch_mlx.lab.comparability import Key
from autoresearch_mlx.report.now import Running, fields_of, read_lanes, read_now
from autoresearch_mlx.report.whole_step import whole_step
from autoresearch_mlx.store.forms import rung_words
from autoresearch_mlx.store.heartbeat import SILENT_SECONDS, last_beat
from autoresearch_mlx.store.ledger import FILE, Journal, read
from autoresearch_mlx.store.locks import holder
from autoresearch_mlx.store.minutes import Minute, minutes_of
from autoresearch_mlx.store.talks import Spent, spent
from autoresearch_mlx.store.tries import try_of

if TYPE_CHECKING:
    from autoresearch_mlx.lab.config import AgentSettings
    from autoresearch_mlx.store.left_out import LeftOut


@dataclass(frozen=True, slots=True)
class Mark:
    """The number and commit of an experiment, with the metric's value."""

    number: int
    commit: str | None
    value: float | None
    speed: float | None = None
    """Mean speed of the machine in the runs that give the value; the baseline's speed is 1, and None means unknown."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast the machine was during the runs of a session; the baseline's speed is 1."""

    newest: float
    """Speed in the newest run."""
    disturbed_by: str
    """What slowed the newest run down, as text, or an empty string if nothing did."""
    slow: int
    """Number of runs under nine tenths of the usual speed."""
    runs: int
    """Number of runs whose speed is known."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of finished experiments by outcome, without the baseline."""

    experiments: int
    kept: int
    discarded: int
    failed: int
    """Experiments that ended as crash, timeout, invalid, interrupted or duplicate."""
    interrupted: int = 0
    """Number of interrupted experiments; ``failed`` counts these experiments too."""

    def in_words(self) -> str:
        """Return text such as ``4 kept, 3 discarded, 1 failed``.

        The number of interrupted experiments follows, if there are any.
        """
        words = f"{self.kept:,} kept, {self.discarded:,} discarded, {self.failed - self.interrupted:,} failed"
        return f"{words}, {self.interrupted:,} interrupted" if self.interrupted else words


@dataclass(frozen=True, slots=True)
class Status:
    session: str
    branch: str
    target: str | None
    metric: str
    direction: Direction
    counts: Counts
    baseline: Mark | None
    incumbent: Mark | None
    sigma: Sigma
    """Standard deviation of one run, in the metric's unit, and the number of runs from which it was computed."""
    running: Running | None
    agent: str | None
    spent: Spent = field(default_factory=Spent)
    """Calls to models and their tokens."""
    cost: float | None = None
    caps: tuple[int | None, float | None] = (None, None)
    """The maximum number of tokens and the maximum cost that lab.toml allows."""
    stops: Account | None = None
    """Figures about early stops, or None if the target's runs have no budget."""
    regime: int = 0
    key: Key | None = None
    """The comparability key: everything, besides the edited file, on which values depend."""
    gained: float | None = None
    """Gain of the incumbent over the baseline, or None if the two cannot be compared."""
    budget: str | None = None
    """Budget of one experiment, as text."""
    certificate: Mapping[str, Any] | None = None
    """The last certificate, as it is written in the ledger."""
    disturbed: int = 0
    """Number of runs that do not count, because the machine slept or the program could not run."""
    disturbed_in: tuple[int, ...] = ()
    """Numbers of the experiments to which the runs of ``disturbed`` belong, in ascending order."""
    explained: tuple[int, ...] = ()
    """The experiments of ``disturbed_in`` that `show` explains; `show` does not explain disturbed repeats."""
    unconfined: tuple[int, ...] = ()
    """Numbers of the experiments whose runs were not confined although the target can use a sandbox; one entry for
    each run."""
    speed: Speed | None = None
    """The machine's speed during the runs, or None if it is unknown for all of them."""
    lanes: tuple[Running, ...] = ()
    """All running experiments if there are several; ``running`` is the first of these experiments."""
    limits: Mapping[str, Any] | None = None
    """Limits of the current run, or None if no run is in progress."""
    stopping: bool = False
    """True if somebody has ordered the run to stop after its current experiment."""
    left_out: LeftOut | None = None
    """The parts of the user's checkout that are not in the session, or None if nobody has looked for such parts."""
    pausing: bool = False
    """True if somebody has ordered the run to pause after its current experiment."""
    detached: int | None = None
    """Number of the experiment that a detached try measures, or will measure after the baseline."""
    form: str = ""
    """Text that says in which form the model is asked next and how often each form has worked; empty without a
    model."""
    waiting: tuple[Waiting, ...] = ()
    """Experiments that were too good to be believed, and that a person may accept."""
    minutes: tuple[Minute, ...] = ()
    """The briefs of a team, oldest first."""
    whole_step: str = ""
    """How much a kernel speeds up the whole training step, as text, or an empty string for other targets."""


def status_of(folder: Path, journal: Journal | None = None) -> Status:
    """Summarise the session in ``folder`` (``.autoresearch/<tag>``).

    ``journal`` is the session's ledger, if the caller has already read it.  Raises LedgerError when the ledger is
    missing or cannot be read.
    """
    journal = journal or read(folder / FILE)
    history, session = journal.history, journal.session
    tag = session.get("tag") or folder.name
    return Status(
        session=tag,
        branch=session.get("branch") or f"autoresearch/{tag}",
        target=session.get("target"),
        metric=history.metric,
        direction=history.direction,
        counts=count_outcomes(history.experiments),
        baseline=_mark(history, history.baseline),
        incumbent=_mark(history, history.incumbent),
        sigma=sigma_of(history),
        running=running_in(folder, journal),
        lanes=lanes_in(folder, journal),
        agent=_agent(history.experiments, session),
        spent=spent(folder),
        stops=_stops(history, session.get("conditions") or {}),
        regime=history.regime,
        key=Key(journal.comparability) if journal.comparability is not None else None,
        gained=gained(history),
        budget=budget.in_words() if (budget := of_conditions(session.get("conditions") or {})) else None,
        certificate=journal.certificates[-1] if journal.certificates else None,
        disturbed=sum(m.tainted for m in _runs(history)),
        disturbed_in=tuple(
            sorted({*_disturbed(history), *(r.number for r in history.repeats if r.measurement.tainted)})
        ),
        explained=_disturbed(history),
        unconfined=_unconfined(history),
        speed=_speed(history),
        detached=detached.number if (detached := try_of(folder, holder(folder))) is not None else None,
        form=rung_words(history),
        waiting=waiting(history),
        minutes=minutes_of(journal.briefs, history),
        whole_step=whole_step(journal),
    )


def _stops(history: History, conditions: Mapping[str, Any]) -> Account | None:
    return stops(history, conditions.get("budget_seconds")) if of_conditions(conditions) else None


def _disturbed(history: History) -> tuple[int, ...]:
    """Return the numbers of the experiments with a disturbed run of their own."""
    return tuple(sorted({e.number for e in history.experiments if any(m.tainted for m in e.measurements)}))


def _unconfined(history: History) -> tuple[int, ...]:
    found = [(e.number, m) for e in history.experiments for m in e.measurements]
    found += [(r.number, r.measurement) for r in history.repeats]
    return tuple(sorted(number for number, m in found if str(m.machine.get("sandbox", "")).startswith("none")))


def _speed(history: History) -> Speed | None:
    told = [m for m in _runs(history) if m.speed is not None]
    if not told or told[-1].speed is None:
        return None
    return Speed(told[-1].speed, told[-1].disturbed_by, sum(map(slow, told)), len(told))


def _runs(history: History) -> list[Measurement]:
    """Return all runs, oldest first; a repeat comes after the runs of the experiment during which it was made."""
    own = [(e.number, 0, m) for e in history.experiments for m in e.measurements]
    later = [(r.during, 1, r.measurement) for r in history.repeats]
    return [m for *_, m in sorted([*own, *later], key=lambda run: run[:2])]


def priced(status: Status, settings: AgentSettings) -> Status:
    """Add the cost of the calls to models, and the caps."""
    cost = status.spent.cost(settings.price_in, settings.price_out)
    return replace(status, cost=cost, caps=(settings.max_tokens_total, settings.max_cost))


def with_left_out(status: Status, root: Path, folder: Path, journal: Journal | None = None) -> Status:
    """Add the parts of the checkout around ``root``, the lab's folder, that are not in the session.

    ``journal`` is the session's ledger, if the caller has read it already.
    """
    journal = journal or read(folder / FILE)
    start, kept = journal.session.get("start"), [e for e in journal.history.experiments if e.commit]
    if not isinstance(start, str):
        return status
    best = journal.history.incumbent
    incumbent = best.commit if best is not None and best.commit is not None else start
    try:
        from autoresearch_mlx.store.left_out import left_out  # this module starts git, which status_of does not need

        found = left_out(root, start, incumbent, {start, *(e.commit for e in kept if e.commit)})
    except WorkspaceError:
        return status  # git cannot read the repository now; the next run says why
    return replace(status, left_out=found)


def to_json(status: Status) -> dict[str, Any]:
    """Return the document of ``status --json``; an unknown value is null, and an unknown speed is left out."""
    return {
        "session": status.session,
        "branch": status.branch,
        "target": status.target,
        "metric": status.metric,
        "direction": status.direction,
        **asdict(status.counts),
        "baseline": _mark_to(status.baseline),
        "incumbent": _mark_to(status.incumbent),
        "sigma": status.sigma.value,
        "running": fields_of(status.running) if status.running else None,
        "agent": status.agent,
        "spent": {
            **asdict(status.spent),
            "tokens": status.spent.tokens,
            "cost": status.cost,
            "max_tokens_total": status.caps[0],
            "max_cost": status.caps[1],
        },
        "noise": {"sigma": status.sigma.value, "runs": status.sigma.n, "dof": status.sigma.dof, "epoch": status.regime},
        "budget": status.budget,
        "key": status.key.mark if status.key else None,
        "comparability": dict(status.key.parts) if status.key else None,
        "stops": asdict(status.stops) if status.stops else None,
        "certificate": dict(status.certificate) if status.certificate else None,
        "disturbed": status.disturbed,
        "limits": dict(status.limits) if status.limits is not None else None,
        "lanes": [fields_of(lane) for lane in status.lanes],
        "left_out": asdict(status.left_out) if status.left_out is not None else None,
        "waiting": [asdict(each) for each in status.waiting],
        **({"speed": asdict(status.speed)} if status.speed else {}),
        **({"detached": status.detached} if status.detached is not None else {}),
        **({"form": status.form} if status.form else {}),
        **({"whole_step": status.whole_step} if status.whole_step else {}),
        **({"minutes": [asdict(each) for each in status.minutes]} if status.minutes else {}),
    }


def _mark_to(mark: Mark | None) -> dict[str, Any] | None:
    return {name: held for name, held in asdict(mark).items() if name != "speed" or held is not None} if mark else None


def count_outcomes(experiments: Iterable[Experiment]) -> Counts:
    tried = [e for e in experiments if e.number > 0]
    return Counts(
        experiments=len(tried),
        kept=sum(e.status == "keep" for e in tried),
        discarded=sum(e.status == "discard" for e in tried),
        failed=sum(e.failed for e in tried),
        interrupted=sum(e.status == "interrupted" for e in tried),
    )


def _mark(history: History, experiment: Experiment | None) -> Mark | None:
    """Return an experiment as a Mark with its present value; later runs may have changed the value."""
    if experiment is None:
        return None
    speed = mean_speed(measurements_counting(history, experiment))
    return Mark(experiment.number, experiment.commit, standing(history, experiment), speed)


def running_in(folder: Path, journal: Journal) -> Running | None:
    """Return the running experiment.

    The lock names the process, the ledger names the experiment, and ``now.json`` has the progress.
    """
    pid = holder(folder)
    if pid is None:
        return None
    if lanes := lanes_in(folder, journal):
        return lanes[0]
    number = journal.running[0].number if journal.running else None
    notes = (note for note in (read_now(folder), *read_lanes(folder)) if note is not None and note.pid == pid)
    if (note := next((note for note in notes if number in (None, note.number)), None)) is not None:
        return note
    # The experiment has started but is not in ``now.json``: it is not being measured, so the agent is thinking.
    return Running(pid, number, phase="propose" if number is not None else None)


def lanes_in(folder: Path, journal: Journal) -> tuple[Running, ...]:
    """Return the experiments that several lanes measure now, by number; the result is empty if fewer than two
    experiments run."""
    pid = holder(folder)
    if pid is None or len(journal.running) < 2:
        return ()
    noted = {lane.number: lane for lane in read_lanes(folder) if lane.pid == pid}
    claims = sorted(journal.running, key=lambda claim: claim.number)
    found = [(claim, noted.get(claim.number) or Running(pid, claim.number, phase="propose")) for claim in claims]
    return tuple(replace(lane, silent_seconds=_silence(folder, claim.worker)) for claim, lane in found)


def _silence(folder: Path, worker: str | None) -> float | None:
    """Return the seconds since the last report of a worker that has gone silent, else None."""
    beat = last_beat(folder, worker)
    silent = 0.0 if beat is None else time.time() - beat
    return round(silent) if silent > SILENT_SECONDS else None


def _agent(experiments: Sequence[Experiment], session: Mapping[str, Any]) -> str | None:
    newest = next((e.agent for e in reversed(experiments) if e.number > 0 and e.agent), None)
    return newest or session.get("agent") or None
