"""When to go on and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits of one call of ``run``; None: no limit.  The baseline is not counted as an experiment."""

    experiments: int | None = None
    hours: float | None = None
    until: float | None = None
    """Seconds since 1970 by the wall clock, after which no experiment is started."""
    clock: Callable[[], float] = time.monotonic
    began: float = field(default_factory=time.monotonic)
    wall: Callable[[], float] = time.time

    def stop(self, done: int) -> str | None:
        """Why to stop after ``done`` experiments of this call, or None."""
        if self.experiments is not None and done >= self.experiments:
            return f"{done} experiments done, as asked"
        if self.hours is not None and (left := self.seconds_left()) is not None and left <= 0:
            return f"{self.hours:g} hours are over, as asked"
        if self.until is not None and self.wall() >= self.until:
            return f"it is {time.strftime('%H:%M', time.localtime(self.until))}, as asked"
        return None

    def seconds_left(self) -> float | None:
        return None if self.hours is None else self.hours * 3600 - (self.clock() - self.began)

    def eta_seconds(self, done: int, seconds_each: float | None) -> float | None:
        """Time until the first limit is reached, as far as it can be told."""
        limits = [self.seconds_left(), None if self.until is None else max(self.until - self.wall(), 0.0)]
        if self.experiments is not None and seconds_each is not None:
            limits.append((self.experiments - done) * seconds_each)
        known = [limit for limit in limits if limit is not None]
        return min(known) if known else None

    def limits(self) -> dict[str, Any]:
        """What a person may set, by name."""
        return {"experiments": self.experiments, "hours": self.hours, "until": self.until}
