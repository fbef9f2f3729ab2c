"""Conduct one experiment, from its line ``started`` in the ledger to its line ``finished``, and time each step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from autoresearch_mlx.experiment import (
    Agent,
    Context,
    Experiment,
    History,
    Measurement,
    Proposal,
    Running,
    Stopper,
    Tenant,
    Verdict,
    Watch,
)
from autoresearch_mlx.judge import Again, Decision, verdict_on_failure
from autoresearch_mlx.judge.across import name_of
from autoresearch_mlx.judge.faults import fault_of
from autoresearch_mlx.judge.history import as_of, standing, taken_now
from autoresearch_mlx.judge.judge import Case
from autoresearch_mlx.judge.reference import by_the_fastest
from autoresearch_mlx.judge.shrinkage import recorded
from autoresearch_mlx.lab.literals import added_bytes
from autoresearch_mlx.lab.source import (
    axis_of,
    changed_knobs,
    fingerprint,
    lines_removed,
    same_work,
)
from autoresearch_mlx.loop import measure as measuring
from autoresearch_mlx.loop import views
from autoresearch_mlx.loop.refusal import Candidate, ask, clash, refuse, worth_a_smoke, writable
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.loop.spare_runs import Spares
from autoresearch_mlx.loop.worker import Worker
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.ledger import Open
from autoresearch_mlx.store.workspace import ref_of
from autoresearch_mlx.targets.contract import Auditable
from autoresearch_mlx.trial.autopsy import tail_of

CARRIED = " (carried onto #"
"""Text that is added to a title when its change is carried over to a newer keep; the keep's number follows."""


@dataclass(slots=True)
class Attempt:
    """An experiment in progress; :meth:`conclude` turns it into the ledger's Experiment."""

    session: Session
    worker: Worker
    """The worker that measures the experiment."""
    history: History
    number: int
    started: str
    base: str
    incumbent: str
    """The commit that a keep of this experiment would replace.  ``base`` is the same commit, unless the proposal starts
    from another commit."""
    files: Mapping[str, str]
    """The editable files of the base."""
    proposal: Proposal = field(default_factory=lambda: Proposal("", {}))
    sha: str | None = None
    committed: tuple[str, Proposal] | None = None
    """The base and the proposal from which the commit ``sha`` was made."""
    measurements: list[Measurement] = field(default_factory=list)
    refreshes: int = 0
    """Number of runs of the incumbent that were made for the decision on this candidate."""
    refreshed: dict[str, int] = field(default_factory=dict)
    """Name of a worker -> the number of runs of the incumbent that it made for this decision."""
    tried: bool = False
    """Whether the incumbent was measured to find out whether the machine works."""
    audited: bool = False
    taken: int = 0
    """Number of runs so far, including runs on an earlier base; the name of a run's folder has this number."""
    carried: bool = False
    """Whether the change was carried over to a newer incumbent after it was proposed."""
    against: str | None = None
    """The commit with which this attempt was compared, if that commit is no longer the incumbent; else None."""
    lost: tuple[str, ...] = ()
    """Names of the machines of a fleet that were lost while they measured this experiment."""
    spares: Spares = field(default_factory=Spares)
    accepted: bool = False
    """Whether a person has accepted the gain despite its size."""
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def start(cls, session: Session, worker: Worker) -> Attempt:
        """Begin the next experiment for a worker, on the current incumbent.  Raises LabError when the disk is full."""
        worker.refuse_full_disk(session.folder)
        with session.deciding:
            journal = session.journal()
            base = session.incumbent(journal.history)
            files = session.workspace.read(base)
            seen = journal.seen_by(worker.machine)
            attempt = cls(session, worker, seen, journal.free_number, now(), base, base, files)
            claim = {"worker": worker.name} if worker.name else {}
            session.append("started", number=attempt.number, base=attempt.base, time=attempt.started, **claim)
        return attempt

    @classmethod
    def left_open(cls, session: Session, left: Open) -> Attempt:
        """Return the experiment that a dead process had begun, with its commit if the process had made a commit."""
        whole = session.journal().history
        base, sha = session.workspace.made_on(left.number, session.commits(whole)) or (left.base, None)
        incumbent = left.base if "base" in left.proposal else base  # the dead process had set the base in _depart
        files, history = session.workspace.read(base), as_of(whole, incumbent)
        attempt = cls(session, session.worker, history, left.number, left.time, base, incumbent, files, sha=sha)
        if sha is not None:
            attempt.proposal = Proposal(session.workspace.title(sha), session.workspace.read(sha), **left.proposal)
        return attempt

    @property
    def title(self) -> str:
        return self.proposal.title

    @property
    def incumbent_value(self) -> float | None:
        return None if self.history.incumbent is None else standing(self.history, self.history.incumbent)

    def propose(self, agent: Agent, watch: Watch, running: Sequence[Running] = ()) -> Decision:
        """Ask the agent for a proposal; if the edit cannot be measured, tell the agent why and ask again.

        ``running`` has the experiments that other lanes are measuring at this time.  Returns a request for the first
        run, or the verdict on the last proposal if no proposal can be measured.  Raises AgentError.
        """
        feedback: tuple[str, ...] = ()
        offered, refused = self.files, None
        for _ in range(self.session.repairs + 1):
            before = self.proposal
            with self.timed("propose"):
                context = self.session.context(self.history, self.number, offered, feedback, running)
                self.proposal = writable(ask(agent, context))
            if feedback and self.proposal == before:
                break  # the agent has repeated its answer, so it has no other answer
            if (base := self.proposal.base) is not None and base not in self.session.commits(self.history):
                words = f"the proposal starts from {base!r}, which is not a commit of this session"
                self.proposal = replace(self.proposal, base=None, files={}, problem=words)
            self._depart()
            self.measurements.clear()  # a refused proposal's smoke run left a measurement
            refused = refuse(self._candidate(running)) or self._smoke(agent, context, watch)
            if refused is None:
                self._make_room(agent, context)
                return Again("not measured yet")
            feedback = (*feedback, self._refusal_for_author(refused))
        assert refused is not None
        return refused

    def _depart(self) -> None:
        """Change the base to the commit from which the proposal starts."""
        base = self.proposal.base or self.incumbent
        if base != self.base:
            self.base, self.files = base, self.session.workspace.read(base)

    def _smoke(self, agent: Agent, context: Context, watch: Watch) -> Verdict | None:
        """Make a smoke run, which is a short run, of an edit that may not work at all; return the failure.

        Returns None if the smoke run succeeds, or if the edit needs no smoke run.
        """
        if not worth_a_smoke(self._candidate(())):
            return None
        self.commit()
        self._make_room(agent, context)
        with self.timed("smoke"):
            assert self.sha is not None
            ran = measuring.smoke(self.session, self.worker, self.sha, self.number, watch)
        failed = verdict_on_failure(ran) if ran is not None else None
        if ran is None or failed is None or fault_of(ran) is not None:
            return None  # a run that the machine has ended proves nothing; the full run will show if the edit works
        self.measurements.append(ran)
        return Verdict(failed.status, f"smoke run: {failed.reason}")

    def _refusal_for_author(self, refused: Verdict) -> str:
        """Return the refusal as a text for the edit's author; after a smoke run, the end of the run's log is added."""
        log = next((m.log for m in self.measurements if m.log), None)
        tail = tail_of(self.session.folder / log) if log else ""
        return f"{refused.reason}\n\nThe end of its log:\n{tail}" if tail else refused.reason

    def _make_room(self, agent: Agent, context: Context) -> None:
        """Let the agent free the memory that a run needs."""
        if isinstance(agent, Tenant):
            for name, seconds in agent.make_room(context).items():
                self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def commit(self) -> None:
        """Commit the attempt's files under a ref of their own; refused attempts are committed too."""
        if self.sha is not None and self.committed == (self.base, self.proposal):
            return
        allowed = {p: text for p, text in self.proposal.files.items() if self.session.workspace.may_edit(p)}
        if clash({*allowed, *self.files}):
            allowed = {}  # git cannot store these files in one commit; the verdict's reason names them
        message = f"{self.title}\n\n{self.proposal.rationale}".strip() + "\n"
        with self.timed("commit"):
            earlier = self.sha or self._made_before()
            self.sha = self.session.workspace.commit(self.number, self.base, allowed, message, earlier)
        self.committed = (self.base, self.proposal)

    def _made_before(self) -> str | None:
        """Return the commit of an earlier experiment with the same number, or None.

        A failed baseline is measured again under the same number.
        """
        return next((e.commit for e in self.history.experiments if e.number == self.number), None)

    def measure(self, again: Again, watch: Watch) -> Decision:
        """Make one more run, of the candidate or of the incumbent, and return the judge's decision."""
        with self.timed("measure"):
            if again.whom == "incumbent" and self.history.incumbent is not None:
                with self.timed("incumbent"):
                    self._refresh(again, watch)
                self.tried = self.tried or again.trial
            else:
                measured = self._run(again, watch)
                self.measurements.append(measured)
                self.audited = self.audited or (again.audit and not measured.tainted)
        return self.decide()

    def decide(self) -> Decision:
        """Return the judge's decision on this attempt, by the newest history.

        If another lane has replaced the incumbent since this attempt began, the older history is used instead.
        """
        self.measurements.extend(self.spares.counted(self.session))
        newest = self.session.history(self.worker)
        if self.session.incumbent(newest) == self.incumbent:
            self.history = newest
        if self.history.baseline is None:
            self.measurements = by_the_fastest(self.measurements)
        return views.decide(self.session, self.worker, self.history, self.case())

    def _refresh(self, again: Again, watch: Watch) -> None:
        """Run the incumbent once more, unless another lane has just done so.

        Only one lane of a machine at a time runs the incumbent, because the other lanes can use the same run.
        """
        with measuring.turn_at_incumbent(self.worker, watch):
            newest, best = self.session.history(self.worker), self.history.incumbent
            same = self.session.incumbent(newest) == self.incumbent
            if best is not None and same and taken_now(newest, best) == taken_now(self.history, best):
                measuring.repeat(self.session, self.worker, best, watch, again.seed, again.steps)
                self.refreshes += 1
                self.refreshed[self.worker.name] = self.refreshed.get(self.worker.name, 0) + 1

    def _run(self, again: Again, watch: Watch) -> Measurement:
        """Make one run.  The run may be stopped early only if no undisturbed run was made before."""
        assert self.sha is not None
        own = [m for m in self.measurements if name_of(m) == (self.worker.machine or None)]
        whole = [m.seed for m in own if not m.tainted]  # a disturbed run is repeated with the same seed
        stop = None if whole or self.number == 0 else self._stop()
        seed = views.usual_seed(self.session, self.worker, whole, self.case()) if again.seed is None else again.seed
        order = measuring.Order(seed, again.steps, stop, earlier=tuple(own), audits=again.gain if again.audit else None)
        self.taken += 1
        return measuring.measure(self.session, self.worker, self.sha, self.number, self.taken, watch, order)

    def start_over(
        self, history: History, onto: str, theirs: Mapping[str, str], files: Mapping[str, str], measured: bool = False
    ) -> None:
        """Start again from the incumbent ``onto``, whose files are ``theirs``; ``files`` has the changed texts.

        ``measured`` says that the resulting files were measured already, so that the runs so far still count.
        """
        self.base = self.incumbent = onto
        self.files, self.history = theirs, history
        title = self.title.partition(CARRIED)[0]
        if history.incumbent is not None:
            title += f"{CARRIED}{history.incumbent.number})"
        self.proposal = replace(self.proposal, title=title, files=files)
        if not measured:
            self.spares.end(self.session, self.number, closed=False)
            self.measurements, self.audited = [], False
        self.refreshes, self.refreshed, self.tried, self.carried = 0, {}, False, True
        self.commit()

    def move(self, worker: Worker) -> None:
        """Continue the experiment on another machine, with its worker."""
        newest = self.session.history(worker)
        same = self.session.incumbent(newest) == self.incumbent
        self.history = newest if same else replace(self.history, regime=newest.regime, own=newest.own)
        self.worker = worker

    def running(self) -> Running:
        """Return what agents are told about this experiment while it runs."""
        whole = {**self.files, **self.proposal.files}
        return Running(self.number, self.title, self._axis(), self._changes(), whole)

    def _stop(self) -> Stopper | None:
        return measuring.stopper(self.session, self.history, self.number, self._axis())

    def case(self) -> Case:
        return Case(
            self.number,
            self.measurements,
            axis=self._axis(),
            lines_removed=lines_removed(self.files, {**self.files, **self.proposal.files}),
            refreshes=self.refreshes,
            refreshed=self.refreshed,
            tried=self.tried,
            audited=self.audited,
            auditable=isinstance(self.worker.target, Auditable) and not self.worker.machine,
            accepted=self.accepted,
            added_bytes=sum(added_bytes(self.files.get(path, ""), text) for path, text in self.proposal.files.items()),
            same_cost=self.base == self.incumbent and same_work(self.files, self.proposal.files),
            removes=self.proposal.talk.get("removes"),
        )

    def _axis(self) -> str | None:
        knobs = self._changes()
        return self.proposal.axis or (axis_of(next(iter(knobs))) if knobs else None)

    def abandon(self, reason: str) -> None:
        if self.sha is not None:
            self.session.workspace.forget(self.number, self.sha)
        self.session.append("abandoned", number=self.number, reason=reason)

    def conclude(self, verdict: Verdict) -> Experiment:
        """Keep or revert the change, and write the experiment to the ledger.

        A keep is written before the branch moves.  If the process dies in between, the next start moves the branch.
        """
        kept = verdict.status == "keep"
        with self.session.deciding:
            self.spares.end(self.session, self.number, closed=True)
            if not kept:
                with self.timed("settle"):
                    self.worker.settle_tree()
            done = self.as_logged(verdict)
            self.session.ledger.finish(done)
            if kept and self.sha is not None:
                self.session.workspace.keep(self.sha, self.incumbent, self.session.commits(self.history))
                self.worker.settle_tree()
            if not kept:
                measuring.drop_weights(self.session, self.number)
            elif self.history.incumbent is not None:
                measuring.drop_weights(self.session, self.history.incumbent.number)
        return done

    def _candidate(self, running: Sequence[Running]) -> Candidate:
        origin = "the incumbent" if self.base == self.incumbent else "the version from which it starts"
        return Candidate(self.session, self.history, self.number, self.files, self.proposal, origin, running)

    def _fingerprint(self) -> str:
        """Return the fingerprint of all editable files after the proposal is applied to the base."""
        return fingerprint({**self.files, **self.proposal.files})

    def _changes(self) -> Mapping[str, tuple[object, object]]:
        changes = (changed_knobs(self.files.get(path, ""), text) for path, text in self.proposal.files.items())
        return {name: change for each in changes for name, change in each.items()}

    def as_logged(self, verdict: Verdict) -> Experiment:
        value, before = views.value_and_before(self.history, self.measurements)
        measured = value is not None and verdict.status in ("keep", "discard", "conflict", "limit")
        gain = self.history.gain(value, over=before) if measured and value is not None and before is not None else None
        effect = views.effect(self.session, self.worker, self.history, self.case()) if measured else None
        knobs = self._changes()
        return Experiment(
            number=self.number,
            status=verdict.status,
            value=value if measured else None,
            gain=gain if effect is None else effect.gain,
            commit=self.sha,
            base=self.base,
            ref=ref_of(self.session.tag, self.number) if self.sha else None,
            title=self.title or "(unfinished)",
            axis=self._axis(),
            knobs=knobs,
            agent=self.proposal.agent,
            reason="; ".join(filter(None, (verdict.reason, self._disturbance(), self.session.rules_changed))),
            started=self.started,
            finished=now(),
            measurements=tuple(self.measurements),
            rationale=self.proposal.rationale,
            fingerprint=self._fingerprint() if self.proposal.files else None,
            seconds={name: round(spent, 3) for name, spent in self.seconds.items()},
            talk=self.proposal.talk,
            effect=recorded(effect) if effect else {},
            against=(views.older_version(self.history, self.measurements) if measured else None) or self.against,
            held=verdict.held,
        )

    def _disturbance(self) -> str:
        """If all runs were disturbed, return what disturbed the last run, else an empty string."""
        none_counts = bool(self.measurements) and all(m.tainted for m in self.measurements)
        return str(self.measurements[-1].extra.get("tainted") or "") if none_counts else ""

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.monotonic() - began
