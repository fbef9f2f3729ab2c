"""Measure the time of one training run: when each phase began, and how much of the budget is used.

The budget begins after the first step, which compiles, but no later than the end of this step's allowance.  If the
start takes longer than its allowance, the budget is shortened by the difference.  Budget and allowances are in counted
seconds: in reference seconds (:mod:`autoresearch_mlx.trial.speed`) if the run counts them, else in ordinary seconds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Literal

from autoresearch_mlx.experiment import Reference
from autoresearch_mlx.trial.speed.clock import ReferenceClock, RunSpeed, gpu_speed

MOST_STRETCH = 1.5
"""Longest wall-clock time of a run divided by its budget.  A run that needs more time is ended and repeated."""
Mark = Literal["start", "compile", "train", "trained"]


@dataclass(slots=True)
class Timing:
    """The times at which the phases of one training run began, by ``time.monotonic`` and in reference seconds."""

    start_seconds: float
    compile_seconds: float
    charged: bool
    """Whether a late start shortens the budget; it does if the budget is a time."""
    clock: ReferenceClock | None = None
    """The clock that measures the machine's speed, or None if the speed is not measured."""
    counting: bool = False
    """Whether reference seconds are counted; otherwise a second of the wall clock counts as one second."""
    reference: Reference | None = None
    """The speed that counts as 1, or None if it is not known."""
    probes: list[float] = field(default_factory=list)
    """Times of the probes of a GPU in milliseconds, as the child reported them."""
    began: dict[Mark, float] = field(default_factory=dict)
    counted: dict[Mark, float] = field(default_factory=dict)
    ended: float | None = None
    """Time at which the training ended, as the parent saw it, or None before that time."""
    furthest: float = 0.0
    """The largest value that :meth:`spent` has returned so far."""

    def enter(self, mark: Mark, at: float | None = None) -> None:
        """Record that a phase began now, or at the time ``at``; a later call for the same phase changes nothing."""
        if mark not in self.began:
            self.began[mark] = time.monotonic() if at is None else at
            self.counted[mark] = self._count(self.began[mark])
            if self.clock is not None and mark == "train":
                self.clock.record()
            if self.clock is not None and mark == "trained":
                self.clock.end()

    def look(self) -> None:
        """Measure the machine's speed; call this method about ten times a second."""
        if self.clock is not None:
            self.clock.look()

    @property
    def counts(self) -> bool:
        """Whether reference seconds are counted."""
        return self.counting and self.clock is not None

    @property
    def rate(self) -> float:
        """The machine's present speed divided by the reference's; 1 if reference seconds are not counted."""
        return self.clock.rate if self.clock is not None and self.counting else 1.0

    def speed(self, cut: bool) -> RunSpeed:
        """Return the machine's speed, as far as it is known.

        The result is ``spoiled`` if the run was ``cut`` off, or if the speed depends on a guess.
        """
        found = gpu_speed(self.probes, self.reference) if self.clock is None else self.clock.found()
        slow = self.clock is None and found.speed is not None and found.speed < 1 / MOST_STRETCH
        if found.speed is None or not (cut or slow or (found.doubtful and self.counting)):
            return found
        said = f"the machine ran at {100 * found.speed:.0f} % of its reference speed: {found.disturbed_by}"
        return replace(found, spoiled=said)

    def since(self, mark: Mark) -> float:
        """Return the counted seconds since a phase began."""
        return self._count(time.monotonic()) - self.counted[mark]

    def budget_began(self) -> float | None:
        """Return when the budget began, by the wall clock, or None if it has not begun."""
        return self._budget_began(self.began)

    def spent(self) -> float:
        """Return how many counted seconds of the budget are used; this number never falls.

        The speed of a window is known only at its end, so the seconds in a window may later count less.
        """
        if (began := self._budget_began(self.counted)) is not None:
            self.furthest = max(self.furthest, self.counted.get("trained", self._count(time.monotonic())) - began)
        return self.furthest

    def since_budget(self) -> float:
        """Return the counted seconds since the budget began, also after the training; 0 before the budget begins."""
        began = self._budget_began(self.counted)
        return 0.0 if began is None else self._count(time.monotonic()) - began

    def trained_for(self) -> float:
        """Return the counted seconds from the beginning of the budget to the end of the training."""
        began = self._budget_began(self.counted)
        return self.spent() if began is None or self.ended is None else max(0.0, self._count(self.ended) - began)

    def wall_spent(self) -> float:
        """Return the seconds of the budget that are used, by the wall clock."""
        began = self._budget_began(self.began)
        end = self.ended if self.ended is not None else self.began.get("trained", time.monotonic())
        return 0.0 if began is None else max(0.0, end - began)  # one step may request its next batch before it ends

    def _budget_began(self, marks: dict[Mark, float]) -> float | None:
        if "train" not in marks:
            return None
        told = marks["train"]
        first = marks.get("compile", told)
        late = max(0.0, first - marks["start"] - self.start_seconds) if self.charged else 0.0
        return min(told, first + self.compile_seconds) - late

    def _count(self, at: float) -> float:
        return self.clock.reached(at) if self.clock is not None and self.counting else at
