"""Measure the baseline on all machines of a fleet at the same time.

The judge decides on the baseline by the runs of the first machine that is done.  The first sigma is computed from the
runs of all machines.  Each machine makes two runs.  If all machines together then have too few runs, the quickest
machines make a third run (:func:`machines.runs_of_baseline`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Measurement, Progress, Watch
from autoresearch_mlx.judge import Again, Decision
from autoresearch_mlx.judge.machines import runs_of_baseline
from autoresearch_mlx.loop.attempt import Attempt
from autoresearch_mlx.loop.measure import measure
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.loop.worker import MachineLost, Worker
from autoresearch_mlx.store.records import measurement_to

_LOOK_SECONDS = 0.2


class Staff(Protocol):
    """What :func:`first_runs_of_fleet` needs of a crew: the session, the workers, and a method that gives out tasks."""

    session: Session

    @property
    def workers(self) -> Sequence[Worker]: ...

    def do(self, worker: Worker, number: int, task: Callable[[Worker, Watch], None]) -> None: ...


def first_runs_of_fleet(staff: Staff, attempt: Attempt, watch: Watch) -> Decision:
    """Let every machine measure the baseline at the same time; return the judge's decision on the first machine's runs.

    The first machine is the one that finishes its runs first, with a value for each run.  The runs of every other
    machine are logged as repeats, because candidates that this machine measures later are compared with its own runs.
    A machine gets an experiment only after its runs of the baseline.  Raises MachineLost when no machine delivers its
    runs.
    """
    assert attempt.sha is not None
    session, sha = staff.session, attempt.sha
    workers = staff.workers
    if not workers:  # the only machine may have left a moment ago
        raise MachineLost("no machine of the fleet is connected")
    first, shares = _First(len(workers)), Shares(len(workers), session.judge.baseline_runs)

    def log(runs: Sequence[Measurement]) -> None:
        for each in runs:
            session.append("repeated", number=0, during=0, measurement=measurement_to(each))

    def series(worker: Worker, watch: Watch) -> None:
        runs: list[Measurement] = []
        try:
            while shares.another(len(runs)):
                runs.append(measure(session, worker, sha, 0, len(runs) + 1, watch, name=f"{worker.name}-"))
                first.done += 1
        except BaseException:
            shares.give_back(len(runs))
            runs = []
            raise
        finally:
            if not first.offer(worker, runs):
                log(runs)

    with attempt.timed("measure"):
        for worker in workers:
            staff.do(worker, 0, series)  # a machine that fails is asked again before its first experiment
        while (found := first.wait()) is None:
            done = terms.plural(shares.whole, "run")
            watch(Progress("waiting", words=f"{first.done} of {done} of the baseline are done"))
    worker, runs = found
    if not runs:
        raise MachineLost("no machine delivered the runs of the baseline")
    for other in first.passed_over:
        log(other)
    if worker.name != attempt.worker.name:
        session.append("moved", number=attempt.number, worker=worker.name)
    attempt.move(worker)
    attempt.measurements.extend(runs)
    attempt.taken = len(runs)
    decision = attempt.decide()
    if isinstance(decision, Again) and len(runs) < session.judge.baseline_runs:  # other machines make the rest
        return replace(session.judge, replicates=len(runs)).decide(attempt.history, attempt.case())
    return decision


class Shares:
    """Divides the runs of the baseline among the machines of a fleet; several threads may use one object."""

    def __init__(self, machines: int, replicates: int) -> None:
        self._most = replicates
        self._least, self.whole = runs_of_baseline(machines, replicates)
        self._given = machines * self._least
        self._lock = threading.Lock()

    def another(self, taken: int) -> bool:
        """Return whether a machine that has made ``taken`` runs should make one more run."""
        with self._lock:
            if taken < self._least:
                return True
            more = taken < self._most and self._given < self.whole
            self._given += more
            return more

    def give_back(self, taken: int) -> None:
        """Let other machines make the runs of a machine that was lost after ``taken`` runs."""
        with self._lock:
            self._given -= max(taken + 1, self._least)


class _First:
    """Chooses the machine whose runs of the baseline decide: the first machine whose runs all have a value.

    If there is no such machine, the first machine that delivered runs is chosen.
    """

    def __init__(self, machines: int) -> None:
        self.done = 0
        """Number of runs that have been made."""
        self._machines = machines
        self._chosen: tuple[Worker, Sequence[Measurement]] | None = None
        self._failed: list[tuple[Worker, Sequence[Measurement]]] = []
        self._lock, self._settled = threading.Lock(), threading.Event()

    def offer(self, worker: Worker, runs: Sequence[Measurement]) -> bool:
        """Offer the runs of a machine for the choice; return False if the choice has already been made.

        ``runs`` is empty if the machine was lost.
        """
        with self._lock:
            if self._settled.is_set():
                return False
            if runs and all(m.value is not None and not m.tainted for m in runs):
                self._chosen = worker, runs
            else:
                self._failed.append((worker, runs))
            if self._chosen is not None or len(self._failed) == self._machines:
                self._settled.set()
            return True

    def wait(self) -> tuple[Worker, Sequence[Measurement]] | None:
        """Wait a moment for the choice; return the chosen machine and its runs, or None if no choice was made yet."""
        if not self._settled.wait(_LOOK_SECONDS):
            return None
        return self._chosen or self._first_failed()

    @property
    def passed_over(self) -> Sequence[Sequence[Measurement]]:
        """The runs of each machine that was done before the choice and was not chosen."""
        chosen = self._chosen or self._first_failed()
        return [each[1] for each in self._failed if each is not chosen]

    def _first_failed(self) -> tuple[Worker, Sequence[Measurement]]:
        return next((each for each in self._failed if each[1]), self._failed[0])
