"""The nouns of the house as frozen values, and the few protocols between its rooms.

A *proposal* becomes an *experiment*: one commit, its *measurements* and a *verdict*.  Unknown is
``None``; no number stands here that was not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

Direction: TypeAlias = Literal["min", "max"]
Failure: TypeAlias = Literal["crash", "timeout", "invalid", "interrupted", "stopped"]
"""``stopped``: a clear loser that was not left to finish; its experiment is discarded."""
Status: TypeAlias = Literal["keep", "discard", "crash", "timeout", "invalid", "duplicate", "interrupted"]
Phase: TypeAlias = Literal["smoke", "start", "compile", "train", "evaluate", "guard", "paused", "waiting"]
"""Of a measurement; ``paused``: between two experiments, for as long as the person wants; ``waiting``: there too,
for what the machine needs first."""
KnobChanges: TypeAlias = Mapping[str, tuple[Any, Any]]
"""``{name: (from, to)}``; ``None`` where a knob did not exist before or exists no more."""

Split: TypeAlias = Literal["val", "hidden"]
"""Which cases score a run: those that the search selects by, or those that only a certification sees."""

SKIPPED = "skipped by hand"
FAILED: frozenset[str] = frozenset({"crash", "timeout", "invalid", "interrupted", "duplicate"})


@dataclass(frozen=True, slots=True)
class Proposal:
    """An edit with a title, a rationale and an axis; ``files`` maps paths to their whole new text."""

    title: str
    files: Mapping[str, str]
    axis: str | None = None
    rationale: str = ""
    agent: str = ""
    problem: str = ""
    """Why the author's answer is no edit, in words for the author; then ``files`` is empty."""
    base: str | None = None
    """The commit that this edit departs from; None: the incumbent."""
    talk: Mapping[str, Any] = field(default_factory=dict)
    """What asking for it took, as plain JSON values: model, calls, tokens, seconds, what was cut."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """Wall-clock seconds of one run by phase, taken by the parent process; ``None``: not reached."""

    start: float | None = None
    compile: float | None = None
    train: float | None = None
    evaluate: float | None = None

    def total(self) -> float:
        return sum(s for s in (self.start, self.compile, self.train, self.evaluate) if s is not None)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of one commit.  Either ``value`` is a finite number or ``failure`` says what happened."""

    value: float | None
    seed: int
    failure: Failure | None = None
    reason: str = ""
    seconds: Seconds = Seconds()
    steps: int | None = None
    tokens: int | None = None
    tokens_per_second: float | None = None
    peak_memory_mb: float | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
    log: str | None = None
    """Path of the kept log, relative to the session's folder."""
    curve: tuple[tuple[float, float], ...] = ()
    """Training loss along the run, at most some twenty points: (share of the budget used, loss)."""
    stand: int = 0
    """Number of the stand that it was taken in (:mod:`stands`): runs of different stands do not compare."""
    tainted: bool = False
    """Disturbed; it counts for nothing."""
    key: str | None = None
    """Mark of what the value depends on besides the file (:mod:`comparability`); None: nobody wrote it down."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further figures of the target: train_loss, num_params, depth, secondary metrics."""


@dataclass(frozen=True, slots=True)
class Verdict:
    status: Status
    reason: str


def verdict_on_failure(measured: Measurement) -> Verdict | None:
    """What a run without a value makes of its experiment; None for a run that has one."""
    if measured.failure is None:
        return None
    return Verdict("discard" if measured.failure == "stopped" else measured.failure, measured.reason)


@dataclass(frozen=True, slots=True)
class Experiment:
    """One finished experiment as the ledger tells it; number 0 is the baseline."""

    number: int
    status: Status
    value: float | None
    gain: float | None
    """Improvement over the incumbent of its time, in the metric's unit; positive is better.  Shrunk towards
    zero by what the noise explains, where the noise is known; ``effect`` has the difference as measured."""
    commit: str | None
    base: str | None
    ref: str | None
    title: str
    axis: str | None
    knobs: KnobChanges
    agent: str
    reason: str
    started: str
    finished: str
    measurements: tuple[Measurement, ...] = ()
    rationale: str = ""
    fingerprint: str | None = None
    """Hash of what its editable files do; the same hash is the same experiment."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock seconds of the loop's own steps: propose, commit, measure, settle (keep or revert), and what the
    agent needed to leave the memory."""
    talk: Mapping[str, Any] = field(default_factory=dict)
    """What asking the agent took: model, calls, tokens, seconds, what was cut from the prompt."""
    effect: Mapping[str, Any] = field(default_factory=dict)
    """The gain as the judge sees it: gain, low, high (90 %), z, error, raw, runs_candidate, runs_incumbent."""

    @property
    def failed(self) -> bool:
        return self.status in FAILED

    @property
    def cut_off(self) -> bool:
        """Ended by a death or by Ctrl-C: it may be tried again.  What was skipped by hand is not wanted."""
        return self.status == "interrupted" and self.reason != SKIPPED


@dataclass(frozen=True, slots=True)
class Repeat:
    """One more run of a kept experiment's commit, taken for the noise or for a comparison, never to select."""

    number: int
    """The experiment that it is a run of."""
    during: int
    """Experiments that were finished by then, the baseline not counted."""
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class History:
    """All finished experiments of a session, oldest first."""

    experiments: tuple[Experiment, ...]
    metric: str
    direction: Direction
    repeats: tuple[Repeat, ...] = ()
    stand: int = 0
    """Number of the stand that the session measures in now; the first is 0."""

    @property
    def baseline(self) -> Experiment | None:
        return next((e for e in self.experiments if e.number == 0 and e.status == "keep"), None)

    @property
    def incumbent(self) -> Experiment | None:
        """The last kept experiment: the best by the judge's reckoning, never a running minimum."""
        return next((e for e in reversed(self.experiments) if e.status == "keep"), None)

    def gain(self, value: float, over: float) -> float:
        return over - value if self.direction == "min" else value - over


def _no_files(commit: str) -> Mapping[str, str]:
    return {}


def _no_log(experiment: Experiment) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Context:
    """What an agent knows when it proposes."""

    number: int
    program: str
    """Text of ``program.md``; empty when the lab has none."""
    files: Mapping[str, str]
    """The editable files at the incumbent commit."""
    history: History
    hardware: str
    """One line about the machine and the budget, in words."""
    seed: int
    feedback: Sequence[str] = ()
    """Why earlier proposals for this same experiment were refused, newest last."""
    notes: Sequence[str] = ()
    """What the person at the keyboard wants, newest last (`autoresearch-mlx steer`)."""
    sigma: float | None = None
    """Standard deviation of one measurement, in the metric's unit, where repeats tell it."""
    read: Callable[[str], Mapping[str, str]] = _no_files
    """The editable files at a commit of this session, by their path in the lab."""
    log_tail: Callable[[Experiment], str] = _no_log
    """The last lines that the measured program wrote; empty when there are none."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a running measurement says of itself, for the display."""

    phase: Phase
    step: int | None = None
    loss: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    share: float | None = None
    """Of the training budget that is used; None while it does not run, or where there is none."""
    words: str | None = None
    """``waiting``: for what."""


Watch: TypeAlias = Callable[[Progress], None]
"""Called about ten times a second while a measurement runs; what it raises ends the measurement."""
Stopper: TypeAlias = Callable[[Sequence[tuple[float, float]]], Mapping[str, Any] | None]
"""Asked with the loss curve so far; what it says of a run that has lost: ``reason``, ``share`` of the budget, ``gap``
to the incumbent's loss, and whether it is left to finish as an ``audit``.  None: the run goes on."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One measurement to take: which tree, with which seed, where its files go."""

    tree: Path
    """The lab's directory in the worktree, at the commit to measure."""
    folder: Path
    """A fresh directory for this run's log, weights and notes."""
    seed: int
    watch: Watch
    steps: int | None = None
    """Train exactly so many steps; None: the clock ends the run."""
    stop: Stopper | None = None
    split: Split = "val"
    """Which cases score the run; hidden ones only certify."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What one run asks of the machine, as far as its target knows before the run."""

    device: Literal["cpu", "gpu"] | None = None
    """Where MLX trains; None for another program."""
    budget_seconds: float | None = None
    """Training time of a run; None where no clock ends it."""
    most_seconds: float | None = None
    """The most training time of a run, whatever ends it."""
    budget: str = ""
    """What ends a run, in words: ``300 s of training``."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the run's processes get on top of this process's environment."""


class Agent(Protocol):
    """Proposes edits.  ``name`` goes into the ledger; raises AgentError when it cannot go on."""

    @property
    def name(self) -> str: ...

    def propose(self, context: Context) -> Proposal: ...


@runtime_checkable
class Tenant(Protocol):
    """An agent that takes up memory while it thinks."""

    def make_room(self, context: Context) -> Mapping[str, float]:
        """Called before a measurement: leave the memory that it needs, if need be.

        Returns seconds spent, by name; nothing when nothing had to be done.  Raises nothing.
        """
        ...

    def close(self) -> None:
        """Called once, when the run ends in whatever way; ends what the agent started."""
        ...


class Target(Protocol):
    """What is optimised: how one measurement is taken, and which way is better.

    Built for one session by its kind (:class:`autoresearch_mlx.targets.contract.TargetKind`).
    """

    @property
    def name(self) -> str: ...

    @property
    def metric(self) -> str: ...

    @property
    def direction(self) -> Direction: ...

    @property
    def splits(self) -> tuple[Split, ...]:
        """The sets of cases that can score a run; a certification uses ``hidden`` where there is one."""
        ...

    @property
    def workload(self) -> Workload: ...

    def lanes_refused(self) -> str | None:
        """Why only one run at a time gives true values on one machine; None: runs may go side by side."""
        ...

    def refuse(self, files: Mapping[str, str]) -> str | None:
        """Why these files cannot be measured (syntax, missing contract), in words for their author."""
        ...

    def smoke(self, assignment: Assignment) -> Measurement | None:
        """A run of seconds that shows whether these files work at all; None: the target has nothing shorter."""
        ...

    def measure(self, assignment: Assignment) -> Measurement:
        """Take one measurement.  Failures of the edited code are data; raises only KeyboardInterrupt
        and AutoresearchError (the lab itself is broken)."""
        ...


class Screen(Protocol):
    """Shows a person what the loop does.  None of its methods raises: a lost terminal stops no experiment."""

    def say(self, text: str) -> None:
        """One line of talk."""
        ...

    def started(self, number: int, title: str, incumbent: float | None, eta_seconds: float | None) -> None:
        """The proposal is known and its measurement begins."""
        ...

    def progress(self, progress: Progress) -> None:
        """Called up to ten times a second while a measurement runs."""
        ...

    def finished(self, experiment: Experiment) -> None: ...

    def close(self) -> None: ...
