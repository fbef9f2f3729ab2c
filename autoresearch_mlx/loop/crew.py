"""Measure several experiments at the same time, in lanes of this machine or on the machines of a fleet.

The main thread asks the agent and gives each proposal to a free lane.  A lane is a thread with its own worktree; its
measurements are child processes.  A lane takes the lock ``session.deciding`` to decide on an experiment, so verdicts,
keeps and lines of the ledger are written one after the other.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.experiment import Experiment, Measurement, Progress, Running, Verdict, Watch
from autoresearch_mlx.judge import Again, Decision
from autoresearch_mlx.loop.attempt import Attempt
from autoresearch_mlx.loop.carry import onto_incumbent, with_words
from autoresearch_mlx.loop.control import Orders, Skipped
from autoresearch_mlx.loop.fleet_baseline import first_runs_of_fleet
from autoresearch_mlx.loop.fleet_runs import (
    Waiting,
    has_news,
    know_incumbent,
    lacks_incumbent,
    learn_incumbent,
    may_continue,
    refuse_fault,
    soon_settled,
    spare_for,
    take_spare_run,
    wait_for,
)
from autoresearch_mlx.loop.measure import measure
from autoresearch_mlx.loop.screen import Screen
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.loop.upkeep import NOTHING_DONE
from autoresearch_mlx.loop.worker import MachineLost, MachineUnfit, NotTaken, Worker, lanes_of
from autoresearch_mlx.store.heartbeat import Heartbeat, forget_all

STOPPED = "stopped by hand"
_LOOK_SECONDS = 0.2
_PATIENCE_SECONDS = 10
"""Seconds after which another Ctrl-C ends the command without waiting for the lanes."""
_MOST_MACHINES = 64
"""Largest number of machines of a fleet that measure at the same time."""
_MOST_LOST = 2
"""An experiment is given up when this many machines were lost during its runs, because its edit may be the cause."""
_MOST_NOT_TAKEN = 5
"""An experiment is given up when machines have failed to begin its run this many times."""
_INTERRUPTED = 130
"""Exit code of a process that Ctrl-C has ended."""


class Crew:
    """The lanes of one run, made by :func:`crew_of`.  Only the main thread calls the methods."""

    def __init__(self, session: Session, screen: Screen, orders: Orders) -> None:
        self.session, self.screen, self.orders = session, screen, orders
        lanes = () if session.roster is not None else lanes_of(session.worker, session.workspace, session.lanes)
        self._roster = session.roster or (lambda: lanes)
        self._pool = ThreadPoolExecutor(len(lanes) or _MOST_MACHINES, thread_name_prefix="lane")
        self._busy: dict[Future[Experiment | Waiting | None], tuple[Worker, Attempt | None]] = {}
        self.waiting: list[Waiting] = []
        """Experiments that wait for another machine of the fleet to continue them."""
        self._taken: list[Future[Measurement]] = []
        self._not_taken: Counter[int] = Counter()
        """Number of an experiment -> how often a machine did not begin a run of this experiment."""
        self._halt = threading.Event()
        self.halted = STOPPED
        """The reason why the run ends, which is recorded with each interrupted experiment."""
        self.ended: list[Experiment] = []
        """Experiments that the lanes have finished and that the loop has not counted yet, oldest first."""

    @property
    def workers(self) -> Sequence[Worker]:
        """The lanes of this machine, or one worker for each machine of the fleet that takes part now."""
        return self._roster()

    @property
    def experiments(self) -> int:
        """Number of experiments that are measured now, or wait for a machine."""
        return sum(attempt is not None for _, attempt in self._busy.values()) + len(self.waiting)

    @property
    def others(self) -> int:
        """Number of lanes that do a task which is not an experiment."""
        return sum(attempt is None for _, attempt in self._busy.values())

    @property
    def busy(self) -> bool:
        return bool(self._busy or self.waiting)

    def wait_for_worker(self) -> str | None:
        """Wait until there is a worker; return None, or the reason if the run ends before that."""
        said = False
        while not self.workers:
            if (reason := self.orders.stop(NOTHING_DONE, self.screen.progress)) is not None:
                return reason
            if not said:
                self.screen.say("waiting for a machine to connect; `autoresearch-mlx fleet status` lists all machines")
            said = True
            time.sleep(_LOOK_SECONDS)
        return None

    def free(self) -> Sequence[Worker]:
        """Return the workers that have nothing to do."""
        taken = {worker.name for worker, _ in self._busy.values()}
        return [worker for worker in self.workers if worker.name not in taken]

    def running(self) -> tuple[Running, ...]:
        """Return the experiments that wait or are measured now."""
        with self.session.deciding:
            return tuple(attempt.running() for attempt in self._begun())

    def measure(self, attempt: Attempt, resumed: bool = False) -> None:
        """Let the attempt's worker measure the attempt until there is a verdict."""
        watch = self.watching(attempt.number, worker=attempt.worker)
        self._hand(attempt.worker, attempt, lambda: self._experiment(attempt, watch, resumed))

    def do(self, worker: Worker, number: int, task: Callable[[Worker, Watch], None]) -> None:
        """Give a worker a task that is not an experiment, such as another run of the incumbent.

        The task ends when the user skips experiment ``number``.
        """
        watch = self.watching(number, shown=False, worker=worker)

        def done() -> None:
            try:
                task(worker, watch)
            except (Skipped, KeyboardInterrupt) as ended:
                self.screen.say(f"the incumbent's new run was {str(ended) or STOPPED}")
            except MachineLost as lost:
                self.screen.say(f"the incumbent was not measured on {worker.name}: {lost}")

        self._hand(worker, None, done)

    def first_runs(self, attempt: Attempt) -> Decision:
        """Make the first runs of a baseline at the same time, one with each worker; return the judge's decision."""
        assert attempt.sha is not None
        session, sha, number, watch = self.session, attempt.sha, attempt.number, self.watching(0)
        if session.roster is not None:
            return first_runs_of_fleet(self, attempt, watch)
        with attempt.timed("measure"):
            taken = self._taken = [
                self._pool.submit(measure, session, worker, sha, number, run, watch)
                for run, worker in enumerate(self.workers[: session.judge.baseline_runs], 1)
            ]
            try:
                wait(taken)
            except BaseException:
                self._halt.set()
                raise
            attempt.measurements.extend(each.result() for each in taken)
        attempt.taken = len(attempt.measurements)
        return attempt.decide()

    def wait(self) -> None:
        """Wait until at least one lane is done, and raise the error of a lane that failed."""
        if not self._busy:
            time.sleep(_LOOK_SECONDS)  # no machine of the fleet is here
        while self._busy:
            done, _ = wait(self._busy, _LOOK_SECONDS, FIRST_COMPLETED)
            if done or self.session.roster is not None:  # another machine may have joined
                break
        self.collect()

    def collect(self) -> None:
        """Collect what the lanes have finished, without waiting; raise the error of a lane that failed."""
        for each in [future for future in self._busy if future.done()]:
            del self._busy[each]
            if isinstance(ended := each.result(), Waiting):
                self.waiting.append(ended)
            elif ended is not None:
                self.ended.append(ended)

    def drain(self) -> None:
        """Wait until every lane is done, and raise the error of a lane that failed."""
        while self.busy:
            if not self.pass_on() and not self.assist():
                self.wait()

    def pass_on(self, due: Callable[[Worker], bool] = lambda worker: False) -> bool:
        """Let a machine continue a waiting experiment, if possible; return whether anything was begun or decided.

        An experiment waits for the machines that the judge has named, if at least one of these machines takes part.
        Experiments that have runs come first.  If no machine is free, an experiment is given to a machine whose run
        ends soon, but not to a machine on which another task is ``due``.
        """
        if self._settle() or self._learn():
            return True
        here, lanes = self.workers, Counter(worker.name for worker, _ in self._busy.values())
        self.waiting = sorted(self.waiting, key=lambda each: not each.attempt.measurements)
        for at, each in enumerate(self.waiting):
            if soon_settled(each, here):
                continue
            may = [worker for worker in here if worker.name in each.to] or list(here)
            may = [worker for worker in may if worker.name not in each.avoid] or may
            free = [worker for worker in may if not lanes[worker.name]]
            spare = each.attempt.spares.machines  # these machines already make a run of this experiment
            soon = (w for w in may if lanes[w.name] == 1 and w.name not in spare and w.ends_soon())
            free = free or [worker for worker in soon if not due(worker) and self._lacks(worker) is None]
            if free:
                del self.waiting[at]
                if free[0].name != each.attempt.worker.name:
                    each.attempt.move(free[0])
                    self.session.append("moved", number=each.attempt.number, worker=free[0].name)
                self.measure(each.attempt, each.resumed)
                return True
        return False

    def _settle(self) -> bool:
        """Decide on a waiting experiment that has new runs by other machines; return whether there was a decision."""
        at = next((at for at, each in enumerate(self.waiting) if has_news(self.session, each)), None)
        if at is None:
            return False
        each = self.waiting.pop(at)
        with self.session.deciding:
            decision = onto_incumbent(each.attempt, each.attempt.decide(), self.running())
            if isinstance(decision, Again):
                to = may_continue(self.session, each.attempt, decision) if decision.machine else ()
                self.waiting.append(wait_for(each.attempt, to, each.avoid))
                return True
            ended = each.attempt.conclude(with_words(decision, each.attempt))
        self.screen.finished(ended)
        self.ended.append(ended)
        return True

    def assist(self) -> bool:
        """Let a free machine make a spare run; return whether a machine makes one."""
        if self.session.roster is None:
            return False
        for worker in self.free():
            if (attempt := spare_for(self.session, worker, self._begun())) is not None:
                attempt.spares.machines.append(worker.name)
                self.do(worker, -1, partial(take_spare_run, attempt))  # -1: a skip is for the experiment's own run
                return True
        return False

    def _begun(self, apart_from: str | None = None) -> list[Attempt]:
        """Return the experiments that wait or are measured now, without those on the machine ``apart_from``."""
        busy = [each for worker, each in list(self._busy.values()) if each is not None and worker.name != apart_from]
        return [*(each.attempt for each in self.waiting), *busy]

    def _learn(self) -> bool:
        """Let a free machine run the incumbent if an undecided experiment needs this run; return whether it begins."""
        for worker in self.free():
            if (best := self._lacks(worker)) is not None:
                self.do(worker, best.number, partial(learn_incumbent, self.session))
                return True
        return False

    def _lacks(self, worker: Worker) -> Experiment | None:
        return lacks_incumbent(self.session, worker, self._begun(apart_from=worker.name))

    def watching(self, number: int, shown: bool = True, worker: Worker | None = None) -> Watch:
        """Return a watch that ends the measurement when the user skips experiment ``number`` or stops the run.

        ``shown`` says whether the screen shows the progress of the experiment.
        """

        def tell(progress: Progress) -> None:
            if shown:
                self.screen.progress(replace(progress, number=number))

        heard = self.orders.watching(number, tell)
        heartbeat = Heartbeat(self.session.folder, worker.name if worker is not None else "")

        def watch(progress: Progress) -> None:
            heartbeat.beat()
            if self._halt.is_set():
                raise KeyboardInterrupt
            heard(progress)

        return watch

    def close(self) -> None:
        """End all measurements, log their experiments as interrupted, and remove the worktrees of the lanes.

        Afterwards the session's first worktree has the files of the incumbent.
        """
        self._halt.set()
        self._wait_for_lanes()
        if not self.session.side_by_side:
            return
        for each in self.waiting:
            self.screen.finished(each.attempt.conclude(Verdict("interrupted", self.halted)))
        forget_all(self.session.folder)
        with suppress(WorkspaceError):  # if git fails here, the next start reports the problem
            for worker in () if self.session.roster is not None else self.workers:
                worker.worktree.drop()
            self.session.worker.worktree.ensure()

    def _wait_for_lanes(self) -> None:
        """Wait until no lane measures.  During the first ten seconds Ctrl-C is ignored; later it ends this process.

        A run ends as soon as it calls its watch.  A user's own target may never call its watch, and Python cannot end a
        thread from outside.  The next start logs the experiments that are still open.
        """
        since = time.monotonic()
        work: list[Future[Any]] = list(self._busy)
        work.extend(self._taken)
        while True:
            try:
                wait(work)  # Ctrl-C would break Thread.join, but it does not break this wait
                return self._pool.shutdown()
            except KeyboardInterrupt:
                if time.monotonic() - since > _PATIENCE_SECONDS:
                    self.screen.close()
                    os._exit(_INTERRUPTED)
                self.screen.say(
                    f"ending the runs; after {_PATIENCE_SECONDS} s, Ctrl-C again ends this command without waiting"
                )

    def _hand(self, worker: Worker, attempt: Attempt | None, task: Callable[[], Experiment | Waiting | None]) -> None:
        self._busy[self._pool.submit(task)] = worker, attempt

    def _experiment(self, attempt: Attempt, watch: Watch, resumed: bool) -> Experiment | Waiting:
        """Measure an attempt and log the verdict, or return the attempt so that another machine continues it."""
        try:
            done = self._judged(attempt, watch, resumed)
            if isinstance(done, Waiting):
                return done
        except MachineLost as lost:
            here = attempt.worker.name
            if self._again(attempt, lost):
                self.screen.say(f"experiment {attempt.number} is measured on another machine: {lost}")
                return wait_for(attempt, avoid=(here,))
            said = f"{' and '.join(dict.fromkeys((*attempt.lost, here)))} did not deliver the run: {lost}"
            done = attempt.conclude(Verdict("interrupted", said))
        except Skipped as skipped:
            done = attempt.conclude(Verdict("interrupted", str(skipped)))
        except KeyboardInterrupt:
            done = attempt.conclude(Verdict("interrupted", self.halted))
        self.screen.finished(done)
        return done

    def _again(self, attempt: Attempt, lost: MachineLost) -> bool:
        """Return whether another machine should make the run that the attempt's machine did not complete."""
        if isinstance(lost, MachineUnfit):
            return True  # the incumbent does not run on this machine
        if isinstance(lost, NotTaken):
            self._not_taken[attempt.number] += 1
            return self._not_taken[attempt.number] < _MOST_NOT_TAKEN
        attempt.lost = (*attempt.lost, attempt.worker.name)
        return len(attempt.lost) < _MOST_LOST

    def _judged(self, attempt: Attempt, watch: Watch, resumed: bool) -> Experiment | Waiting:
        """Measure and decide until there is a verdict, or until another machine must continue.

        The user can end the experiment even between two runs.  One lock covers two steps that belong together: checking
        with which incumbent the attempt was compared, and replacing this incumbent.
        """
        decision: Decision = attempt.decide() if attempt.measurements else Again("not measured yet")
        came = True
        while True:
            if self._halt.is_set():
                raise KeyboardInterrupt
            self.orders.obey(attempt.number)  # a user's own target may never call the watch
            with self.session.deciding:
                if not resumed:
                    decision = onto_incumbent(attempt, decision, self.running())
                resumed = False
                if isinstance(decision, Verdict):
                    return attempt.conclude(with_words(decision, attempt))
            elsewhere = decision.machine not in ("", attempt.worker.name)
            if came and decision.whom == "incumbent":  # the run was offered to other machines first
                if elsewhere:
                    return wait_for(attempt, to=(decision.machine,))
            elif elsewhere or decision.whom == "incumbent":
                to = may_continue(self.session, attempt, decision)
                if elsewhere or len(to) > 1:
                    return wait_for(attempt, to)
            came = False
            measured = know_incumbent(self.session, attempt, decision, watch)
            if measured and decision.whom == "incumbent" and not decision.trial:
                decision = attempt.decide()
                continue
            decision = attempt.measure(decision, watch)
            refuse_fault(attempt)


@contextmanager
def crew_of(session: Session, screen: Screen, orders: Orders) -> Iterator[Crew]:
    """Yield the lanes of a run, and end them when the block ends."""
    crew = Crew(session, screen, orders)
    try:
        yield crew
    except Exception as error:
        crew.halted = f"the run ended: {error}"
        raise
    finally:
        crew.close()
