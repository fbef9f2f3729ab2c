"""Let the machines of a fleet make the runs of a session: each machine is a worker, and each run becomes a job."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from autoresearch_mlx.errors import LabError, WorkspaceError
from autoresearch_mlx.experiment import Measurement, Watch
from autoresearch_mlx.fleet.admission import Wanted, wanted_here
from autoresearch_mlx.fleet.coordinator import WANTED
from autoresearch_mlx.fleet.job import Delivery, Job, Role, job_id
from autoresearch_mlx.fleet.job import Lab as JobLab
from autoresearch_mlx.fleet.machines import Lost
from autoresearch_mlx.fleet.pace import Pace
from autoresearch_mlx.fleet.pairing import FOLDER, need_dask, write_private
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.health import Health
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.loop.worker import Brought, Errand, MachineLost, NotTaken, Worker
from autoresearch_mlx.store.git import git
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.records import measurement_to
from autoresearch_mlx.store.workspace import ref_of
from autoresearch_mlx.targets.contract import Say

_AWAY_TIMES, _AWAY_LEAST = 3.0, 60.0
"""Time for which a machine may be away: this multiple of a usual run's time, but at least this number of seconds."""
_SPARE_SECONDS = 600.0
"""Seconds that are added to the longest time of a job before its machine counts as lost."""
_UNKNOWN_SECONDS = 3600.0
"""Longest time of a run in seconds, if its target sets no limit."""
_COMMITS_EXCLUDED = 20
_COLLECT_SECONDS = 5.0
"""Seconds between two requests for late results.

Some of these requests never succeed, because a job that its machine has not begun never gets a result.
"""
SETTINGS = (
    "target",
    "data",
    "budget",
    "hardware",
    "limits",
    "literals",
    "sandbox",
    "machine",
    "tools",
    "metric",
    "check",
)
"""Tables of lab.toml on which a run depends."""


@contextmanager
def with_fleet(session: Session, lab: Lab, settings: Settings, say: Say) -> Iterator[Session]:
    """Yield the session with the machines of this lab's fleet as its workers.

    Raises ConfigError if the extra `fleet` is not installed, and LabError if no fleet was started in this lab or its
    coordinator does not answer.
    """
    need_dask()
    from autoresearch_mlx.fleet.engine.client import Fleet

    fleet = Fleet(lab.state / FOLDER)
    try:
        if not fleet.connected():
            said = f"the fleet's coordinator does not answer at {fleet.address}"
            raise LabError(said, "`autoresearch-mlx fleet start` starts it, in another terminal")
        write_private(lab.state / FOLDER / WANTED, json.dumps(asdict(_wanted(session, lab))) + "\n")
        yield replace(session, roster=Night(session, settings, fleet, say).workers, lanes=1)
    finally:
        fleet.close()


def _wanted(session: Session, lab: Lab) -> Wanted:
    """Return what a machine must have to join the fleet during this session."""
    return wanted_here(lab, session.journal().session["conditions"], session.worker.run_facts.peak_bytes)


class Night:
    """The machines of a fleet as the workers of one session."""

    def __init__(self, session: Session, settings: Settings, fleet: Any, say: Say) -> None:
        self._session, self._fleet, self._say = session, fleet, say
        self._lab = _lab_of(session, settings)
        self._lock = threading.Lock()
        self._here: set[str] = set()
        self._workers: dict[str, Worker] = {}
        self._has: dict[str, list[str]] = {}
        """Name of a machine -> the commits that it has received."""
        self._late: dict[str, tuple[str, int]] = {}
        """Id of a job whose result did not come in time -> its machine, and the number of its experiment."""
        self._collects = 0.0
        """Time on the monotonic clock before which no machine is asked for a late result."""
        self._paces: defaultdict[str, Pace] = defaultdict(Pace)
        self._bundle = threading.Lock()

    def workers(self) -> Sequence[Worker]:
        """Return one worker for each machine that is connected and may get a job."""
        machines = self._fleet.machines()
        present = [each for each in machines if each.here]
        self._collect([each.name for each in present if not each.busy])
        with self._lock:
            self._tell({each.name for each in present}, {each.name for each in machines if each.left})
            known = set(self._workers)
            for each in present:
                if each.name not in known:
                    self._workers[each.name] = self._worker(each.name, str(each.facts.get("chip") or "unknown chip"))
            workers = [self._workers[each.name] for each in present]
            return tuple(worker for worker in workers if not worker.health.benched)

    def _tell(self, here: set[str], left: set[str]) -> None:
        """Report the machines that have connected, left or disconnected since the last call."""
        for name in sorted(here - self._here):
            self._say(f"{name} is connected")
        for name in sorted(self._here - here):
            self._say(f"{name} has left the fleet" if name in left else f"{name} is away")
        self._here = here

    def _worker(self, name: str, chip: str) -> Worker:
        def elsewhere(errand: Errand) -> Brought:
            return self._bring(name, errand)

        return replace(
            self._session.worker,
            name=name,
            elsewhere=elsewhere,
            chip=chip,
            health=Health(),
            refreshing=threading.Lock(),
            ends_soon=self._paces[name].ends_soon,
            seconds_left=self._paces[name].seconds_left,
        )

    def _bring(self, name: str, errand: Errand) -> Brought:
        """Let a machine make a run, and return its result.  Raises MachineLost if the machine cannot make the run."""
        job = self._job(name, errand)
        delivery = self._asked(name, job, errand.watch, self._packed(name, errand))
        if delivery.lacks:  # the machine's folder was removed, or a bundle was lost with a connection
            self._has.pop(name, None)
            delivery = self._asked(name, job, errand.watch, self._packed(name, errand))
        if delivery.trouble or delivery.ended or delivery.lacks:
            why = delivery.trouble or (
                "the run was ended" if delivery.ended else "the commit could not be unpacked there"
            )
            self._workers[name].health.bench()
            raise (NotTaken if delivery.refused or delivery.lacks else MachineLost)(f"{name}: {why}")
        self._late.pop(job.id, None)
        has = self._has.setdefault(name, [])
        if errand.commit not in has:
            has.append(errand.commit)
        present = [each.name for each in self._fleet.machines() if each.here]
        return Brought(_with_wait(delivery), delivery.log, delivery.parts, present)

    def _asked(self, name: str, job: Job, watch: Watch, bundle: bytes) -> Delivery:
        away, most = self._patience()
        if job.role == "smoke":  # the whole night waits for a smoke run
            away = _AWAY_LEAST
        try:
            with self._paces[name].asking(job.role == "candidate"):
                found: Delivery = self._fleet.ask(name, job, bundle, watch, away, most)
                return found
        except Lost as lost:
            if job.role == "candidate":
                self._late[job.id] = name, job.number
            left = any(each.name == name and each.left for each in self._fleet.machines())
            raise (NotTaken if left else MachineLost)(str(lost)) from None

    def _patience(self) -> tuple[float, float]:
        """Return two limits in seconds: how long a machine may be away, and how long a job may take in all."""
        history, facts = self._session.journal().history, self._session.worker.run_facts
        taken = (
            max((m.seconds.total() for m in history.baseline.measurements), default=0.0) if history.baseline else 0.0
        )
        away = max(_AWAY_LEAST, _AWAY_TIMES * max(taken, facts.training_seconds or 0.0))
        longest = facts.timeout_seconds or (3 * facts.training_seconds if facts.training_seconds else _UNKNOWN_SECONDS)
        return away, 2 * longest + _SPARE_SECONDS

    def _job(self, name: str, errand: Errand) -> Job:
        session = self._session
        asked = (self._lab.session, name, errand.number, errand.commit, errand.name, errand.seed, errand.split)
        return Job(
            id=job_id(*asked, errand.steps),
            lab=self._lab,
            commit=errand.commit,
            ref=ref_of(session.tag, errand.number),
            number=errand.number,
            role=_role(errand),
            seed=errand.seed,
            split=errand.split,
            steps=errand.steps,
            usual=errand.usual,
            habits=tuple(errand.habits),
        )

    def _packed(self, name: str, errand: Errand) -> bytes:
        """Return the run's commit as a git bundle, without commits that the machine has already.

        The bundle is empty if the machine has the run's commit.
        """
        has, session = self._has.get(name, []), self._session
        if errand.commit in has:
            return b""
        path = session.folder / "bundle"
        without = [f"^{commit}" for commit in has[-_COMMITS_EXCLUDED:]]
        with self._bundle:
            try:
                git(
                    session.workspace.top,
                    "bundle",
                    "create",
                    "--quiet",
                    str(path),
                    ref_of(session.tag, errand.number),
                    *without,
                )
                return path.read_bytes()
            except WorkspaceError:
                if not without:
                    raise
                self._has.pop(name, None)
            finally:
                path.unlink(missing_ok=True)
        return self._packed(name, errand)

    def _collect(self, idle: Sequence[str]) -> None:
        """Fetch late results from the machines ``idle`` and log them; late results do not count for an experiment."""
        if not self._late:
            return
        with self._lock:
            if time.monotonic() < self._collects:
                return
            self._collects = time.monotonic() + _COLLECT_SECONDS
        done = {e.number for e in self._session.journal().history.experiments}
        for job, (name, number) in list(self._late.items()):
            if name not in idle or number not in done:
                continue
            found = self._fleet.result(name, job)
            if found is None or self._late.pop(job, None) is None:
                continue
            if found.measurement is not None:
                told = measurement_to(found.measurement)
                self._session.append("late", number=number, machine=name, job=job, time=now(), measurement=told)
                self._say(
                    f"{name} is back and has delivered a run of experiment {number}; the experiment was measured again"
                    " meanwhile, so this run does not count"
                )


def _with_wait(delivery: Delivery) -> Measurement | None:
    """Return the measurement; if it waited in the machine's spool, the seconds of waiting are added to its record."""
    measured = delivery.measurement
    if measured is None or delivery.waited < 1.0:
        return measured
    return replace(measured, extra={**measured.extra, "spool_seconds": delivery.waited})


def _role(errand: Errand) -> Role:
    if errand.name == "smoke":
        return "smoke"
    if errand.number == 0:
        return "baseline"
    return "incumbent" if errand.name.startswith("repeat") else "candidate"


def _lab_of(session: Session, settings: Settings) -> JobLab:
    record = session.journal().session
    told = settings.model_dump(mode="json", include=set(SETTINGS))
    unique = hashlib.sha256(f"{record['time']} {record['start']} {session.folder}".encode()).hexdigest()[:12]
    return JobLab(
        session=f"{session.tag}-{unique}",
        kind=str(record["target"]),
        metric=str(record["metric"]),
        direction=str(record["direction"]),
        editable=tuple(session.workspace.editable),
        start=session.start,
        prefix=str(session.workspace.prefix),
        conditions=record["conditions"],
        settings=told,
    )
