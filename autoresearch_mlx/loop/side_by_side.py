"""Run the research loop with several lanes: ask for proposals, and give each proposal to a free lane."""

from __future__ import annotations

from autoresearch_mlx.agents.scripted import Fixed
from autoresearch_mlx.errors import AgentAway, AgentError, AgentWaits, AutoresearchError
from autoresearch_mlx.experiment import Agent, Experiment, History, Verdict, Watch
from autoresearch_mlx.judge.history import standing
from autoresearch_mlx.loop.attempt import Attempt
from autoresearch_mlx.loop.control import Orders, Skipped
from autoresearch_mlx.loop.crew import STOPPED, Crew
from autoresearch_mlx.loop.fleet_runs import Waiting, due_on_machine, look_for_drift_on, note_proposal
from autoresearch_mlx.loop.measure import repeat
from autoresearch_mlx.loop.policy import Sofar, pace, sofar
from autoresearch_mlx.loop.screen import Screen
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.loop.upkeep import (
    REMOVER,
    anew_due,
    exchange,
    look_for_drift,
    measure_anew,
    next_removal,
    wait_for_agent,
    wait_until_fit,
)
from autoresearch_mlx.loop.worker import Worker


def research_side_by_side(crew: Crew, agent: Agent) -> str:
    """Run experiments on all lanes until the policy ends the run or the agent has no proposal; return the reason."""
    try:
        return _Night(crew, agent).whole()
    except AutoresearchError:
        crew.drain()  # after an error, for example of a full disk, running experiments are still finished
        raise


class _Night:
    """One run of the loop with several lanes, and its counts of experiments."""

    def __init__(self, crew: Crew, agent: Agent) -> None:
        self.crew, self.agent = crew, agent
        self.session: Session = crew.session
        self.screen: Screen = crew.screen
        self.orders: Orders = crew.orders
        self.done = self.idle = 0
        self.asked_at: int | None = None
        """Number of experiments done when the agent last asked to wait for running experiments; None if it never did.
        """
        self.refreshed: History | None = None
        """The history before the incumbent's newest run, or None if no such run has to be examined."""

    def whole(self) -> str:
        while True:
            come = self.sofar()
            reason = self.orders.stop(come, self.screen.progress)
            reason = reason or wait_until_fit(self.session, self.screen, self.orders, come)
            if reason is not None and not self.crew.busy:
                return reason
            if reason is None and any(self.refresh_machine(each) for each in self.crew.free() if each.machine):
                continue
            if self.crew.pass_on(self.due):
                continue
            asks = reason is None and (self.asked_at != self.done or not self.crew.busy)
            worker = next(iter(self.crew.free()), None)
            if asks and worker is None and (first := self.prepares()) is not None:
                reason = self.experiment(first, self.agent, waits=True)
                if reason is not None:
                    self.crew.drain()
                    return reason
            elif not asks or worker is None:
                if asks or not self.crew.assist():
                    self.crew.wait()
            elif not self.upkeep(worker) and (reason := self.experiment(worker, self.agent)) is not None:
                self.crew.drain()
                return reason

    def sofar(self) -> Sofar:
        """Return the progress of the run.

        A running experiment counts as done and not kept, so that no limit is exceeded.
        """
        for ended in self.crew.ended:
            self.count(ended)
        self.crew.ended.clear()
        running = self.crew.experiments
        history = self.session.journal().history
        return sofar(history, self.orders.policy, self.done + running, self.idle + running)

    def sofar_of_lanes(self) -> Sofar:
        """Collect the finished experiments, let waiting experiments continue, and return the progress of the run."""
        self.crew.collect()
        while self.crew.pass_on(self.due):
            pass
        return self.sofar()

    def count(self, ended: Experiment) -> None:
        self.done, self.idle = self.done + 1, 0 if ended.status == "keep" else self.idle + 1

    def prepares(self) -> Worker | None:
        """Return the machine of a fleet for which the next experiment should be prepared now, or None.

        The machine that will be free first is chosen, because this machine must also make the proposal's smoke run.
        """
        if self.session.roster is None or any(not each.to for each in self.crew.waiting):
            return None
        return min(self.crew.workers, key=lambda worker: worker.seconds_left(), default=None)

    def experiment(self, worker: Worker, author: Agent, waits: bool = False) -> str | None:
        """Begin one experiment with a proposal of ``author``; return the reason if the run must end, else None.

        The run must end if the agent has nothing to propose.  ``waits`` says that all machines are busy; then the first
        machine that is free measures the experiment.
        """
        exchange(self.session)
        running = self.crew.running()
        attempt = Attempt.start(self.session, worker)
        watch = self.crew.watching(attempt.number)
        try:
            decision = attempt.propose(author, watch, running)
            attempt.commit()
            self.screen.started(attempt.number, attempt.title, self.best(attempt), self.eta_seconds())
            self.orders.obey(attempt.number)
        except Skipped as skipped:
            decision = Verdict("interrupted", str(skipped))
        except AgentAway as away:
            attempt.abandon(str(away))
            return wait_for_agent(away, self.screen, self.orders, self.sofar_of_lanes)
        except AgentWaits as early:
            attempt.abandon(str(early))
            self.asked_at = self.done
            return None
        except AgentError as error:
            attempt.abandon(str(error))
            if error.hint:
                self.screen.say(f"no proposal: {error}\nhint: {error.hint}")
            return str(error)
        except KeyboardInterrupt:
            self.screen.finished(attempt.conclude(Verdict("interrupted", STOPPED)))
            raise
        if isinstance(decision, Verdict):
            ended = attempt.conclude(decision)
            self.screen.finished(ended)
            self.count(ended)
        else:
            if self.session.roster is not None:
                note_proposal(attempt)
            if waits:
                self.crew.waiting.append(Waiting(attempt))
            else:
                self.crew.measure(attempt)
        return None

    def best(self, attempt: Attempt) -> float | None:
        """Return the incumbent's value; in a fleet, it is the value on the session's first machine."""
        history = attempt.history if self.session.roster is None else self.session.journal().history
        return None if history.incumbent is None else standing(history, history.incumbent)

    def eta_seconds(self) -> float | None:
        each = pace(self.session.journal().history)
        return self.orders.policy.eta_seconds(
            self.done, None if each is None else each / max(1, len(self.crew.workers))
        )

    # --- between experiments

    def upkeep(self, worker: Worker) -> bool:
        """Do the work that is due between experiments; return whether any work was due.

        One lane measures the incumbent again while the other lanes continue.  A change of the regime, and the trial
        removal of a keep, wait until no lane is busy.
        """
        history = self.session.history(worker)
        best = history.incumbent
        try:
            if worker.machine:
                return self.removal(worker, history)
            if anew_due(self.session):
                self.crew.drain()
                measure_anew(self.session, self.screen, self.orders)
                return True
            if self.crew.others == 0 and (before := self.refreshed) is not None:
                self.refreshed = None
                if self.suspected(before, history):
                    self.crew.drain()
                    look_for_drift(self.session, self.screen, self.orders, suspected=True)
                    return True
            if best is not None and self.refreshed is None and self.session.judge.refresh_due(history):
                self.refresh(worker, best, history)
                return True
        except Skipped as skipped:
            self.screen.say(f"the incumbent's new run was {skipped}")
            return True
        return self.removal(worker, history)

    def removal(self, worker: Worker, history: History) -> bool:
        """Make the trial removal of a weak keep if it is due; return whether it was due.

        If a lane is busy, this call only waits until no lane is busy; the next call makes the removal.
        """
        if (removal := next_removal(self.session, history)) is None:
            return False
        if self.crew.busy:
            self.crew.drain()  # experiments that end meanwhile may change which removal is due
        else:
            self.experiment(worker, Fixed(REMOVER, removal))
            self.crew.drain()
        return True

    def due(self, worker: Worker) -> bool:
        """Return whether a machine of the fleet is to measure the incumbent again."""
        judge = self.session.judge
        return judge.mode != "margin" and due_on_machine(self.session.history(worker), judge.refresh_every)

    def refresh_machine(self, worker: Worker) -> bool:
        """Let a machine of the fleet measure the incumbent again if this is due; return whether it was due."""
        best = self.session.history(worker).incumbent
        if best is None or not self.due(worker):
            return False
        self.screen.say(f"experiment {best.number}, the incumbent, is measured again on {worker.name}")

        def task(worker: Worker, watch: Watch) -> None:
            look_for_drift_on(self.session, worker, watch, self.screen)

        self.crew.do(worker, best.number, task)
        return True

    def refresh(self, worker: Worker, best: Experiment, before: History) -> None:
        """Let one lane measure the incumbent again while the other lanes continue with their experiments."""

        def task(worker: Worker, watch: Watch) -> None:
            with worker.refreshing:
                repeat(self.session, worker, best, watch)

        self.screen.say(f"experiment {best.number}, the incumbent, is measured again beside other experiments")
        self.crew.do(worker, best.number, task)
        self.refreshed = before

    def suspected(self, before: History, now: History) -> bool:
        """Return whether the incumbent's new run differs too much from its earlier runs."""
        best = before.incumbent
        new = [r.measurement for r in now.repeats[len(before.repeats) :] if best and r.number == best.number]
        return bool(new) and now.incumbent == best and self.session.judge.drifted(before, new)
