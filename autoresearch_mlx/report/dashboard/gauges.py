"""Collect the running measurement's loss curve from ``now.json``; read the machine's memory and temperature."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from autoresearch_mlx.report.now import Running

_MOST_POINTS = 400
_BACK = 0.02
"""If the used share of the budget falls by more than this, another run of the same experiment has begun."""
_MACHINE_SECONDS = 2.0


@dataclass(slots=True)
class LossCurve:
    """The loss as a function of the used share of the budget.  The curve starts again with each measurement."""

    points: list[tuple[float, float]] = field(default_factory=list)
    run: int = 0
    """Number of measurements seen so far; the page notices a new measurement by this number."""
    _of: tuple[int, int | None, str | None] | None = None

    def see(self, running: Running | None, budget_seconds: float | None) -> None:
        of = (running.pid, running.number, running.title) if running is not None else None
        if of != self._of:
            self._of = of
            self._anew()
        share = _share(running, budget_seconds)
        if running is None or share is None or running.loss is None:
            return
        if self.points and share < self.points[-1][0] - _BACK:
            self._anew()
        if not self.points or share > self.points[-1][0]:
            self.points.append((round(share, 5), running.loss))
        if len(self.points) > _MOST_POINTS:
            self.points = self.points[::2]

    def _anew(self) -> None:
        self.points = []
        self.run += 1


class MachineGauge:
    """Reads memory and temperature, at most every other second."""

    def __init__(self) -> None:
        self._seen: dict[str, Any] = {}
        self._of: int | None = None
        self._at = 0.0

    def see(self, pid: int | None) -> dict[str, Any]:
        """Return the memory of the run and of the machine in bytes, and the temperature in degrees Celsius; an unknown
        figure is None."""
        if pid != self._of or time.monotonic() - self._at > _MACHINE_SECONDS:
            self._of, self._at = pid, time.monotonic()
            self._seen = {"run_bytes": _bytes_of(pid), **_machine()}
        return self._seen


def _share(running: Running | None, budget_seconds: float | None) -> float | None:
    """Return the used share of the training budget, or None outside of training."""
    if running is not None and running.phase == "train" and running.share is not None:
        return min(max(running.share, 0.0), 1.0)
    if running is None or running.phase != "train" or running.seconds_left is None or not budget_seconds:
        return None
    return min(max(1 - running.seconds_left / budget_seconds, 0.0), 1.0)


def _bytes_of(pid: int | None) -> int | None:
    """Return the memory in bytes of all processes that the loop started, or None if there are none."""
    import psutil

    from autoresearch_mlx.trial.sandbox.usage import resident

    if pid is None:
        return None
    try:
        found = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return None
    return sum(resident(process) for process in found) or None


def _machine() -> dict[str, Any]:
    import psutil

    memory = psutil.virtual_memory()
    return {"memory_used": memory.total - memory.available, "memory_total": memory.total, "celsius": _celsius()}


def _celsius() -> float | None:
    """Return the temperature of the hottest sensor in degrees Celsius, or None if no sensor can be read."""
    import psutil

    read = getattr(psutil, "sensors_temperatures", None)
    try:
        sensors = read() if read is not None else {}
    except (OSError, ValueError):
        return None
    degrees = [each.current for group in sensors.values() for each in group if 0 < each.current < 150]
    return max(degrees, default=None)
