"""One experiment between ``started`` and ``finished``: what the loop's steps do, and the time they take."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from autoresearch_mlx.axes import axis_of
from autoresearch_mlx.errors import AgentError, AutoresearchError
from autoresearch_mlx.experiment import Agent, Context, Experiment, History, Measurement, Proposal, Verdict, Watch
from autoresearch_mlx.judge import Again, Decision, incumbent_value, mean_value
from autoresearch_mlx.ledger import Open, now
from autoresearch_mlx.session import Session
from autoresearch_mlx.source import changed_knobs, fingerprint
from autoresearch_mlx.workspace import ref_of


@dataclass(slots=True)
class Attempt:
    """Grows step by step; :meth:`conclude` turns it into the ledger's Experiment."""

    session: Session
    history: History
    number: int
    started: str
    base: str
    files: Mapping[str, str]
    """The editable files of the base."""
    proposal: Proposal = field(default_factory=lambda: Proposal("", {}))
    sha: str | None = None
    measurements: list[Measurement] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def start(cls, session: Session) -> Attempt:
        journal = session.journal()
        base = session.incumbent(journal.history)
        files = session.workspace.read(base)
        attempt = cls(session, journal.history, journal.next_number, now(), base, files)
        session.ledger.append("started", number=attempt.number, base=attempt.base, time=attempt.started)
        return attempt

    @classmethod
    def left_open(cls, session: Session, left: Open) -> Attempt:
        """What a dead process had begun; its commit, if it got that far, is still under its ref."""
        files = session.workspace.read(left.base)
        attempt = cls(session, session.journal().history, left.number, left.time, left.base, files)
        attempt.sha = session.workspace.made_on(left.number, left.base)
        if attempt.sha is not None:
            title = session.workspace.title(attempt.sha)
            attempt.proposal = Proposal(title, session.workspace.read(attempt.sha))
        return attempt

    @property
    def title(self) -> str:
        return self.proposal.title

    @property
    def incumbent_value(self) -> float | None:
        return None if self.history.incumbent is None else incumbent_value(self.history.incumbent)

    def propose(self, agent: Agent) -> Decision:
        """Ask the agent, and again with the reason when what it wrote cannot be measured.  Raises AgentError."""
        feedback: tuple[str, ...] = ()
        with self._timed("propose"):
            for _ in range(self.session.repairs + 1):
                context = self.session.context(self.history, self.number, self.files, feedback)
                self.proposal = _writable(_ask(agent, context))
                refused = self._refuse()
                if refused is None:
                    return Again("not measured yet")
                feedback = (*feedback, refused.reason)
        assert refused is not None
        return refused

    def commit(self) -> None:
        """Every attempt becomes a commit under its own ref, a refused one too."""
        allowed = {p: text for p, text in self.proposal.files.items() if self.session.workspace.may_edit(p)}
        if _clash({*allowed, *self.files}):
            allowed = {}  # no tree can hold them; the reason names them
        message = f"{self.title}\n\n{self.proposal.rationale}".strip() + "\n"
        with self._timed("commit"):
            self.sha = self.session.workspace.commit(self.number, self.base, allowed, message)

    def measure(self, watch: Watch) -> Decision:
        """One more run of this commit, and what the judge then says."""
        assert self.sha is not None
        with self._timed("measure"):
            run = len(self.measurements) + 1
            self.measurements.append(self.session.measure(self.sha, self.number, run, watch))
        return self.session.judge.decide(self.history, self.measurements)

    def abandon(self, reason: str) -> None:
        self.session.ledger.append("abandoned", number=self.number, reason=reason)

    def conclude(self, verdict: Verdict) -> Experiment:
        """Revert or keep, and log.  A keep is logged first: if we die before the branch moves, the ledger mends it."""
        kept = verdict.status == "keep"
        if not kept:
            with self._timed("settle"):
                self.session.workspace.ensure_worktree()
        done = self._experiment(verdict)
        self.session.ledger.finish(done)
        if kept and self.sha is not None:
            self.session.workspace.keep(self.sha, self.base)
            self.session.workspace.ensure_worktree()
        outdated = self.history.incumbent.number if kept and self.history.incumbent else self.number
        if not (kept and outdated == self.number):
            self.session.drop_weights(outdated)
        return done

    def _refuse(self) -> Verdict | None:
        """Why the proposal is not worth a run: forbidden or unparsable files, nothing new."""
        files = self.proposal.files
        if not files:
            return Verdict("invalid", "the proposal changes no file")
        forbidden = [path for path in files if not self.session.workspace.may_edit(path)]
        if forbidden:
            allowed = ", ".join(self.session.workspace.editable)
            return Verdict("invalid", f"{', '.join(forbidden)} may not be edited; only {allowed} may")
        if (clash := _clash({*files, *self.files})) is not None:
            return Verdict("invalid", clash)
        if (problem := self.session.target.refuse(files)) is not None:
            return Verdict("invalid", problem)
        if self.number > 0 and (before := self._seen_before()) is not None:
            return Verdict("duplicate", before)
        return None

    def _seen_before(self) -> str | None:
        mark = self._fingerprint()
        if mark == fingerprint(self.files):
            return "the same as the incumbent, but for comments and layout"
        for e in self.history.experiments:
            if e.fingerprint == mark and e.measurements and e.status != "interrupted":
                value = f", {self.history.metric} {e.value:.6f}" if e.value is not None else ""
                return f"the same as experiment {e.number} ({e.status}{value})"
        return None

    def _fingerprint(self) -> str:
        """Of all editable files as they would be: the proposal's over the base's."""
        return fingerprint({**self.files, **self.proposal.files})

    def _changes(self) -> Mapping[str, tuple[object, object]]:
        changes = (changed_knobs(self.files.get(path, ""), text) for path, text in self.proposal.files.items())
        return {name: change for each in changes for name, change in each.items()}

    def _experiment(self, verdict: Verdict) -> Experiment:
        value, before = mean_value(self.measurements), self.incumbent_value
        measured = value is not None and verdict.status in ("keep", "discard")
        gain = self.history.gain(value, over=before) if measured and value is not None and before is not None else None
        knobs = self._changes()
        return Experiment(
            number=self.number,
            status=verdict.status,
            value=value if measured else None,
            gain=gain,
            commit=self.sha,
            base=self.base,
            ref=ref_of(self.session.tag, self.number) if self.sha else None,
            title=self.title or "(unfinished)",
            axis=self.proposal.axis or (axis_of(next(iter(knobs))) if knobs else None),
            knobs=knobs,
            agent=self.proposal.agent,
            reason=verdict.reason,
            started=self.started,
            finished=now(),
            measurements=tuple(self.measurements),
            rationale=self.proposal.rationale,
            fingerprint=self._fingerprint() if self.proposal.files else None,
            seconds={name: round(spent, 3) for name, spent in self.seconds.items()},
        )

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.monotonic() - began


def _ask(agent: Agent, context: Context) -> Proposal:
    """The agent's answer.  Raises AgentError for whatever else its code raises: it may be anybody's."""
    try:
        return agent.propose(context)
    except AutoresearchError:
        raise
    except Exception as error:
        said = f"the agent {agent.name} failed: {type(error).__name__}: {error}"
        raise AgentError(said, "what it was given: autoresearch_mlx.experiment.Context") from error


def _clash(paths: Collection[str]) -> str | None:
    """Why these files cannot lie in one tree: one of them would have to be a folder."""
    for path in paths:
        parents = [parent.as_posix() for parent in PurePosixPath(path).parents]
        if (folder := next((p for p in parents if p in paths), None)) is not None:
            return f"{path} cannot be: {folder} is a file"
    return None


def _writable(proposal: Proposal) -> Proposal:
    """The proposal in characters that files can hold: JSON lets a model write half a surrogate pair."""
    return replace(
        proposal,
        title=_whole(proposal.title),
        files={_whole(path): _whole(text) for path, text in proposal.files.items()},
        axis=_whole(proposal.axis) if proposal.axis else None,
        rationale=_whole(proposal.rationale),
    )


def _whole(text: str) -> str:
    return text.encode(errors="surrogatepass").decode(errors="replace")
