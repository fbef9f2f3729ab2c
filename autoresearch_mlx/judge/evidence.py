"""What the judge is given and what it answers, as frozen values.

Gains are positive when better, in the metric's unit, whichever way the metric points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from autoresearch_mlx.experiment import Direction, Verdict

Whom: TypeAlias = Literal["candidate", "incumbent"]
Mode: TypeAlias = Literal["auto", "fast", "adaptive", "strict"]


@dataclass(frozen=True, slots=True)
class Run:
    """One successful run of one commit.  Raises ValueError for a value that is no finite number."""

    value: float
    seed: int
    stand: int = 0
    """Number of the stand that it was taken in: runs of different stands do not compare."""
    fresh: bool = True
    """Not taken to select: false for the first run of whatever was proposed, true for the baseline's and repeats."""
    pair: int | None = None
    """Number of its pair, where the runs of two commits alternate."""
    tainted: bool = False
    """Disturbed (heat, sleep, another job): it never counts."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"a run's value must be a finite number, not {self.value}")


@dataclass(frozen=True, slots=True)
class Sigma:
    """Standard deviation of one run of an unchanged file, in the metric's unit; ``None``: nothing was repeated."""

    value: float | None
    n: int
    """Runs behind it."""
    dof: int
    source: str
    """Where it comes from, in words."""

    @property
    def known(self) -> bool:
        return bool(self.value) and self.dof > 0


UNKNOWN = Sigma(None, 0, 0, "nothing was measured twice")


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a decision rests on.  Runs are oldest first."""

    candidate: tuple[Run, ...]
    incumbent: tuple[Run, ...]
    sigma: Sigma
    """Of one run, from all that was repeated before this candidate; its own repeats are added here."""
    direction: Direction = "min"
    recent_effects: tuple[float, ...] = ()
    """Measured gains of the changes that were kept, newest last."""
    lines_removed: int = 0
    """By how many lines the code got shorter; negative: longer."""
    stand: int = 0
    """Number of the current stand; runs of another one do not count."""
    pair_sigma: Sigma = UNKNOWN
    """Of the difference between two commits on one seed, for changes of this class (:func:`noise.pair_class`)."""
    incumbent_age: int = 0
    """Experiments finished since the incumbent was last measured."""
    refreshes: int = 0
    """Runs of the incumbent that were taken for this decision already."""
    audited: bool = False
    """The candidate passed the audits that :class:`Again` asked for."""
    lost: int = 0
    """Runs of the candidate that were disturbed and ended without a value."""
    steps: tuple[int | None, int | None] = (None, None)
    """Calibrated steps of a repeat, of candidate and incumbent; None: the clock ends it."""


@dataclass(frozen=True, slots=True)
class Again:
    """The evidence does not decide yet: take one more measurement."""

    reason: str
    whom: Whom = "candidate"
    seed: int | None = None
    """None: the next one of the session."""
    steps: int | None = None
    """Train exactly so many steps; None: the clock ends the run."""
    audit: bool = False
    """Audit the candidate along with it."""


Decision: TypeAlias = Verdict | Again


@dataclass(frozen=True, slots=True)
class Stages:
    """Scores that bound "undecided" after 1, 2, ... runs of the candidate, on the scale of a known sigma.

    Under ``lower`` it is discarded, from ``upper`` on kept; after the last run the two meet.
    Raises ValueError when they do not.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def __post_init__(self) -> None:
        meet = len(self.lower) == len(self.upper) > 0 and self.lower[-1] == self.upper[-1]
        if not meet or any(low > high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ValueError(f"stages must narrow to one score: {self.lower}, {self.upper}")

    @property
    def limit(self) -> int:
        """Most runs of one candidate."""
        return len(self.lower)

    def at(self, runs: int) -> tuple[float, float]:
        stage = min(runs, self.limit) - 1
        return self.lower[stage], self.upper[stage]


ADAPTIVE = Stages((0.5, 0.8, 1.1, 1.5), (3.0, 2.0, 1.8, 1.5))
"""Against three baseline runs that also give sigma: 8 % are kept without effect, 96 % at 3 sigma (`bench/judge.py`)."""
STRICT = Stages((0.7, 1.1, 1.5, 1.8, 2.1), (4.5, 3.0, 2.6, 2.3, 2.1))
"""2 % without effect and 88 % at 3 sigma, likewise; it loses half of the gains of one sigma that the other keeps."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Thresholds of the decision."""

    adaptive: Stages = ADAPTIVE
    strict: Stages = STRICT
    fast_margin: float = 1.0
    """``fast`` keeps a gain over so many sigma after one run."""
    fast_from: float = 4.0
    """``auto`` is ``fast`` while the median of the last effects is at least so many sigma ..."""
    fast_window: int = 5
    """... over the last so many keeps ..."""
    fast_proof: int = 2
    """... of which there must be so many: with less to go by it looks twice."""
    record: int = 4
    """The incumbent counts by its newest so many unselected runs ..."""
    record_least: int = 2
    """... and has its record filled up to so many before a close call."""
    record_age: int = 10
    """A close call after more experiments than this has the incumbent measured anew."""
    refreshes: int = 3
    """Most runs of the incumbent for one decision."""
    neutral: float = -0.3
    """Shorter code wins with a score over this, seen in two runs."""
    incredible_sigma: float = 5.0
    incredible_share: float = 0.08
    """A gain over both, so many sigma and this share of the incumbent's value, is audited before it may be kept."""
    spoiled: int = 3
    """After so many disturbed runs a candidate is measured no more: it is judged by what counts."""
    margin: float = 0.0
    """What rules while sigma is unknown, or zero."""
