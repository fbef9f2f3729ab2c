"""Find out whether the machine slept, or this program was stopped, while a run was measured.

Only clocks of the parent process are used.  They measure the time between two beats of the pulse, a thread that wakes
twice a second and stops when the process is stopped.  They also measure the time between the reports of two training
steps.  The time of day is never read, because a time server or a person may change it.
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
"""Difference between the two clocks, in seconds, from which we conclude that the machine slept.

Without sleep, the two clocks agree to within microseconds.
"""
STILL_SECONDS = 3.0
"""Delay of the pulse, in seconds, from which we conclude that the process was stopped.

In this time the pulse misses six beats; a busy machine alone does not cause so many missed beats.
"""
_BEAT_SECONDS = 0.5
GAP_SECONDS, GAP_TIMES = 3.0, 10.0
"""Two limits on the interval between steps: a number of seconds, and a multiple of the usual interval.

An interval that exceeds both limits is unusually long.
"""
LEAST_STEPS = 8
"""Smallest number of intervals between steps from which an unusual interval can be recognised."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """One reading of two clocks, in seconds.

    The clock ``awake`` stops while the machine sleeps.  The clock ``total`` goes on; it is None if the system does not
    have such a clock.
    """

    awake: float
    total: float | None


def read_clocks() -> Clocks:
    """Read both clocks.

    Linux counts the time of sleep in CLOCK_BOOTTIME and not in CLOCK_MONOTONIC, clock_gettime(2).  macOS counts the
    time of sleep in CLOCK_MONOTONIC_RAW and not in CLOCK_UPTIME_RAW, clock_gettime(3).
    """
    with contextlib.suppress(OSError):  # an emulated system may lack a clock
        if sys.platform == "darwin":
            return Clocks(time.clock_gettime(time.CLOCK_UPTIME_RAW), time.clock_gettime(time.CLOCK_MONOTONIC_RAW))
        if sys.platform == "linux":
            return Clocks(time.clock_gettime(time.CLOCK_MONOTONIC), time.clock_gettime(time.CLOCK_BOOTTIME))
    return Clocks(time.monotonic(), None)


def slept(before: Clocks, after: Clocks) -> float:
    """Return the seconds of sleep between two readings, or 0 if the system has no clock that counts sleep."""
    if before.total is None or after.total is None:
        return 0.0
    seconds = (after.total - before.total) - (after.awake - before.awake)
    return seconds if seconds >= SLEEP_SECONDS else 0.0


def longest_gap(steps: Sequence[float]) -> float:
    """Return the seconds of the one interval between steps that is far longer than all others, or 0 if there is none.

    ``steps`` are the times at which steps ended, in seconds.  Two long intervals in one run are not a disturbance,
    because the script itself may evaluate now and then, or be short of memory.
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
    """The disturbances of one run, each in seconds; 0 means none."""

    slept: float = 0.0
    still: float = 0.0
    """Seconds for which the parent process itself did not run, because it was stopped or got no processor time."""
    gap: float = 0.0
    """Seconds of an unusually long interval between two training steps."""

    def words(self, habits: Sequence[float] = ()) -> str | None:
        """Return the reason why the run does not count, as a sentence, or None if it counts.

        ``habits`` are the gaps, in seconds, of earlier runs of the same file or of the version from which it was
        edited.  A gap that occurs again comes from the script, and is not a disturbance.
        """
        if self.slept:
            return f"the machine slept for {self.slept:.0f} s"
        if self.still:
            return f"this program could not run for {self.still:.0f} s"
        if self.gap and not any(known >= self.gap / 2 for known in habits):
            return f"no step ended for {self.gap:.0f} s, though the other steps were quick"
        return None

    def facts(self) -> dict[str, Any]:
        """Return the disturbances for the run's record: name -> seconds; empty for an undisturbed run."""
        named = {"slept_seconds": self.slept, "still_seconds": self.still, "step_gap_seconds": self.gap}
        return {name: round(seconds, 1) for name, seconds in named.items() if seconds}


class Vigil:
    """Watches one run for disturbances, from the creation of this object until a call of :meth:`found`.

    Inside ``with``, the pulse runs too: a thread that reads the clock twice a second.  The pulse stops when the whole
    process is stopped.  It does not stop when the main thread waits for a slow disk or a terminal that does not scroll.
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
        """Return a function that stores the time of each new step and then calls ``watch``."""

        def seen(progress: Progress) -> None:
            if progress.phase == "train" and progress.step not in (None, self._step):
                self._step = progress.step
                self._steps.append(self._clocks().awake)
            watch(progress)

        return seen

    def stopping(self, stop: Stopper | None) -> Stopper | None:
        """Return ``stop`` changed so that it never ends a disturbed run, whose curve of losses proves nothing."""
        if stop is None:
            return None

        def asked(curve: Sequence[tuple[float, float]], tokens: int | None = None) -> Mapping[str, Any] | None:
            return None if self.found() != Disturbance() else stop(curve, tokens)

        return asked

    def found(self) -> Disturbance:
        """Return the disturbances of the run so far."""
        self.beat()
        return Disturbance(slept(self._began, self._clocks()), self._still, longest_gap(self._steps))

    def beat(self) -> None:
        """Read the clock, and store the time since the last beat if it shows that the process was stopped."""
        now = self._clocks().awake
        self._beat, since = now, now - self._beat
        if since >= STILL_SECONDS:
            self._still = max(self._still, since)

    def _feel(self) -> None:
        while not self._over.wait(_BEAT_SECONDS):
            self.beat()
