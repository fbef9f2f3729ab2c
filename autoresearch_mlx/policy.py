"""When to go on and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits of one call of ``run``; None: no limit.  The baseline is not counted as an experiment."""

    experiments: int | None = None
    hours: float | None = None
    clock: Callable[[], float] = time.monotonic
    began: float = field(default_factory=time.monotonic)

    def stop(self, done: int) -> str | None:
        """Why to stop after ``done`` experiments of this call, or None."""
        if self.experiments is not None and done >= self.experiments:
            return f"{done} experiments done, as asked"
        if self.hours is not None and (left := self.seconds_left()) is not None and left <= 0:
            return f"{self.hours:g} hours are over, as asked"
        return None

    def seconds_left(self) -> float | None:
        return None if self.hours is None else self.hours * 3600 - (self.clock() - self.began)

    def eta_seconds(self, done: int, seconds_each: float | None) -> float | None:
        """Time until the first limit is reached, as far as it can be told."""
        limits = [self.seconds_left()]
        if self.experiments is not None and seconds_each is not None:
            limits.append((self.experiments - done) * seconds_each)
        known = [limit for limit in limits if limit is not None]
        return min(known) if known else None
