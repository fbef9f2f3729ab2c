"""Define what the judge gets (evidence, rules) and what it returns (a verdict, or a request to measure again).

Gains are in the metric's unit and positive when better, whether the metric is minimised or maximised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from autoresearch_mlx.experiment import Direction, Verdict

Whom: TypeAlias = Literal["candidate", "incumbent"]
Mode: TypeAlias = Literal["auto", "fast", "adaptive", "strict"]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one commit, with its value.  Raises ValueError if the value is not a finite number."""

    value: float
    seed: int
    regime: int = 0
    """Number of the regime in which the run was made; runs of different regimes cannot be compared."""
    fresh: bool = True
    """False for the first run of a proposal, by which the proposal was chosen for further runs.  True for repeats and
    for runs of the baseline; these runs are called unselected."""
    pair: int | None = None
    """Number of the run's pair in a certification, where the runs of two commits alternate."""
    error: float = 0.0
    """Standard error of the value itself, in the metric's unit, or 0 if the measurement reports none.  The correction
    for look-ahead has such an error."""
    tainted: bool = False
    """Whether heat, sleep or another program disturbed the run; a disturbed run does not count."""
    log_work: float = 0.0
    """Natural logarithm of the work that the run could do at the machine's speed, relative to the session's reference
    speed (:func:`speeds.log_work`).  The value is 0 at the reference speed, and if the speed is unknown."""
    log_tokens: float | None = None
    """Natural logarithm of the number of tokens trained on; None if that number or the machine's speed is unknown."""
    off_speed: bool = False
    """Whether the machine was clearly slower or faster than usual during the run."""
    cases: Mapping[str, float] | None = None
    """The score of each case, if the value is a mean over cases; versions are then compared case by case."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"a run's value must be a finite number, not {self.value}")


@dataclass(frozen=True, slots=True)
class Sigma:
    """A standard deviation in the metric's unit, with its origin; ``value`` is None if nothing was repeated."""

    value: float | None
    n: int
    """Number of runs from which the value was computed."""
    dof: int
    """Degrees of freedom: the number of runs minus the number of groups; a group has the runs of one version."""
    source: str
    """The source of the value, as text for a message."""

    @property
    def known(self) -> bool:
        """Whether the value is above zero and comes from repeats."""
        return bool(self.value) and self.dof > 0


UNKNOWN = Sigma(None, 0, 0, "nothing was measured twice")


@dataclass(frozen=True, slots=True)
class Slope:
    """How much a value changes when ``log_work`` grows by 1, in the metric's unit, and the standard error of this
    slope."""

    value: float = 0.0
    error: float = 0.0
    doubt: float = 0.0
    """Standard error of a slow run's ``log_work``, if ``log_work`` is calculated from the speed alone."""


STEADY = 0.1
"""Largest difference between the ``log_work`` of two runs that count as equally fast."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything on which a decision is based.  The runs of the candidate and of the incumbent are listed oldest
    first."""

    candidate: tuple[Run, ...]
    incumbent: tuple[Run, ...]
    sigma: Sigma
    """Sigma of one run, from all repeats before this candidate; the rules add the candidate's own repeats."""
    direction: Direction = "min"
    recent_effects: tuple[float, ...] = ()
    """Measured gains of the changes that were kept, newest last."""
    lines_removed: int = 0
    """Number of lines by which the candidate's code is shorter than the incumbent's; negative if it is longer."""
    regime: int = 0
    """Number of the current regime; runs of another regime do not count."""
    pair_sigma: Sigma = UNKNOWN
    """Sigma of the difference between two commits on one seed, for changes of this class (:func:`sigma.pair_class`)."""
    incumbent_age: int = 0
    """Number of experiments that finished since the incumbent was last measured."""
    refreshes: int = 0
    """Number of the incumbent's runs that were already made for this decision."""
    audited: bool = False
    """True if the candidate has passed the audits that :class:`Again` asked for."""
    examined: bool = False
    """True if the target itself has audited one of the candidate's runs and found no fault."""
    doubt: str = ""
    """A doubt that the audit could not settle, as text for the person who has to decide; empty if there is none."""
    accepted: bool = False
    """True if a person has accepted this gain, however large it is."""
    lost: int = 0
    """Number of the candidate's runs that were disturbed and ended without a value."""
    steps: tuple[int | None, int | None] = (None, None)
    """Numbers of steps after which a repeat ends: one for the candidate, one for the incumbent.

    None means that the clock ends the repeat.
    """
    slope: Slope = Slope()
    """The change of values with the machine's speed, from all repeats before this candidate."""


@dataclass(frozen=True, slots=True)
class Again:
    """A request for one more measurement, because the evidence does not decide yet."""

    reason: str
    whom: Whom = "candidate"
    seed: int | None = None
    """Seed to run on; None means the session's next seed."""
    steps: int | None = None
    """Number of steps after which the run ends; None means that the clock ends it."""
    audit: bool = False
    """True if the candidate's run is to be audited as well."""
    gain: float = 0.0
    """Apparent gain of the candidate, if an audit is asked for."""
    trial: bool = False
    """True if this run only shows whether the incumbent runs at all, after the machine ended the candidate's runs."""
    machine: str = ""
    """Name of the fleet's machine that should make the run; if empty, the machine of the last run makes this run
    too."""


Decision: TypeAlias = Verdict | Again


@dataclass(frozen=True, slots=True)
class Stages:
    """Bounds on the score, in standard errors, after 1, 2, ... runs of the candidate; between the two bounds a
    candidate is undecided.

    A candidate with a score below ``lower`` is discarded; a candidate with a score of ``upper`` or more is kept.
    Raises ValueError unless the two bounds are equal after the last run.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def __post_init__(self) -> None:
        meet = len(self.lower) == len(self.upper) > 0 and self.lower[-1] == self.upper[-1]
        if not meet or any(low > high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ValueError(f"stages must narrow to one score: {self.lower}, {self.upper}")

    @property
    def limit(self) -> int:
        """Maximum number of runs that one candidate gets."""
        return len(self.lower)

    def at(self, runs: int) -> tuple[float, float]:
        """Return (lower, upper) after this number of runs, at least 1."""
        stage = min(runs, self.limit) - 1
        return self.lower[stage], self.upper[stage]


ADAPTIVE = Stages((0.5, 0.8, 1.1, 1.5), (3.0, 2.0, 1.8, 1.5))
"""Bounds of the mode ``adaptive``.  In simulations with sigma from three baseline runs (`bench/judge.py`), these bounds
keep 9 % of the changes that do nothing, and 96 % of the changes that gain 3 sigma."""
STRICT = Stages((0.7, 1.1, 1.5, 1.8, 2.1), (4.5, 3.0, 2.6, 2.3, 2.1))
"""Bounds of the mode ``strict``.  In the simulations of ``bench/judge.py``, these bounds keep 3 % of the changes that
do nothing, and 88 % of the changes that gain 3 sigma.  Of the changes that gain 1 sigma, these bounds keep half as many
as the adaptive bounds."""
ACROSS = Stages((0.6, 0.8, 1.0, 1.2), (3.0, 1.55, 1.4, 1.2))
"""Bounds for a change whose runs are spread over the machines of a fleet.

These bounds are lower than the bounds for one machine for two reasons: a second machine has to agree, and possible
differences between machines widen the error (`bench/fleet.py`).
"""


@dataclass(frozen=True, slots=True)
class Rules:
    """Thresholds of the decision."""

    adaptive: Stages = ADAPTIVE
    strict: Stages = STRICT
    across: Stages = ACROSS
    fast_margin: float = 1.0
    """Gain in sigma above which ``fast`` keeps a candidate after one run."""
    fast_from: float = 4.0
    """Smallest median gain of the newest keeps, in sigma, for which the mode ``auto`` acts as ``fast``."""
    fast_window: int = 5
    """Number of newest keeps whose median gain decides between ``fast`` and ``adaptive``."""
    fast_proof: int = 2
    """Smallest number of keeps with which ``auto`` can act as ``fast``; with fewer keeps it acts as ``adaptive``."""
    record: int = 4
    """Maximum number of the incumbent's newest unselected runs whose mean is the incumbent's value."""
    record_least: int = 2
    """Number of unselected runs that the incumbent needs before a close call can be decided; until then the incumbent
    is measured again."""
    record_age: int = 10
    """Age of the incumbent's last run, in experiments, above which the incumbent is measured again before a close
    call."""
    refreshes: int = 3
    """Maximum number of runs of the incumbent that one decision may ask for."""
    neutral: float = -0.3
    """Score after two runs above which shorter code is kept."""
    incredible_sigma: float = 5.0
    incredible_share: float = 0.08
    """Share of the incumbent's value that a gain must exceed to be audited.  A gain is audited before it may be kept
    if it exceeds both this share and ``incredible_sigma`` times sigma."""
    unbelievable_share: float = 0.25
    """Share of the incumbent's value above which a gain is kept only when a person accepts it, if the target audits
    runs.  We know of no single change to a training script that gained even half of this share at a fixed budget."""
    spoiled: int = 3
    """Number of disturbed runs after which a candidate is not measured again; the verdict is then based on the runs
    that count."""
    margin: float = 0.0
    """Gain that a change must reach while sigma is unknown or zero, in the metric's unit."""
