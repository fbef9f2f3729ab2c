"""Count the runs that the machine itself ended, for example for lack of memory; say when the machine needs a rest."""

from __future__ import annotations

import time
from dataclasses import dataclass

from autoresearch_mlx.experiment import Measurement
from autoresearch_mlx.judge.faults import FAULTS_IN_A_ROW, fault_of, fault_with_step

FIRST_REST, LONGEST_REST = 300.0, 3600.0
"""Seconds of the first rest and of the longest rest of a machine that ends several runs in a row.

Each rest is twice as long as the last one.  After a run that ends normally, the next rest is as short as the first.
"""


FIRST_BENCH = 30.0


@dataclass(slots=True)
class Health:
    """Counts how many runs in a row the machine has ended until now; all lanes of one machine share this count."""

    rest_seconds: float = FIRST_REST
    """Seconds of the next rest."""
    bench_seconds: float = FIRST_BENCH
    """Seconds for which a machine of a fleet gets no run after its next failure to make a run."""
    _benched: float = 0.0
    _faults: int = 0
    _words: str = ""

    @property
    def failing(self) -> bool:
        """Whether the machine has ended the last three runs."""
        return self._faults >= FAULTS_IN_A_ROW

    @property
    def benched(self) -> bool:
        """Whether this machine of a fleet gets no run now, because it could not make an earlier run."""
        return time.monotonic() < self._benched

    def bench(self) -> None:
        """Give this machine no run for a while; with each failure in a row, this time doubles."""
        self._benched = time.monotonic() + self.bench_seconds
        self.bench_seconds = min(2 * self.bench_seconds, LONGEST_REST)

    def count(self, measured: Measurement) -> None:
        """Count a run that the machine ended; any other run sets the count to 0."""
        if fault_of(measured) is None:
            self._faults, self.rest_seconds = 0, FIRST_REST
            if measured.value is not None:
                self.bench_seconds = FIRST_BENCH
        else:
            self._faults, self._words = self._faults + 1, fault_with_step(measured)

    def rest_due(self) -> tuple[str, float] | None:
        """Return the reason why no run should start now and the seconds to wait, or None if a run may start.

        If the machine ends the first run after the rest too, it gets another rest, which is twice as long.
        """
        if not self.failing:
            return None
        count, rest = self._faults, self.rest_seconds
        self._faults, self.rest_seconds = FAULTS_IN_A_ROW - 1, min(2 * rest, LONGEST_REST)
        return f"the machine ended the last {count} runs: {self._words}", rest
