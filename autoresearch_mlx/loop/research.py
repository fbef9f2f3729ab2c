"""Run the research loop: propose -> commit -> measure -> judge -> keep or revert -> log, until told to stop."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from autoresearch_mlx.agents.scripted import Fixed
from autoresearch_mlx.errors import AgentAway, AgentError, LabError
from autoresearch_mlx.experiment import Agent, Experiment, Proposal, Verdict
from autoresearch_mlx.judge import Again
from autoresearch_mlx.judge.faults import fault_of
from autoresearch_mlx.lab.source import changed_knobs, describe
from autoresearch_mlx.lab.tool_settings import HookSettings
from autoresearch_mlx.loop.ahead import thinking_ahead
from autoresearch_mlx.loop.attempt import Attempt
from autoresearch_mlx.loop.control import Orders, Skipped, listening
from autoresearch_mlx.loop.crew import Crew, crew_of
from autoresearch_mlx.loop.fleet_runs import Waiting
from autoresearch_mlx.loop.hooks import with_hooks
from autoresearch_mlx.loop.policy import Policy, Sofar, pace, sofar
from autoresearch_mlx.loop.screen import Screen, TakingTurns
from autoresearch_mlx.loop.session import Session, refuse_lanes
from autoresearch_mlx.loop.side_by_side import research_side_by_side
from autoresearch_mlx.loop.upkeep import (
    NOTHING_DONE,
    REMOVER,
    exchange,
    look_for_drift,
    measure_anew,
    next_removal,
    tell_of_machine,
    wait_for_agent,
    wait_until_fit,
)
from autoresearch_mlx.loop.worker import MachineLost
from autoresearch_mlx.store.heartbeat import forget_all, last_seen
from autoresearch_mlx.store.laid_out import named
from autoresearch_mlx.store.tags import drop_broken
from autoresearch_mlx.store.worktree import FOLDER, Worktree
from autoresearch_mlx.targets.contract import Appraising


def research(session: Session, agent: Agent, policy: Policy, screen: Screen, hooks: HookSettings | None = None) -> str:
    """Run experiments until the policy ends the run or the agent has no more proposals, and return the reason.

    The user's ``hooks`` run before and after each experiment.  Raises LabError when the session asks for several lanes
    and its target does not allow several lanes.
    """
    refuse_lanes(session)
    screen = TakingTurns(screen) if session.side_by_side else screen
    agent, screen = with_hooks(hooks, session, agent, screen)
    with (
        listening(session.folder, policy, screen.say) as orders,
        crew_of(session, screen, orders) as crew,
        thinking_ahead(session, agent, orders, screen.say) as ahead,
    ):
        crew.waiting.extend(recover(session, screen))
        if (reason := wait_until_fit(session, screen, orders, NOTHING_DONE)) is not None:
            return reason
        if (reason := crew.wait_for_worker()) is not None:
            return reason
        baseline(session, screen, crew, ahead.begin)
        if session.side_by_side:
            return research_side_by_side(crew, agent)
        done = idle = 0

        def so_far() -> Sofar:
            return sofar(session.journal().history, orders.policy, done, idle)

        while True:
            come = so_far()
            reason = orders.stop(come, screen.progress) or wait_until_fit(session, screen, orders, come)
            if reason is not None:
                return reason
            try:
                measure_anew(session, screen, orders)
                look_for_drift(session, screen, orders)
            except Skipped as skipped:
                screen.say(f"the incumbent's new run was {skipped}")
            if session.worker.health.failing:
                continue
            exchange(session)
            history = session.journal().history
            removal = next_removal(session, history)
            author = Fixed(REMOVER, removal) if removal else ahead
            eta, ahead.done, ahead.idle = orders.policy.eta_seconds(done, pace(history)), done, idle
            try:
                ended = experiment(session, author, screen, eta, orders, meanwhile=ahead.begin)
            except AgentAway as away:
                if (reason := wait_for_agent(away, screen, orders, so_far)) is not None:
                    return reason
                continue
            except AgentError as error:
                if error.hint:
                    screen.say(f"no proposal: {error}\nhint: {error.hint}")
                return str(error)
            done, idle = done + 1, 0 if ended.status == "keep" else idle + 1


def experiment(
    session: Session,
    agent: Agent,
    screen: Screen,
    eta_seconds: float | None = None,
    orders: Orders | None = None,
    crew: Crew | None = None,
    accepted: bool = False,
    meanwhile: Callable[[Attempt], None] = lambda attempt: None,
) -> Experiment:
    """Run one experiment from its proposal to its line in the ledger.

    The lanes of a ``crew`` share the runs of a baseline.  ``accepted`` says that a person vouches for the experiment's
    gain, however large the gain is.  The function ``meanwhile`` is called before each run of the experiment.  A skip
    ends the experiment as ``interrupted`` and restores the worktree.  Ctrl-C does the same, and then raises
    KeyboardInterrupt.  Raises AgentError if the agent has no proposal; then there is no experiment.
    """
    worker = session.worker if crew is None or session.roster is None else crew.workers[0]
    attempt, orders = Attempt.start(session, worker), orders or Orders()
    attempt.accepted = accepted
    watch = orders.watching(attempt.number, screen.progress)
    try:
        decision = attempt.propose(agent, watch)
        attempt.commit()
        screen.started(attempt.number, attempt.title, attempt.incumbent_value, eta_seconds)
        orders.obey(attempt.number)
        if crew is not None and isinstance(decision, Again):
            decision = crew.first_runs(attempt)
        while isinstance(decision, Again):
            meanwhile(attempt)
            decision = attempt.measure(decision, watch)
        finished = attempt.conclude(decision)
    except (Skipped, MachineLost) as ended:
        finished = attempt.conclude(Verdict("interrupted", str(ended)))
    except AgentError as error:
        attempt.abandon(str(error))
        raise
    except KeyboardInterrupt:
        # If the experiment is already logged, the next start brings branch and worktree up to date.
        if any(each.number == attempt.number for each in session.journal().running):
            screen.finished(attempt.conclude(Verdict("interrupted", "stopped by hand")))
        raise
    screen.finished(finished)
    return finished


def measure_edit(
    session: Session, edit: Callable[[], Proposal], screen: Screen, promise: Callable[[int], None] = lambda number: None
) -> Experiment:
    """Run one experiment with an edit from outside the loop.

    If the session has no baseline, the baseline is measured first.  ``promise`` is called with the number that the
    experiment will have, before anything is measured.
    """
    recover(session, screen)
    journal = session.journal()
    promise(1 if journal.history.baseline is None else journal.free_number)
    tell_of_machine(session, screen)
    baseline(session, screen)
    measure_anew(session, screen)
    proposal = edit()
    return experiment(session, Fixed(proposal.agent, proposal), screen)


def baseline(
    session: Session,
    screen: Screen,
    crew: Crew | None = None,
    meanwhile: Callable[[Attempt], None] = lambda attempt: None,
) -> None:
    """Measure the baseline (the unchanged file with this machine's preset), unless the session already has one.

    A ``crew`` with several lanes makes the runs at the same time.  Raises LabError when the baseline fails, because
    then no experiment can be compared with it.
    """
    if session.journal().history.baseline is not None:
        return
    before = session.start_files()
    files = session.with_preset(before)
    preset = describe({k: v for path in files for k, v in changed_knobs(before[path], files[path]).items()})
    title = f"baseline; preset {preset}" if preset else "baseline"
    author = Fixed("baseline", Proposal(title, files, axis="baseline"))
    done = experiment(session, author, screen, crew=crew if session.side_by_side else None, meanwhile=meanwhile)
    if done.status != "keep":
        hint = "`autoresearch-mlx show 0` shows the log; correct the file, commit, and start again with --tag NAME"
        if done.measurements and fault_of(done.measurements[-1]) is not None:
            hint = "the file is not to blame: when the machine works again, start again with --tag NAME"
        elif files_missed := session.missed(done.reason):
            names = " ".join(shlex.quote(path) for path in files_missed)
            fact = f"the measured commit lacks {named(files_missed)}, which your checkout has"
            hint = f"{fact}: `git add -f {names} && git commit`, and start again with --tag NAME"
        raise LabError(f"the baseline ended as {done.status}: {done.reason}", hint)
    if isinstance(session.target, Appraising):
        for found in session.target.appraise([m for m in done.measurements if m.value is not None]):
            if found.state != "ok":
                screen.say(f"{found.name}: {found.value}" + (f"; {found.hint}" if found.hint else ""))


def recover(session: Session, screen: Screen) -> list[Waiting]:
    """Recover after a process has died: close open experiments, and bring branch and worktree to the ledger's state.

    Only this process has the session's lock, so the process that began an open experiment is dead.  The machines of a
    fleet may still be running, so their open experiments are returned, and continue.
    """
    going_on = []
    for left in session.journal().running:
        drop_broken(session.workspace.top, session.tag, left.number)
        attempt = Attempt.left_open(session, left)
        if session.roster is not None and left.number > 0:
            if attempt.sha is not None:
                going_on.append(Waiting(attempt, to=(left.worker,) if left.worker else (), resumed=True))
            else:
                attempt.abandon("the process ended before the agent had made a proposal")
            continue
        reason = f"the process that ran it ended{last_seen(session.folder, left.worker)}"
        screen.finished(attempt.conclude(Verdict("interrupted", reason)))
    forget_all(session.folder)
    history = session.journal().history
    session.workspace.settle(session.incumbent(history), session.commits(history))
    session.worker.worktree.ensure()
    for left_tree in session.folder.glob(f"{FOLDER}-*"):
        Worktree(session.workspace, left_tree.name).drop()
    return going_on
