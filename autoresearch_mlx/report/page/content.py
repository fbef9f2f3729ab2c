"""Define what the page shows, as frozen values.  ``None`` means unknown; every number is measured or calculated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from autoresearch_mlx.compare import machines
from autoresearch_mlx.compare.machines import Fleetwide
from autoresearch_mlx.experiment import Direction
from autoresearch_mlx.judge.waiting import Waiting


@dataclass(frozen=True, slots=True)
class Head:
    """The session, its counts and its conditions."""

    session: str
    branch: str
    target: str | None
    metric: str
    direction: Direction
    agents: tuple[str, ...]
    started: str | None
    finished: str | None
    """Time at which the last experiment ended."""
    running: bool
    experiments: int
    """Number of experiments without the baseline."""
    kept: int
    discarded: int
    failed: int
    conditions: Mapping[str, Any]
    """Budget, data and sizes, as they are written in the ledger."""
    machine: Mapping[str, Any]
    """Facts of the machine that were the same in every run."""
    interrupted: int = 0
    """Number of interrupted experiments; ``failed`` counts these experiments too."""


@dataclass(frozen=True, slots=True)
class Mark:
    number: int
    commit: str | None
    value: float | None
    """Mean of the newest runs that played no part in the choice of the experiment, or else the value for which it was
    kept."""
    title: str


@dataclass(frozen=True, slots=True)
class Certified:
    """The last certificate; positive effects are better."""

    effect: float
    low: float
    high: float
    """Upper end of the effect's 90 % interval; ``low`` is the lower end."""
    probability_better: float
    pairs: int
    certified: bool
    before: int
    head: int
    split: str
    """The rows on which the certificate's runs were scored; no experiment was scored on ``hidden`` rows."""
    time: str | None
    current: bool
    """True while the certified experiment is still the incumbent."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Baseline and incumbent, with the values from the loop's own runs."""

    baseline: Mark | None
    incumbent: Mark | None
    gain: float | None
    percent: float | None
    chosen: bool
    """True if the head has only the runs by which it was chosen; luck makes such runs look too good."""


@dataclass(frozen=True, slots=True)
class Step:
    """A kept experiment on the way from the baseline to the head."""

    number: int
    title: str
    axis: str | None
    value: float | None
    gain: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Changed:
    knobs: tuple[tuple[str, str, str], ...]
    """Changed knobs: name, value at the baseline and value at the head, the values as Python literals."""
    steps: tuple[Step, ...]
    diff: str | None
    """Diff between baseline and head, or None if git no longer has the commits."""
    cut: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One experiment, as the table shows it."""

    number: int
    status: str
    value: float | None
    gain: float | None
    low: float | None
    high: float | None
    raw: float | None
    """The difference as measured, before it was shrunk towards zero."""
    title: str
    axis: str | None
    knobs: str
    agent: str
    reason: str
    rationale: str
    commit: str | None
    hours: float | None
    """Hours that the loop had worked when the experiment ended, without pauses between two runs of the loop."""
    tokens: int | None
    """Number of tokens that the session had trained on when the experiment ended."""
    seconds: float | None
    runs: int
    speed: float | None
    """Mean speed of the machine in those runs of the experiment that count; the baseline's speed is 1."""
    slowed: bool
    """True if the machine was slow during one of the runs that count."""
    stopped: bool
    diff: str | None
    diff_cut: bool
    log: str | None
    log_cut: bool
    level: float | None = None
    """In a fleet, the value shifted to the level of the first machine, as the plot shows it."""
    ahead: str = ""
    """In a few words, why the experiment was not kept although its value is better than the incumbent's; empty
    otherwise."""

    @property
    def shown(self) -> float | None:
        """The value as the plot shows it."""
        return self.value if self.level is None else self.level


@dataclass(frozen=True, slots=True)
class AxisRow:
    """All tries of one axis; ``best`` is the number of the try with the largest gain."""

    axis: str
    tried: int
    kept: int
    failed: int
    best: int | None
    gain: float | None
    low: float | None
    high: float | None
    tries: tuple[tuple[int, float, str], ...]
    """Number, gain and status of each try that has a gain."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The effect in one of two compared sessions: the change, its gain with a 90 % interval, and the gain in
    percent."""

    change: str
    gain: float | None
    low: float | None
    high: float | None
    percent: float | None


@dataclass(frozen=True, slots=True)
class Carried:
    """The best change of an axis in each of two sessions, or one change that both sessions tried."""

    axis: str
    there: Shown
    here: Shown
    verdict: str
    """A verdict such as ``carries over``, ``reverses``, ``within noise`` or ``untested here``."""
    both: bool


@dataclass(frozen=True, slots=True)
class Transfer:
    reference: str | None
    axes: tuple[Carried, ...]
    matches: tuple[Carried, ...]
    """Changes that both sessions tried, paired without looking at their gains."""
    agreement: str | None
    """How well signs and ranks of the pairs agree, as text with intervals."""
    untried: tuple[str, ...]
    """Wins of the other session without a similar change in this session, largest first."""
    remarks: tuple[str, ...]
    """Sentences that the page must show; if there are no rows, these sentences say why."""


@dataclass(frozen=True, slots=True)
class Again:
    """One run of a commit that ran more than once."""

    number: int
    at: int
    """Number of the experiment that was being measured, or had just ended, when this run was made."""
    hours: float | None
    value: float
    off: float
    """Difference from the mean of the commit's runs in its first regime; a positive difference is worse.  In a fleet,
    the run and the mean are from the same machine."""
    regime: int
    chosen: bool
    """True if the experiment was chosen by this run."""
    tainted: bool


@dataclass(frozen=True, slots=True)
class Noise:
    sigma: float | None
    """Standard deviation of one run, in the metric's unit."""
    runs: int
    dof: int
    source: str
    regime: int
    regimes: tuple[tuple[int, int], ...]
    """Changes of the regime, each as a pair: the number of the new regime, and ``at`` of the first run in this
    regime."""
    again: tuple[Again, ...]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Speed and memory of one run, and the machine's readings during the run."""

    number: int
    at: int
    hours: float | None
    tokens_per_second: float | None
    peak_memory_mb: float | None
    speed: float | None
    """Speed of the machine during the run; the baseline's speed is 1."""
    stretch: float | None
    """Wall-clock time of the training as a multiple of its budget."""
    machine: Mapping[str, float]
    """Figures that changed during the session, such as temperature and power, under their names in the ledger."""


@dataclass(frozen=True, slots=True)
class Spending:
    """Wall-clock seconds by phase, and the calls to models."""

    seconds: Mapping[str, float]
    calls: int
    prompt_tokens: int
    completion_tokens: int
    estimated: int
    """Number of calls whose tokens were estimated, because the server gave no count."""
    cost: float | None
    trained_tokens: int | None
    agents: tuple[tuple[str, int, int, int], ...]
    """One row for each agent: its name, and how many experiments, keeps and failures it had."""


@dataclass(frozen=True, slots=True)
class Cause:
    status: str
    cause: str
    numbers: tuple[int, ...]
    example: str


@dataclass(frozen=True, slots=True)
class StoppedRun:
    number: int
    share: float
    """Share of the budget at which the rule would stop the run."""
    audit: bool
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stops:
    stopped: int
    saved_seconds: float
    audits: int
    wrong: int
    error_high: float | None
    """Largest share of wrong stops that is still plausible, at 95 % confidence."""
    runs: tuple[StoppedRun, ...]


@dataclass(frozen=True, slots=True)
class Page:
    made: str
    """Local time at which the page was made, with its offset from UTC."""
    head: Head
    certified: Certified | None
    standing: Standing
    changed: Changed
    experiments: tuple[Row, ...]
    axes: tuple[AxisRow, ...]
    transfer: Transfer
    noise: Noise
    runs: tuple[RunFacts, ...]
    spending: Spending
    failures: tuple[Cause, ...]
    stops: Stops | None
    """Figures about early stops, or None if the target's runs have no budget."""
    remarks: tuple[str, ...]
    """Sentences that say what is missing on this page, and why."""
    waiting: tuple[Waiting, ...] = ()
    """Experiments that were too good to be believed, and that a person may accept."""
    minutes: tuple[str, ...] = ()
    """One line for each brief of a team, oldest first."""
    fleet: Fleetwide | None = None
    """The machines of a fleet side by side, or None if all runs were made on one machine."""
    whole_step: str = ""
    """How much a kernel speeds up the whole training step, as text, or an empty string for other targets."""


def to_json(page: Page) -> dict[str, Any]:
    """Return the document of ``report --json``; an unknown value is null.

    In this document, regimes keep their earlier names ``epoch`` and ``epochs``, because people's scripts read these
    names.
    """
    document = asdict(page)
    document.pop("fleet")
    if page.fleet is not None:
        document["fleet"] = machines.to_json(page.fleet)
    for row in document["experiments"]:
        if row["level"] is None:
            del row["level"]
        if not row["ahead"]:
            del row["ahead"]
    if not page.whole_step:
        del document["whole_step"]
    noise = document["noise"]
    noise |= {"epoch": noise.pop("regime"), "epochs": noise.pop("regimes")}
    for run in noise["again"]:
        run["epoch"] = run.pop("regime")
    return document
