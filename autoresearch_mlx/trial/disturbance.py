"""Did the machine sleep, or did anything stand still, while a run was taken?

Seen from the parent alone, by its own clocks: a pulse that stops with the process, and when it heard of a new
step.  The wall clock is never asked, so a time server or a person who sets it disturbs nothing.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from autoresearch_mlx.experiment import Progress, Stopper, Watch

SLEEP_SECONDS = 1.0
"""Two clocks that sleep alone can part agree to microseconds."""
STILL_SECONDS = 3.0
"""A pulse that comes so late was held up for six beats; a busy machine does not do that."""
_BEAT_SECONDS = 0.5
GAP_SECONDS, GAP_TIMES = 3.0, 10.0
"""A step this late, the larger of both: so many seconds, so many times the usual distance."""
LEAST_STEPS = 8
"""So many distances between steps must be known to call one of them unusual."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """One reading, in seconds: ``awake`` stands still while the machine sleeps, ``total`` goes on; None: unknown."""

    awake: float
    total: float | None


def read_clocks() -> Clocks:
    """Linux counts sleep in CLOCK_BOOTTIME only; macOS in CLOCK_MONOTONIC_RAW, and not in CLOCK_UPTIME_RAW."""
    with contextlib.suppress(OSError):  # a system under another one may lack a clock
        if sys.platform == "darwin":
            return Clocks(time.clock_gettime(time.CLOCK_UPTIME_RAW), time.clock_gettime(time.CLOCK_MONOTONIC_RAW))
        if sys.platform == "linux":
            return Clocks(time.clock_gettime(time.CLOCK_MONOTONIC), time.clock_gettime(time.CLOCK_BOOTTIME))
    return Clocks(time.monotonic(), None)


def slept(before: Clocks, after: Clocks) -> float:
    """Seconds of sleep between two readings; 0 where no clock tells."""
    if before.total is None or after.total is None:
        return 0.0
    seconds = (after.total - before.total) - (after.awake - before.awake)
    return seconds if seconds >= SLEEP_SECONDS else 0.0


def longest_gap(steps: Sequence[float]) -> float:
    """The one time between two steps that is out of all proportion to the others; 0 when there is none.

    What comes twice in one run is no accident: a script that now and then evaluates, or is short of memory.
    """
    apart = [after - before for before, after in pairwise(steps)]
    if len(apart) < LEAST_STEPS:
        return 0.0
    usual = median(apart)
    *_, second, longest = sorted(apart)
    alone = second < longest / 2
    return longest if alone and longest >= max(GAP_SECONDS, GAP_TIMES * usual) else 0.0


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What befell one run, in seconds; 0: nothing."""

    slept: float = 0.0
    still: float = 0.0
    """The parent itself did not run for so long: stopped, or starved."""
    gap: float = 0.0
    """Between two steps of the training."""

    def words(self, habits: Sequence[float] = ()) -> str | None:
        """Why the run does not count; None when it does.

        ``habits``: gaps of earlier runs of the same file, or of the one it was made from.  A gap that comes again
        is the script's own.
        """
        if self.slept:
            return f"the machine slept for {self.slept:.0f} s"
        if self.still:
            return f"everything stood still for {self.still:.0f} s"
        if self.gap and not any(known >= self.gap / 2 for known in habits):
            return f"no step ended for {self.gap:.0f} s, though the others were quick"
        return None

    def facts(self) -> dict[str, Any]:
        """For the record of a run; empty for an undisturbed one."""
        named = {"slept_seconds": self.slept, "still_seconds": self.still, "step_gap_seconds": self.gap}
        return {name: round(seconds, 1) for name, seconds in named.items() if seconds}


class Vigil:
    """Looks on at one run, from now until :meth:`found`; inside ``with`` it also feels whether we are stopped.

    The pulse is a thread that looks at the clock twice a second: it stands still with the process, wherever in its
    work that is, and not for a slow disk or a terminal that does not scroll.
    """

    def __init__(self, clocks: Callable[[], Clocks] = read_clocks) -> None:
        self._clocks = clocks
        self._began = clocks()
        self._beat = self._began.awake
        self._still = 0.0
        self._step: int | None = None
        self._steps: list[float] = []
        self._over = threading.Event()
        self._pulse = threading.Thread(target=self._feel, daemon=True)

    def __enter__(self) -> Vigil:
        self._pulse.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._pulse.join()

    def watching(self, watch: Watch) -> Watch:
        """The same watch, seen by the vigil first."""

        def seen(progress: Progress) -> None:
            if progress.phase == "train" and progress.step not in (None, self._step):
                self._step = progress.step
                self._steps.append(self._clocks().awake)
            watch(progress)

        return seen

    def stopping(self, stop: Stopper | None) -> Stopper | None:
        """The same early stop, which does not judge what was disturbed."""
        if stop is None:
            return None

        def asked(curve: Sequence[tuple[float, float]]) -> Mapping[str, Any] | None:
            return None if self.found() != Disturbance() else stop(curve)

        return asked

    def found(self) -> Disturbance:
        """What befell the run until now."""
        self.beat()
        return Disturbance(slept(self._began, self._clocks()), self._still, longest_gap(self._steps))

    def beat(self) -> None:
        now = self._clocks().awake
        self._beat, since = now, now - self._beat
        if since >= STILL_SECONDS:
            self._still = max(self._still, since)

    def _feel(self) -> None:
        while not self._over.wait(_BEAT_SECONDS):
            self.beat()
