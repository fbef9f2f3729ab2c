"""Count a run's reference seconds, so that a budget allows the same work on a busy machine as on a quiet one.

A reference second is a second of a machine that is as fast as it was for the session's baseline.  While a run gets six
tenths of the processor time that it wants, a second counts as 0.6 reference seconds.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from statistics import median, median_low
from typing import Any

from autoresearch_mlx.experiment import Reference
from autoresearch_mlx.trial.speed.company import Company
from autoresearch_mlx.trial.speed.probe import Reading
from autoresearch_mlx.trial.speed.processor import Totals, cores, stopped, totals, used

WINDOW_SECONDS = 0.5
"""Length in seconds of a window, which is the time over which the speed is measured.

A window is long compared with the scheduler's time slices of a few milliseconds, and short compared with a budget.
"""
_PROBE_SECONDS = 4.0
"""Seconds between two probes, each of which takes about 5 ms of one processor."""
_COMPANY_SECONDS = 2.0
"""Seconds between two readings of all programs; such readings are taken only while something slows the run down."""
_PRODUCT_NOISE, _FAST_NOISE, _COPY_NOISE = 1.15, 1.3, 1.4
"""Limits for a probe's time divided by the reference's time; a ratio within its limit is noise, and counts as 1.

The first number is for matrix products that are slower than the reference's, the second for faster products, the third
for copies.  The second limit is wide, because training runs made no more steps when products took 0.82 of the
reference's time.
"""
_MEMORY_SHARE = 0.5
"""Share of a training run's time for which the run waits for memory.  This is a guess and not a measurement."""
_MEMORY_DOUBT = 2.0
"""A run does not count if its copies took more than this multiple of the reference's time.

The run's speed would depend too much on the guess ``_MEMORY_SHARE``.
"""
_LEAST_RATE, _MOST_RATE = 0.02, 20.0
_MOST_COUNTED = 1.0
"""Largest number of reference seconds for each second of the wall clock.

With this limit, a budget of N seconds lasts at least N seconds on the wall clock, even after a baseline on a busy
machine.
"""
_NEWEST = 3
"""Number of the newest probes whose median is the current speed; a single probe may be slow by chance.

The reference is a median too.  If the fastest probe counted here, each later run would look faster than the reference.
"""
_STOPS_SECONDS = 2.0
"""For this many seconds after a stop (SIGSTOP), time in which the run neither ran nor waited counts as stopped.

Otherwise ten checks a second would miss most of a short stop.
"""
NOTICED = 0.95
"""Speed below which a run's record says what slowed the run down."""


@dataclass(frozen=True, slots=True)
class RunSpeed:
    """The machine's speed during one run, as far as it is known."""

    speed: float | None = None
    """Mean speed over the recorded time, divided by the reference's.

    It is None if nothing was recorded, or if the system reports no processor time and no probe was made.
    """
    disturbed_by: str = ""
    """What slowed the run down, as text, or an empty string if nothing did."""
    doubtful: bool = False
    """Whether the speed depends so much on a guess that the run cannot be compared."""
    spoiled: str | None = None
    """The reason why the run cannot be compared, as text, or None if it can."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Facts for the run's record: ``processor_share``, ``processor_seconds``, ``product_ms`` and ``copy_ms``.

    The last two are the median times of the probes in milliseconds.
    """


@dataclass(slots=True)
class _Sums:
    """Sums over the recorded windows, in seconds of the wall clock unless stated otherwise."""

    wall: float = 0.0
    counted: float = 0.0
    """Reference seconds."""
    halted: float = 0.0
    given: float = 0.0
    """Seconds, each multiplied by the share of the wanted processor time that the run got."""
    got: float = 0.0
    """Processor seconds of the run."""
    product: float = 0.0
    copy: float = 0.0
    """Seconds, each multiplied by the ratio of the time of a copy to the reference's time.

    The ratio counts as 1 if it is unknown or within noise.  ``product`` is the same sum for the products.
    """


def gpu_speed(probes: Sequence[float], reference: Reference | None) -> RunSpeed:
    """Return the speed of a GPU, from the times of its probes in milliseconds.

    Without probes the speed is unknown.  Without a reference the run's own median is the reference, so the speed is 1.

    The harness makes the probes between steps, in the process of the edited script, which could send wrong times.  So
    probes never lengthen a budget.  At worst, wrong times make the script's own run not count.
    """
    if not probes:
        return RunSpeed()
    taken = median(probes)
    usual = taken if reference is None or reference.product_ms is None else reference.product_ms
    ratio = taken / usual
    speed = 1.0 if 1 / _PRODUCT_NOISE <= ratio <= _PRODUCT_NOISE else 1 / ratio
    words = f"the GPU was {_percent(ratio - 1)} slower than in the baseline" if speed < NOTICED else ""
    return RunSpeed(round(speed, 4), words, facts={"product_ms": round(taken, 4)})


class ReferenceClock:
    """Counts the reference seconds of a run, beginning with the first :meth:`look`.

    One thread calls :meth:`look` about ten times a second; any thread may call the other methods.
    """

    def __init__(
        self,
        reference: Reference,
        processes: Callable[[], Collection[int]],
        probe: Callable[[], Reading] | None = None,
        clock: Callable[[], float] = time.monotonic,
        read: Callable[[Collection[int]], Totals | None] = totals,
    ) -> None:
        """Store the arguments; counting begins with the first :meth:`look`.

        ``processes`` returns the ids of the run's processes, beginning with the child that the parent started.  Without
        ``probe``, no probes are made.
        """
        self._reference, self._processes, self._probe = reference, processes, probe
        self._clock, self._read = clock, read
        self._cores = cores()
        self._company = Company()
        self._readings: list[Reading] = []
        self._lock = threading.Lock()
        self._totals: Totals | None = {}
        self._began: float | None = None
        self._at = self._looked = self._probed = self._named = 0.0
        self._reached = 0.0
        """Reference seconds up to ``_at``, the end of the last window."""
        self._rate = 1.0
        self._halted = self._got = 0.0
        self._stop_seen: float | None = None
        self._sums: _Sums | None = None
        self._recording = False

    @property
    def rate(self) -> float:
        """The speed in the last window divided by the reference's speed; at most 1."""
        return self._rate

    def look(self) -> None:
        """Count the time since the last look and, at the end of a window, measure the speed during the window."""
        now = self._clock()
        family = list(self._processes())
        if self._began is None:
            self._begin(now, family)
            return
        if family and stopped(family[0]):
            self._halted += now - self._looked
            self._stop_seen = now
        self._looked = now
        if now - self._at >= WINDOW_SECONDS:
            self._end_window(now, family)

    def reached(self, at: float | None = None) -> float:
        """Return the reference seconds from the first look until ``at``, a reading of the clock, or until now.

        For the current window, the speed of the last window is assumed.
        """
        at = self._clock() if at is None else at
        with self._lock:
            return self._reached + (at - self._at) * self._rate if self._began is not None else 0.0

    def record(self) -> None:
        """Begin to record the speed for :meth:`found`; call this method when training begins."""
        if self._began is not None and not self._recording:
            self._end_window(self._clock(), list(self._processes()), at_an_end=True)
        self._sums, self._recording = _Sums(), True

    def end(self) -> None:
        """Stop recording the speed; call this method when training has ended."""
        if self._recording:
            self._end_window(self._clock(), list(self._processes()), at_an_end=True)
            self._recording = False

    def found(self) -> RunSpeed:
        """Return what is known about the speed in the recorded time."""
        self.end()
        sums = self._sums
        if sums is None or sums.wall <= 0 or (self._totals is None and not self._readings):
            return RunSpeed()
        speed = sums.counted / sums.wall
        facts: dict[str, Any] = {}
        if self._totals is not None:
            facts["processor_share"] = round(sums.given / sums.wall, 4)
            facts["processor_seconds"] = round(sums.got, 3)
        if self._readings:
            facts["product_ms"] = round(median(each.product_ms for each in self._readings), 4)
            facts["copy_ms"] = round(median(each.copy_ms for each in self._readings), 4)
        words = self._words(sums) if speed < NOTICED else ""
        return RunSpeed(round(speed, 4), words, sums.copy / sums.wall > _MEMORY_DOUBT, facts=facts)

    def _begin(self, now: float, family: Collection[int]) -> None:
        self._totals = self._read(family)
        self._take_probe(now)
        with self._lock:
            self._began = self._at = self._looked = now

    def _end_window(self, now: float, family: Collection[int], at_an_end: bool = False) -> None:
        wall = now - self._at
        if at_an_end or now - self._probed >= _PROBE_SECONDS:
            self._take_probe(now)
        if wall <= 0:
            return
        before = self._totals
        share, halted = self._share(wall, now, family)
        ended = bool(before) and self._totals == {}  # nothing can be read about a process that has ended
        product, copy = self._ratios()
        slower = product if copy == 1 else max(product, 1 + _MEMORY_SHARE * (copy - 1))
        rate = share / self._reference.processor_share / slower
        rate = min(max(rate, _LEAST_RATE), _MOST_RATE)
        with self._lock:
            self._at, self._rate = now, min(rate, _MOST_COUNTED)
            self._reached += wall * self._rate
        self._halted = 0.0
        if self._recording and self._sums is not None and not ended:
            sums = self._sums
            sums.wall += wall
            sums.counted += wall * rate
            sums.halted += halted
            sums.given += wall * share
            sums.product += wall * product
            sums.copy += wall * copy
        self._look_around(now, family, rate, at_an_end)

    def _share(self, wall: float, now: float, family: Collection[int]) -> tuple[float, float]:
        """Return the run's pace in the window of ``wall`` seconds, and the seconds for which the run was stopped.

        The pace is a share of the pace of an undisturbed run.
        """
        halted = min(self._halted, wall)
        before, self._totals = self._totals, self._read(family)
        if before is None or self._totals is None:
            return 1 - halted / wall, halted
        use = used(before, self._totals)
        self._got += use.got
        if self._recording and self._sums is not None:
            self._sums.got += use.got
        if self._stop_seen is not None and now - self._stop_seen < _STOPS_SECONDS:
            halted = max(halted, wall - use.got - use.waited)
        return use.share(wall - halted, self._cores) * (1 - halted / wall), halted

    def _look_around(self, now: float, family: Collection[int], rate: float, at_an_end: bool) -> None:
        """Measure what other programs use: repeatedly while something slows this run down, and once afterwards."""
        slow, looking = rate < NOTICED, self._company.looking
        due = at_an_end or not slow or now - self._named >= _COMPANY_SECONDS
        if due if looking else slow:
            self._company.look({*family, os.getpid()}, self._got if looking else 0.0)
            self._named, self._got = now, 0.0
        if not slow and not at_an_end:
            self._company.rest()
            self._got = 0.0

    def _take_probe(self, now: float) -> None:
        if self._probe is not None:
            self._readings.append(self._probe())
            self._probed = now

    def _ratios(self) -> tuple[float, float]:
        """Return the current times of product and copy, each divided by the reference's time; 1 if within noise."""
        newest, reference = self._readings[-_NEWEST:], self._reference
        if len(newest) < 2 or reference.product_ms is None or reference.copy_ms is None:
            return 1.0, 1.0
        product = median_low(each.product_ms for each in newest) / reference.product_ms
        copy = median_low(each.copy_ms for each in newest) / reference.copy_ms
        return (
            1.0 if 1 / _FAST_NOISE <= product <= _PRODUCT_NOISE else product,
            1.0 if copy <= _COPY_NOISE else copy,
        )

    def _words(self, sums: _Sums) -> str:
        """Return a text that says what slowed the run down, with one clause for each cause."""
        said, wall = [], sums.wall
        halted, given = sums.halted / wall, sums.given / wall
        others = self._company.others()
        got = given / (1 - halted) if halted < 1 else 1.0
        if got < NOTICED * self._reference.processor_share:
            less = f"the run got {_percent(got)} of the processor time that it wanted"
            if others is not None and others.share >= 0.5 * (1 - got) / self._cores:
                said.append(others.words())
            else:
                said.append(less if others is None else f"{less}: a quota or a low priority holds it back")
        if halted > 1 - NOTICED:
            said.append(f"the run was stopped for {_percent(halted)} of the time")
        if (product := sums.product / wall) > 1 / NOTICED:
            said.append(f"the processor was {_percent(product - 1)} slower than in the baseline")
        if (copy := sums.copy / wall) > 1 / NOTICED:
            said.append(f"memory was {_percent(copy - 1)} slower than in the baseline")
            if others is not None and others.names and others.words() not in said:
                said.append(others.words())
        return "; ".join(said or ["the machine was slower than in the baseline"])


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
