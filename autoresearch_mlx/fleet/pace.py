"""Predict when a machine's run ends, so that its next job arrives in time.

Between two runs, a result must be sent and judged, and the next commit must be packed and sent.  A job that arrives
shortly before the present run ends begins at once afterwards.  A job is not sent earlier, because each result may
change the version on which the next experiment should build.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LEAD_SECONDS, _LEAD_SHARE = 0.5, 0.25
"""Two limits for sending the next job early: a number of seconds, and a share of the usual time of a run.

A job may be sent if the present run is expected to end within both limits.  The limits are short, because the present
experiment may need a second run, and a machine that already has its next job makes that job first.
"""
_RECENT = 3
"""Number of newest runs.  The longest of these runs gives the usual time, so a run that crashes at its start does not
change the usual time."""


class Pace:
    """The jobs that one machine has not delivered yet, and the times that its last runs took."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked: list[bool] = []
        """For each job that the machine has not delivered yet: whether it is the run of a candidate."""
        self._began = 0.0
        self._times: deque[float] = deque(maxlen=_RECENT)

    @contextmanager
    def asking(self, candidate: bool) -> Iterator[None]:
        """Count a job as not delivered until the block ends; then store its time, unless the block raised an error."""
        if not self._asked:
            self._began = self._clock()
        self._asked.append(candidate)
        try:
            yield
            self._times.append(self._clock() - self._began)
        finally:
            self._asked.remove(candidate)
            self._began = self._clock()

    def ends_soon(self) -> bool:
        """Return whether the machine runs a candidate, has no other job, and is nearly done.

        During a run of another version, the result is False: after a first run of the incumbent, for example, the same
        experiment often needs the machine again.
        """
        if self._asked != [True] or not self._times:
            return False
        usual = max(self._times)
        return self._clock() - self._began >= usual - min(_LEAD_SECONDS, _LEAD_SHARE * usual)

    def seconds_left(self) -> float:
        """Return the expected seconds until the machine has no job: 0 without a job, infinite during its first run."""
        if not self._asked:
            return 0.0
        if not self._times:
            return math.inf
        usual = max(self._times)
        return max(0.0, usual - (self._clock() - self._began)) + (len(self._asked) - 1) * usual
