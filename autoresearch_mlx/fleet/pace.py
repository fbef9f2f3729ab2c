"""Foresee when a machine's run ends, so that its next job is there in time.

Between two runs, a result must travel, be judged, and the next commit be packed and sent.  A job that arrives shortly
before the run ends is written down on the machine and begins at once.  It is not sent earlier, because the result of
any run may change which version the next experiment should build on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LEAD_SECONDS, _LEAD_SHARE = 0.5, 0.25
"""A job may be sent when the run is expected to end within these seconds and within this share of its time.  A machine
that has a next job is not free for an experiment that needs a second run to be decided, so the lead is short."""


class Pace:
    """The jobs that one machine has been asked for, and the time that its last run took."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked: list[bool] = []
        """For each job that it has not delivered yet, whether it is the run of a candidate."""
        self._began = 0.0
        self._usual: float | None = None

    @contextmanager
    def asking(self, candidate: bool) -> Iterator[None]:
        """Count a job as asked for until the block ends; the time of one that raises nothing is the usual time."""
        if not self._asked:
            self._began = self._clock()
        self._asked.append(candidate)
        try:
            yield
            self._usual = self._clock() - self._began
        finally:
            self._asked.remove(candidate)
            self._began = self._clock()

    def ends_soon(self) -> bool:
        """Return whether the machine runs one candidate, has nothing else to do, and is nearly done.

        After other runs, such as the first one of an incumbent, the same experiment often needs the machine again.
        """
        if self._asked != [True] or self._usual is None:
            return False
        return self._clock() - self._began >= self._usual - min(_LEAD_SECONDS, _LEAD_SHARE * self._usual)
