"""Define the central types, which are all frozen, and the protocols that connect the packages.

A *proposal* becomes an *experiment*: one commit, its *measurements* and a *verdict*.  An unknown value is ``None``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, get_args, runtime_checkable

Direction: TypeAlias = Literal["min", "max"]
Failure: TypeAlias = Literal["crash", "timeout", "invalid", "interrupted", "stopped"]
"""Why a run has no value.  ``stopped`` means that the loop ended a clear loser early, and discarded it."""
_Failed: TypeAlias = Literal["crash", "timeout", "invalid", "duplicate", "interrupted", "conflict", "limit"]
Status: TypeAlias = Literal["keep", "discard", _Failed]
"""Outcome of an experiment.  ``conflict`` means that the change cannot be combined with a change that was kept in the
meantime.  ``limit`` means that a figure of the experiment is beyond the limit set for this figure."""
Phase: TypeAlias = Literal["smoke", "start", "compile", "train", "evaluate", "guard", "paused", "waiting"]
"""Phase of a measurement; the last two also occur between experiments.  ``paused`` lasts until the user resumes the
run, or until a failing machine has rested; ``waiting`` lasts until the machine is ready (power, heat)."""
KnobChanges: TypeAlias = Mapping[str, tuple[Any, Any]]
"""Changed knobs as ``{name: (from, to)}``; ``from`` is None for a new knob, ``to`` is None for a deleted knob."""
Split: TypeAlias = Literal["val", "hidden"]
"""The cases that score a run: ``val`` guides the search; ``hidden`` is never used to choose an edit."""

SKIPPED = "skipped by hand"
FAILED: frozenset[str] = frozenset(get_args(_Failed))


@dataclass(frozen=True, slots=True)
class Proposal:
    """An edit with a title, a rationale and an axis; ``files`` maps each path to its complete new text."""

    title: str
    files: Mapping[str, str]
    axis: str | None = None
    rationale: str = ""
    agent: str = ""
    problem: str = ""
    """Why there is no edit, as a message to the agent; ``files`` is then empty.  Empty if there is an edit."""
    base: str | None = None
    """Commit that this edit starts from; None means the incumbent."""
    talk: Mapping[str, Any] = field(default_factory=dict)
    """Cost of the proposal as plain JSON: the model, calls, tokens, seconds, and the parts that were cut from the
    prompt."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """Wall-clock seconds of each phase of a run, timed by the parent process; None for a phase that was not reached."""

    start: float | None = None
    compile: float | None = None
    train: float | None = None
    evaluate: float | None = None

    def total(self) -> float:
        return sum(s for s in (self.start, self.compile, self.train, self.evaluate) if s is not None)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of one commit.  Either ``value`` is a finite number, or ``failure`` says why there is none."""

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
    """Training loss along the run, at most about twenty points: (share of the budget used, loss)."""
    regime: int = 0
    """Number of the run's regime (:mod:`regimes`); runs of different regimes cannot be compared."""
    tainted: bool = False
    """True when the run was disturbed; its value is then ignored."""
    key: str | None = None
    """Comparability key (:mod:`comparability`), a hash of the facts on which the value depends; None means unknown."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further figures from the target: train_loss, num_params, depth, secondary metrics."""
    speed: float | None = None
    """Mean speed of the machine during the training; the speed during the baseline is 1, and None means unknown."""
    stretch: float | None = None
    """Wall-clock seconds of the training, divided by the reference seconds of its budget; None if no clock ended it."""
    disturbed_by: str = ""
    """What slowed the run down, as text, even if a longer budget made up for this; empty if nothing slowed it down."""


@dataclass(frozen=True, slots=True)
class Verdict:
    status: Status
    reason: str
    held: bool = False
    """True for a gain that is too good to be believed; the experiment is kept only if a person accepts it."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """One finished experiment, as recorded in the ledger; number 0 is the baseline."""

    number: int
    status: Status
    value: float | None
    gain: float | None
    """Improvement over the version with which the experiment was compared, in the metric's unit; positive is better.
    If the noise is known, it is used to shrink the gain towards zero; ``effect`` has the measured difference."""
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
    """Hash of the editable files without comments and layout; two experiments with equal hashes are the same edit."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock seconds of each step: propose, smoke, commit, measure, settle (keep or revert), and the agent's steps
    to free its memory.  ``incumbent``, the time of new runs of the incumbent, is a part of ``measure``."""
    talk: Mapping[str, Any] = field(default_factory=dict)
    """Cost of asking the agent: the model, calls, tokens, seconds, and the parts that were cut from the prompt."""
    effect: Mapping[str, Any] = field(default_factory=dict)
    """The judge's estimate of the gain, with the fields of :class:`shrinkage.Effect`; empty if there is none."""
    against: str | None = None
    """Commit with which the experiment was compared; None means the incumbent.  Another commit is used if a lane has
    just replaced the incumbent, or if a machine of a fleet has run only an older version."""
    held: bool = False
    """True for a gain that is too good to be believed; the experiment is kept only if a person accepts it."""

    @property
    def failed(self) -> bool:
        return self.status in FAILED

    @property
    def cut_off(self) -> bool:
        """True when a crash of the tool or Ctrl-C ended the experiment.  A skip by the user does not count."""
        return self.status == "interrupted" and self.reason != SKIPPED


@dataclass(frozen=True, slots=True)
class Repeat:
    """One more run of a kept experiment's commit, to measure the noise or to compare a candidate with this commit."""

    number: int
    """Number of the kept experiment."""
    during: int
    """Number of experiments finished before this run, not counting the baseline."""
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class History:
    """All finished experiments of a session, oldest first."""

    experiments: tuple[Experiment, ...]
    metric: str
    direction: Direction
    repeats: tuple[Repeat, ...] = ()
    regime: int = 0
    """Number of the regime in which the session measures now; the first is 0."""
    own: frozenset[int] | None = None
    """In a fleet, the regimes of the machine for which this history was read; None when one machine makes all runs."""

    @property
    def baseline(self) -> Experiment | None:
        return next((e for e in self.experiments if e.number == 0 and e.status == "keep"), None)

    @property
    def incumbent(self) -> Experiment | None:
        """The last kept experiment, even if a discarded experiment has a better measured value."""
        return next((e for e in reversed(self.experiments) if e.status == "keep"), None)

    def gain(self, value: float, over: float) -> float:
        return over - value if self.direction == "min" else value - over


@dataclass(frozen=True, slots=True)
class Running:
    """An experiment that another lane is measuring; its outcome is not known yet."""

    number: int
    title: str
    axis: str | None
    knobs: KnobChanges
    """The knobs that the experiment changes in the version from which it started."""
    files: Mapping[str, str]
    """The experiment's version of every editable file, by the file's path in the lab."""


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that an agent is given when it is asked for a proposal."""

    number: int
    program: str
    """Text of ``program.md``; empty when the lab has none."""
    files: Mapping[str, str]
    """The editable files at the incumbent commit."""
    history: History
    hardware: str
    """One line that describes the machine and the budget."""
    seed: int
    feedback: Sequence[str] = ()
    """Why earlier proposals for this experiment were refused, newest last."""
    notes: Sequence[str] = ()
    """The user's wishes, newest last (`autoresearch-mlx steer`)."""
    sigma: float | None = None
    """Standard deviation of one measurement, in the metric's unit; None before there are repeats."""
    read: Callable[[str], Mapping[str, str]] = lambda commit: {}
    """Function that returns the editable files at a commit of this session, by their path in the lab."""
    log_tail: Callable[[Experiment], str] = lambda experiment: ""
    """Function that returns the last lines that an experiment's program wrote; empty when there are none."""
    running: Sequence[Running] = ()
    """The experiments that other lanes are measuring now, oldest first; empty with one lane."""
    findings: str = ""
    """Findings of the target about the runs, besides their values, as text; empty if there are none."""
    elsewhere: Sequence[str] = ()
    """Lines about results of other people's labs; the lines quote those people's words."""
    hooks: Sequence[str] = ()
    """Texts that the user's hooks printed for this experiment."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a running measurement, for the display."""

    phase: Phase
    step: int | None = None
    loss: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    share: float | None = None
    """Share of the training budget used; None while training is not running, or when there is no budget."""
    words: str | None = None
    """The reason for the wait in phase ``waiting``, or for a pause that no person has ordered."""
    number: int | None = None
    """Number of the experiment, if several experiments are measured side by side; None means the newest experiment."""


Watch: TypeAlias = Callable[[Progress], None]
"""Function called about ten times a second while a measurement runs; an exception from it ends the measurement."""


class Stopper(Protocol):
    """A function that decides during a run whether the run has already lost."""

    def __call__(self, curve: Sequence[tuple[float, float]], tokens: int | None = None) -> Mapping[str, Any] | None:
        """Decide whether the run has lost, by its loss curve and by the number of tokens trained on so far.

        ``tokens`` is None if the clock does not end the run.  Returns None to let the run go on.  Otherwise the result
        has ``reason``, ``share`` of the budget used, ``gap`` to the incumbent's loss, and ``audit``.  If ``audit`` is
        True, the run should go on all the same, to show whether the decision is right.
        """


@dataclass(frozen=True, slots=True)
class Usual:
    """The longest times of the baseline's runs in this regime, in seconds, as the parent process measured them.

    The limits of later runs are derived from these figures.  A figure is None when it is not known.  Times whose names
    end in ``_cpu`` are processor seconds, all other times wall-clock seconds.
    """

    start: float | None = None
    """Seconds from the start of the process to the first batch."""
    compile: float | None = None
    ending: float | None = None
    """Seconds from the end of the budget to the end of the process: the last step, and saving the weights."""
    ending_cpu: float | None = None
    evaluate: float | None = None
    evaluate_cpu: float | None = None
    token_seconds: float | None = None
    """Seconds of training for each token."""
    token_cpu: float | None = None
    """Smallest processor time per token of any run, counted from the first batch on."""
    num_params: int | None = None
    matrix_params: int | None = None
    tables: int | None = None
    """Number of matrices that are tables: their rows are looked up, not multiplied."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Figures of the machine's speed that counts as 1 in a session; None for a figure that no run has measured yet."""

    processor_share: float = 1.0
    """Processor time that a run got, as a share of the time that it wanted."""
    product_ms: float | None = None
    copy_ms: float | None = None
    """Durations of the two probes in milliseconds (:mod:`autoresearch_mlx.trial.speed`)."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One measurement to make: the tree to measure, the seed, and the folder for its files."""

    tree: Path
    """The lab's directory in the worktree, at the commit to measure."""
    folder: Path
    """A fresh directory for this run's log, weights and notes."""
    seed: int
    watch: Watch
    steps: int | None = None
    """Number of steps to train; None if the clock ends the run."""
    stop: Stopper | None = None
    split: Split = "val"
    """The cases that score the run."""
    usual: Usual | None = None
    """Times of the baseline's runs; None while the baseline itself is measured."""
    reference: Reference | None = None
    """Speed of the machine by which the seconds of the budget are counted; None means wall-clock seconds."""
    incumbent: Callable[[], Assignment | None] | None = None
    """Function that an audit calls to check out the incumbent in the same tree.  The function returns an assignment
    whose folder has the incumbent's weights, or None if these weights were not kept."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What one run needs from the machine, as far as this is known before the run."""

    device: Literal["cpu", "gpu"] | None = None
    """Device on which MLX trains; None if the target is not a training script."""
    budget_seconds: float | None = None
    """Training time of a run, in seconds; None when no clock ends it."""
    most_seconds: float | None = None
    """Longest training time of a run in seconds, whatever ends it."""
    budget: str = ""
    """Budget that ends a run, as text: ``300 s of training``."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables for the run's processes, in addition to those of this process."""


class Agent(Protocol):
    """A source of edits.  ``name`` goes into the ledger; ``propose`` raises AgentError when it cannot go on."""

    @property
    def name(self) -> str: ...

    def propose(self, context: Context) -> Proposal: ...


@runtime_checkable
class Tenant(Protocol):
    """An agent that takes up memory while it thinks."""

    def make_room(self, context: Context) -> Mapping[str, float]:
        """Free the memory that the coming run needs; return how long each step took, in seconds, by the step's name.

        Raises nothing.
        """

    def close(self) -> None:
        """End what the agent started; called once, however the run ends."""


class Target(Protocol):
    """What a session optimises, how it is measured, and whether lower or higher values are better."""

    @property
    def name(self) -> str: ...

    @property
    def metric(self) -> str: ...

    @property
    def direction(self) -> Direction: ...

    @property
    def splits(self) -> tuple[Split, ...]:
        """The sets of cases that can score a run; a certification uses ``hidden`` if there is one."""

    @property
    def workload(self) -> Workload: ...

    def lanes_refused(self) -> str | None:
        """Return why this target allows only one run at a time on a machine, or None if it allows several."""

    def refuse(self, files: Mapping[str, str]) -> str | None:
        """Return the reason why these files cannot be measured, in words for their author; None if they can."""

    def smoke(self, assignment: Assignment) -> Measurement | None:
        """Make a smoke run, to see whether the files work at all; return None if the target has no smoke run."""

    def measure(self, assignment: Assignment) -> Measurement:
        """Make one measurement; if the edited code fails, the returned measurement has a ``failure`` and no value.

        Raises only KeyboardInterrupt, and AutoresearchError when the lab itself is broken.
        """
