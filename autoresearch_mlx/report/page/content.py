"""What the page shows, as one frozen tree.  Unknown is ``None``; every number was measured or summed up from such."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from autoresearch_mlx.experiment import Direction


@dataclass(frozen=True, slots=True)
class Head:
    """Which session this is."""

    session: str
    branch: str
    target: str | None
    metric: str
    direction: Direction
    agents: tuple[str, ...]
    started: str | None
    finished: str | None
    """When the last experiment ended."""
    running: bool
    experiments: int
    """The baseline is not one of them."""
    kept: int
    discarded: int
    failed: int
    conditions: Mapping[str, Any]
    """As the session's record has them: budget, data, sizes."""
    machine: Mapping[str, Any]
    """Facts that were the same in every run."""


@dataclass(frozen=True, slots=True)
class Mark:
    number: int
    commit: str | None
    value: float | None
    """What it counts by: its newest runs that nothing was selected by, where there are any."""
    title: str


@dataclass(frozen=True, slots=True)
class Certified:
    """The last certificate; positive is better."""

    effect: float
    low: float
    high: float
    """Ends of the 90 % interval."""
    probability_better: float
    pairs: int
    certified: bool
    before: int
    head: int
    split: str
    """``hidden``: on rows that no search has seen."""
    time: str | None
    current: bool
    """Whether its head is still the session's."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the session stands by the loop's own reckoning."""

    baseline: Mark | None
    incumbent: Mark | None
    gain: float | None
    percent: float | None
    chosen: bool
    """The head has only runs that it was chosen by: those are too good by luck."""


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
    """Name, baseline's value, head's value, as literals."""
    steps: tuple[Step, ...]
    diff: str | None
    """Baseline to head; None where git no longer has the commits."""
    cut: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One experiment with everything the table shows of it."""

    number: int
    status: str
    value: float | None
    gain: float | None
    low: float | None
    high: float | None
    raw: float | None
    """The difference as measured, unshrunk."""
    title: str
    axis: str | None
    knobs: str
    agent: str
    reason: str
    rationale: str
    commit: str | None
    hours: float | None
    """Of work, at its end; pauses between two runs of the loop do not count."""
    tokens: int | None
    """Trained in the session by its end."""
    seconds: float | None
    runs: int
    stopped: bool
    diff: str | None
    diff_cut: bool
    log: str | None
    log_cut: bool


@dataclass(frozen=True, slots=True)
class AxisRow:
    """All tries of one axis; ``best`` is the one with the largest gain."""

    axis: str
    tried: int
    kept: int
    failed: int
    best: int | None
    gain: float | None
    low: float | None
    high: float | None
    tries: tuple[tuple[int, float, str], ...]
    """Number, gain and status of each that has a gain."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One side's effect: the change, its gain with the ends of the 90 % interval, and in percent of its incumbent."""

    change: str
    gain: float | None
    low: float | None
    high: float | None
    percent: float | None


@dataclass(frozen=True, slots=True)
class Carried:
    """The best change of an axis on each side, or one change that both tried."""

    axis: str
    there: Shown
    here: Shown
    verdict: str
    """carries over, reverses, within noise, untested here, ..."""
    both: bool


@dataclass(frozen=True, slots=True)
class Transfer:
    reference: str | None
    axes: tuple[Carried, ...]
    matches: tuple[Carried, ...]
    """Changes that both tried, paired without a look at their gains."""
    agreement: str | None
    """Of their signs and ranks, in words with intervals."""
    untried: tuple[str, ...]
    """The other side's wins that nothing here resembles, largest first."""
    remarks: tuple[str, ...]
    """What a reader must know, in whole sentences; why there are no rows, if there are none."""


@dataclass(frozen=True, slots=True)
class Again:
    """One run of a commit that ran more than once."""

    number: int
    at: int
    """Experiments that were finished by then."""
    hours: float | None
    value: float
    off: float
    """From the mean of that commit's first stand; positive is worse."""
    stand: int
    chosen: bool
    """Its experiment was selected by it."""
    tainted: bool


@dataclass(frozen=True, slots=True)
class Noise:
    sigma: float | None
    """Standard deviation of one run, in the metric's unit."""
    runs: int
    dof: int
    source: str
    stand: int
    stands: tuple[tuple[int, int], ...]
    """Where the stand changes: the new one's number, and the first ``at`` in it."""
    again: tuple[Again, ...]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run's speed, memory and whatever the machine said of itself."""

    number: int
    at: int
    hours: float | None
    tokens_per_second: float | None
    peak_memory_mb: float | None
    machine: Mapping[str, float]
    """Figures that changed during the session: temperature, power and their like, by the names they came with."""


@dataclass(frozen=True, slots=True)
class Spending:
    """Wall-clock seconds by phase, and what was asked of models."""

    seconds: Mapping[str, float]
    calls: int
    prompt_tokens: int
    completion_tokens: int
    estimated: int
    """Calls without the server's own count."""
    cost: float | None
    trained_tokens: int | None
    agents: tuple[tuple[str, int, int, int], ...]
    """Agent, experiments, kept, failed."""


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
    """Of the budget, at which the rule spoke."""
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
    """With 95 % confidence the rule is no more often wrong."""
    runs: tuple[StoppedRun, ...]


@dataclass(frozen=True, slots=True)
class Page:
    made: str
    """Local time with its offset."""
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
    """None: the target's runs have no budget."""
    remarks: tuple[str, ...]
    """What is missing here and why, in whole sentences."""


def to_json(page: Page) -> dict[str, Any]:
    """The document of ``report --json``; an unknown value is null.

    Stands keep the names that they had in it before, ``epoch`` and ``epochs``: people's scripts read them.
    """
    document = asdict(page)
    noise = document["noise"]
    noise |= {"epoch": noise.pop("stand"), "epochs": noise.pop("stands")}
    for run in noise["again"]:
        run["epoch"] = run.pop("stand")
    return document
