"""Measure with the machines of a fleet: which machine runs the incumbent, and which one confirms a gain.

Absolute values of two machines are never compared.  A candidate is compared with earlier runs of the same machine.  So
each machine measures the baseline itself, and also the incumbent when a candidate must be compared with the incumbent.
The judge says which machine makes the next run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autoresearch_mlx.experiment import Experiment, History, Progress, Watch
from autoresearch_mlx.judge import Again
from autoresearch_mlx.judge.across import knows, name_of, reference
from autoresearch_mlx.judge.faults import fault_of
from autoresearch_mlx.judge.history import sigma_of, taken_now
from autoresearch_mlx.judge.judge import Case
from autoresearch_mlx.judge.machines import runs_to_learn
from autoresearch_mlx.loop.attempt import Attempt
from autoresearch_mlx.loop.control import Skipped
from autoresearch_mlx.loop.measure import Order, measure, repeat, turn_at_incumbent
from autoresearch_mlx.loop.screen import Screen
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.loop.upkeep import drift_of
from autoresearch_mlx.loop.worker import MachineLost, MachineUnfit, NotTaken, Worker


@dataclass(frozen=True, slots=True)
class Waiting:
    """An experiment that waits for another machine to continue it."""

    attempt: Attempt
    avoid: Sequence[str] = ()
    """Names of the machines that were lost while they measured the experiment."""
    to: Sequence[str] = ()
    """Names of the machines that should make the next run, or that may be making it already.

    If there are no names, any machine may make the run.
    """
    compared: frozenset[str] = frozenset()
    """Names of the machines that had run both the candidate and the incumbent when the judge last decided."""
    resumed: bool = False
    """Whether the experiment was begun by a process that has died; a machine may still be busy with its run."""


def wait_for(attempt: Attempt, to: Sequence[str] = (), avoid: Sequence[str] = ()) -> Waiting:
    """Return ``attempt`` as an experiment that waits, after the judge has just asked for another run."""
    return Waiting(attempt, avoid, to, _compared(attempt.session, attempt))


def _compared(session: Session, attempt: Attempt) -> frozenset[str]:
    journal = session.journal()
    best = journal.history.incumbent
    if best is None or best.commit != attempt.incumbent:
        return frozenset()
    begun = {name_of(m) for m in attempt.measurements if m.value is not None and not m.tainted}
    return frozenset(name for name in begun if name is not None and knows(journal.seen_by(name), best))


def has_news(session: Session, waiting: Waiting) -> bool:
    """Return whether other machines have made runs since the judge's last decision, so that the judge can decide
    again."""
    attempt = waiting.attempt
    return bool(attempt.spares.runs) or not _compared(session, attempt) <= waiting.compared


def soon_settled(waiting: Waiting, here: Iterable[Worker]) -> bool:
    """Return whether the incumbent is running on a machine that has run the candidate.

    This run may decide on the experiment, and a run on another machine would take longer.
    """
    begun = {name_of(m) for m in waiting.attempt.measurements} - waiting.compared
    return bool(waiting.compared) and any(each.name in begun and each.refreshing.locked() for each in here)


def note_proposal(attempt: Attempt) -> None:
    """Log the facts about a proposal that are not in its commit, so that its experiment can go on after a crash."""
    p = attempt.proposal
    told = {"agent": p.agent, "axis": p.axis, "rationale": p.rationale, "talk": dict(p.talk)}
    start = {} if p.base is None else {"base": p.base}
    attempt.session.append("proposed", number=attempt.number, **told, **start)


def may_continue(session: Session, attempt: Attempt, decision: Again) -> Sequence[str]:
    """Return the names of the machines that may make the run for which the judge has asked.

    Any machine that has run the incumbent, and has not run the candidate yet, can confirm a gain.  The judge may ask
    for a run of the incumbent on the machine that has run the candidate.  Then the machines that can confirm the gain
    may continue the experiment too, because this may be quicker.
    """
    best, begun = attempt.history.incumbent, {name_of(m) for m in attempt.measurements}
    if best is None or session.roster is None or decision.trial:
        return (decision.machine,)
    journal = session.journal()
    seen = [(each, journal.seen_by(each.name)) for each in session.roster()]
    confirm = tuple(each.name for each, history in seen if each.name not in begun and knows(history, best))
    if decision.whom == "candidate":
        return confirm if decision.machine in confirm else (decision.machine,)
    learning = [each for each, history in seen if each.name == decision.machine and _new(history, best)]
    if not learning:
        return (decision.machine,)
    return (decision.machine, *confirm)


def lacks_incumbent(session: Session, worker: Worker, attempts: Iterable[Attempt]) -> Experiment | None:
    """Return the incumbent if a machine should run the incumbent now, else None.

    The machine should do so if it has run an undecided experiment, but has not run the incumbent.  ``attempts`` are
    the experiments that have begun and that this machine is not measuring now.
    """
    if not worker.machine:
        return None
    history = session.history(worker)
    best = history.incumbent
    if best is None or not _new(history, best) or reference(history) is None:
        return None
    for each in attempts:
        here = any(name_of(m) == worker.name and m.value is not None for m in list(each.measurements))
        if here and each.incumbent == best.commit:
            return best
    return None


def learn_incumbent(session: Session, worker: Worker, watch: Watch) -> None:
    """Let a machine run the incumbent, unless this machine has run it in the meantime."""
    with turn_at_incumbent(worker, watch):
        history = session.history(worker)
        if history.incumbent is not None and _new(history, history.incumbent):
            repeat(session, worker, history.incumbent, watch, seed=session.seed)


def _first_runs(session: Session) -> int:
    """Return how often a machine that joined after the baseline runs the first version that it measures."""
    repeats = sigma_of(session.journal().history).dof
    return runs_to_learn(session.judge.baseline_runs, repeats)


def _new(history: History, best: Experiment) -> bool:
    """Return whether the machine of ``history`` has no run of the incumbent, not even a failed run."""
    return not taken_now(history, best)


class _NotNeeded(Exception):
    """Raised to end a spare run that does not count any more."""


def spare_for(session: Session, worker: Worker, attempts: Iterable[Attempt]) -> Attempt | None:
    """Return the undecided experiment of which an idle machine should make a spare run, or None for no spare run.

    The machine must have run the incumbent.  Experiments that have runs come before experiments without a run, because
    the first run of an undecided experiment did not lose.  Among experiments with runs, an experiment that fewer
    machines have run comes first.  An experiment without a run gets only one spare run, because its program may not
    even start.
    """
    history = session.history(worker)
    best, most = history.incumbent, session.judge.rules.across.limit
    if session.judge.mode == "margin" or best is None or not knows(history, best):  # a margin needs only one run
        return None
    may = [each for each in attempts if each.sha is not None and each.incumbent == best.commit]
    may = [each for each in may if "removes" not in each.proposal.talk]  # one machine decides on a trial removal
    begun = [{*map(name_of, list(each.measurements)), *each.spares.machines, each.worker.name} for each in may]
    open_for = [
        (not each.measurements, len(names), at)
        for at, (each, names) in enumerate(zip(may, begun, strict=True))
        if not each.spares.closed
        and worker.name not in {*names, *each.lost}
        and len(names) < (most if each.measurements else 2)
    ]
    return may[min(open_for)[2]] if open_for else None


def take_spare_run(attempt: Attempt, worker: Worker, watch: Watch) -> None:
    """Make a spare run of an experiment that another machine measures; end the run when it can no longer count."""
    session, spares, version = attempt.session, attempt.spares, attempt.spares.version

    def while_needed(progress: Progress) -> None:
        if spares.version != version:
            raise _NotNeeded
        watch(progress)

    assert attempt.sha is not None
    first = session.judge.decide(session.history(worker), Case(attempt.number, []))
    order = Order(first.seed if isinstance(first, Again) else None)
    attempt.taken += 1
    try:
        measured = measure(session, worker, attempt.sha, attempt.number, attempt.taken, while_needed, order)
    except MachineLost as lost:
        attempt.lost = attempt.lost if isinstance(lost, NotTaken) else (*attempt.lost, worker.name)
    except (_NotNeeded, Skipped, KeyboardInterrupt):
        pass  # nothing depends on this run
    else:
        if fault_of(measured) is None:
            spares.add(session, attempt.number, measured, version)
        else:
            worker.health.bench()


def know_incumbent(session: Session, attempt: Attempt, decision: Again, watch: Watch) -> bool:
    """Run the incumbent on the attempt's machine if the next decision needs this run; return whether a run was made.

    A machine that has run an older version measures the candidate first, because most candidates lose even to the older
    version.  A machine that has measured no version yet runs the incumbent several times, to learn its own noise.
    Raises MachineUnfit if the incumbent has no value on this machine; then this machine gets no run for a while.
    """
    worker = attempt.worker
    if not worker.machine:
        return False
    history = session.history(worker)
    best = history.incumbent
    if best is None or attempt.number == 0 or knows(history, best):
        return False
    if decision.whom == "candidate" and reference(history) is not None:
        return False
    with turn_at_incumbent(worker, watch):
        history = session.history(worker)
        if not knows(history, best):
            own = history.own or frozenset()
            runs = [m for e in history.experiments for m in e.measurements] + [r.measurement for r in history.repeats]
            new = not any(m.regime in own for m in runs)
            for at in range(_first_runs(session) if new else 1):
                repeat(session, worker, best, watch, seed=session.seed + at)
    now = session.history(worker)
    if not knows(now, best):
        taken = taken_now(now, best)
        said = taken[-1].reason or str(taken[-1].extra.get("tainted", "")) if taken else "no run counts"
        worker.health.bench()
        raise MachineUnfit(f"experiment {best.number}, the incumbent, has no value on {worker.name}: {said}")
    attempt.history = now if session.incumbent(now) == attempt.incumbent else attempt.history
    return True


def refuse_fault(attempt: Attempt) -> None:
    """Raise MachineLost if the attempt's machine could not complete a run, for example because its disk is full.

    Another machine then makes the run.  If the other machine fails too, the judge decides, because the edited file may
    be the cause.
    """
    last = attempt.measurements[-1] if attempt.measurements else None
    if not attempt.worker.machine or attempt.number == 0 or last is None or attempt.lost:
        return
    if (fault := fault_of(last)) is not None and name_of(last) == attempt.worker.name:
        attempt.measurements.pop()
        attempt.worker.health.bench()
        raise MachineLost(f"{attempt.worker.name}: {fault}")


def due_on_machine(history: History, every: int) -> bool:
    """Return whether a machine has measured ``every`` experiments since it last measured an incumbent."""
    own = history.own or frozenset()
    if reference(history) is None:
        return False
    ran = [e for e in history.experiments if any(m.regime in own for m in e.measurements)]
    there = [r.during for r in history.repeats if r.measurement.regime in own]
    since = max([0, *there, *(e.number for e in ran if e.status == "keep")])
    return sum(e.number > since for e in ran) >= every


def look_for_drift_on(session: Session, worker: Worker, watch: Watch, screen: Screen) -> None:
    """Measure the incumbent again on a machine; after a shift beyond 3 sigma, begin a new regime for this machine."""
    best = session.history(worker).incumbent
    with turn_at_incumbent(worker, watch):
        reason = None if best is None else drift_of(session, worker, best, watch)
    if reason is not None:
        screen.say(f"{worker.name} has changed: {reason}; its earlier runs no longer count")
