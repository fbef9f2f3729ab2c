"""Measure experiments side by side on one machine, in lanes; a coordinator asks for proposals and collects results.

The main thread asks the agent and hands each proposal to a free lane.  A lane is a thread with its own worktree; its
measurements are child processes.  A lane that decides on an experiment holds ``session.deciding``, so that verdicts,
keeps and the lines of the ledger are written one after the other, all by this one process.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.experiment import Experiment, Measurement, Progress, Running, Verdict, Watch
from autoresearch_mlx.judge import Again, Decision
from autoresearch_mlx.loop.attempt import Attempt, OneRun
from autoresearch_mlx.loop.carry import onto_incumbent
from autoresearch_mlx.loop.control import Orders, Skipped
from autoresearch_mlx.loop.screen import Screen
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.loop.worker import Worker, lanes_of
from autoresearch_mlx.store.heartbeat import Heartbeat, forget_all

STOPPED = "stopped by hand"
_LOOK_SECONDS = 0.2
_PATIENCE_SECONDS = 10
"""Seconds after which Ctrl-C no longer waits for the lanes."""
_INTERRUPTED = 130
"""Exit code of a process ended by Ctrl-C."""


class Crew:
    """The lanes of one run.  Made by :func:`crew_of`; only the main thread calls its methods."""

    def __init__(self, session: Session, screen: Screen, orders: Orders) -> None:
        self.session, self.screen, self.orders = session, screen, orders
        self.workers = lanes_of(session.worker, session.workspace, session.lanes)
        self._pool = ThreadPoolExecutor(len(self.workers), thread_name_prefix="lane")
        self._busy: dict[Future[Experiment | None], tuple[Worker, Attempt | None]] = {}
        self._taken: list[Future[Measurement]] = []
        self._halt = threading.Event()
        self.halted = STOPPED
        """Reason recorded for experiments that are interrupted because the run ends."""
        self.ended: list[Experiment] = []
        """Experiments that the lanes have finished and that have not been counted yet, oldest first."""

    @property
    def experiments(self) -> int:
        """Number of experiments being measured."""
        return sum(attempt is not None for _, attempt in self._busy.values())

    @property
    def others(self) -> int:
        """Number of lanes that are busy with something other than an experiment."""
        return len(self._busy) - self.experiments

    @property
    def busy(self) -> bool:
        return bool(self._busy)

    def free(self) -> Worker | None:
        """Return a worker that has nothing to do; None when every lane is busy."""
        taken = {worker.name for worker, _ in self._busy.values()}
        return next((worker for worker in self.workers if worker.name not in taken), None)

    def running(self) -> tuple[Running, ...]:
        """Return the experiments that the lanes measure now, oldest first."""
        with self.session.deciding:
            return tuple(attempt.running() for _, attempt in list(self._busy.values()) if attempt is not None)

    def measure(self, attempt: Attempt) -> None:
        """Let the attempt's worker measure it until it has a verdict."""
        watch = self.watching(attempt.number, worker=attempt.worker)
        self._hand(attempt.worker, attempt, lambda: self._experiment(attempt, watch))

    def do(self, worker: Worker, number: int, task: Callable[[Worker, Watch], None]) -> None:
        """Give a worker a task that is not an experiment: a new run of the incumbent, experiment ``number``."""
        watch = self.watching(number, shown=False, worker=worker)

        def done() -> None:
            try:
                task(worker, watch)
            except (Skipped, KeyboardInterrupt) as ended:
                self.screen.say(f"the incumbent's new run was {str(ended) or STOPPED}")

        self._hand(worker, None, done)

    def together(self, take: OneRun, runs: Sequence[int]) -> Sequence[Measurement]:
        """Take these runs of the baseline side by side; return the results in the order of ``runs``."""
        watch = self.watching(0)
        taken = self._taken = [self._pool.submit(take, run, watch) for run in runs]
        try:
            wait(taken)
        except BaseException:
            self._halt.set()
            raise
        return [each.result() for each in taken]

    def wait(self) -> None:
        """Wait until at least one lane is done; raise the error of a lane that failed."""
        while self._busy:
            done, _ = wait(self._busy, _LOOK_SECONDS, FIRST_COMPLETED)
            if done:
                break
        for each in [future for future in self._busy if future.done()]:
            del self._busy[each]
            if (experiment := each.result()) is not None:
                self.ended.append(experiment)

    def drain(self) -> None:
        """Wait until every lane is done; raise the error of a lane that failed."""
        while self._busy:
            self.wait()

    def watching(self, number: int, shown: bool = True, worker: Worker | None = None) -> Watch:
        """Return the watch of experiment ``number``, which ends its measurement when a person asks for it.

        ``shown`` says whether the screen shows its progress.
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
        """End the measurements of all lanes, log them as interrupted, and remove the worktrees of the lanes.

        The session's first worktree then has the files that the lanes have kept.
        """
        self._halt.set()
        self._wait_for_lanes()
        if len(self.workers) == 1:
            return
        forget_all(self.session.folder)
        with suppress(WorkspaceError):  # the next start finds and reports what git refuses here
            for worker in self.workers:
                worker.worktree.drop()
            self.session.worker.worktree.ensure()

    def _wait_for_lanes(self) -> None:
        """Wait until no lane measures, however often Ctrl-C is pressed; after ten seconds, Ctrl-C ends this process.

        A run ends as soon as it calls its watch.  A user's own target may never call it, and Python cannot end a
        thread from outside.  The next start logs the experiments that were left open.
        """
        since = time.monotonic()
        work: list[Future[Any]] = list(self._busy)
        work.extend(self._taken)
        while True:
            try:
                wait(work)  # Ctrl-C can break the joining of a thread, but not the waiting for its work
                return self._pool.shutdown()
            except KeyboardInterrupt:
                if time.monotonic() - since > _PATIENCE_SECONDS:
                    self.screen.close()
                    os._exit(_INTERRUPTED)
                self.screen.say(
                    f"ending the runs; after {_PATIENCE_SECONDS} s, Ctrl-C again ends this command without waiting"
                )

    def _hand(self, worker: Worker, attempt: Attempt | None, task: Callable[[], Experiment | None]) -> None:
        self._busy[self._pool.submit(task)] = worker, attempt

    def _experiment(self, attempt: Attempt, watch: Watch) -> Experiment:
        """Measure an attempt until there is a verdict, and log it, however it ends."""
        try:
            done = self._judged(attempt, watch)
        except Skipped as skipped:
            done = attempt.conclude(Verdict("interrupted", str(skipped)))
        except KeyboardInterrupt:
            done = attempt.conclude(Verdict("interrupted", self.halted))
        self.screen.finished(done)
        return done

    def _judged(self, attempt: Attempt, watch: Watch) -> Experiment:
        """Measure and decide until there is a verdict, or until a person ends the experiment, even between two runs.

        One lock covers two steps: checking which incumbent the attempt was compared with, and replacing that incumbent.
        """
        decision: Decision = Again("not measured yet")
        while True:
            if self._halt.is_set():
                raise KeyboardInterrupt
            self.orders.obey(attempt.number)  # a user's own target may never call the watch
            with self.session.deciding:
                decision = onto_incumbent(attempt, decision, self.running())
                if isinstance(decision, Verdict):
                    return attempt.conclude(_with_words(decision, attempt))
            decision = attempt.measure(decision, watch)


def _with_words(verdict: Verdict, attempt: Attempt) -> Verdict:
    """Return the verdict; if the change was carried, its reason names the keep that it was carried onto."""
    best = attempt.history.incumbent
    if not attempt.carried or not attempt.measurements or best is None:
        return verdict
    return replace(verdict, reason=f"{verdict.reason}; carried onto experiment {best.number}, kept meanwhile")


@contextmanager
def crew_of(session: Session, screen: Screen, orders: Orders) -> Iterator[Crew]:
    """Yield the lanes of a run; end them when the block ends."""
    crew = Crew(session, screen, orders)
    try:
        yield crew
    except Exception as error:
        crew.halted = f"the run ended: {error}"
        raise
    finally:
        crew.close()


class TakingTurns:
    """A screen that several lanes share; only one lane writes at a time."""

    def __init__(self, screen: Screen) -> None:
        self._screen, self._turn = screen, threading.RLock()

    def say(self, text: str) -> None:
        with self._turn:
            self._screen.say(text)

    def started(self, number: int, title: str, incumbent: float | None, eta_seconds: float | None) -> None:
        with self._turn:
            self._screen.started(number, title, incumbent, eta_seconds)

    def progress(self, progress: Progress) -> None:
        with self._turn:
            self._screen.progress(progress)

    def finished(self, experiment: Experiment) -> None:
        with self._turn:
            self._screen.finished(experiment)

    def close(self) -> None:
        with self._turn:
            self._screen.close()
