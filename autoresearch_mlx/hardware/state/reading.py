"""One reading of the machine as a frozen value, and as the flat facts that a measurement records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Thermal: TypeAlias = Literal["nominal", "moderate", "heavy", "critical"]
"""How much the system holds back because of heat; macOS's "trapping" and "sleeping" are ``critical``."""
LEVELS: tuple[Thermal, ...] = ("nominal", "moderate", "heavy", "critical")
Pressure: TypeAlias = Literal["normal", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Others:
    """Who else uses the GPU; None: the system does not tell."""

    processes: tuple[str, ...] | None = None
    """``name (process 123)``, those that hold memory of an NVIDIA GPU."""
    busy_percent: float | None = None
    """Of the whole GPU, whoever keeps it busy."""


@dataclass(frozen=True, slots=True)
class State:
    """What was seen at one look; None: unknown."""

    power: Literal["mains", "battery"] | None = None
    battery_percent: int | None = None
    battery_c: float | None = None
    """Degrees Celsius of the battery: all that a Mac tells of its heat without root."""
    low_power_mode: bool | None = None
    thermal: Thermal | None = None
    temperature_c: float | None = None
    """Degrees Celsius of the hottest sensor of CPU or GPU."""
    cpu_speed_percent: int | None = None
    """What the system allows of the CPU's full speed."""
    memory_pressure: Pressure | None = None
    memory_free_mb: float | None = None
    """What programs could still get, in MiB."""
    swap_used_mb: float | None = None
    lid_closed: bool | None = None
    display_on: bool | None = None
    gpu_watts: float | None = None
    gpu: Others = Others()
    load: float | None = None
    """Mean number of processes that ran or waited over the last minute."""

    def facts(self) -> dict[str, Any]:
        """For a measurement's record: flat, unknown is None.  Figures among them are what a report can plot."""
        return {
            "power": self.power,
            "battery_percent": self.battery_percent,
            "battery_c": self.battery_c,
            "low_power_mode": self.low_power_mode,
            "thermal": self.thermal,
            "thermal_level": None if self.thermal is None else LEVELS.index(self.thermal),
            "temperature_c": self.temperature_c,
            "cpu_speed_percent": self.cpu_speed_percent,
            "memory_pressure": self.memory_pressure,
            "memory_free_mb": self.memory_free_mb,
            "swap_used_mb": self.swap_used_mb,
            "lid_closed": self.lid_closed,
            "display_on": self.display_on,
            "gpu_watts": self.gpu_watts,
        }

    def company(self) -> dict[str, Any]:
        """Of the other users of this machine, who show only while nothing of ours runs."""
        processes = self.gpu.processes
        return {
            "gpu_users": None if processes is None else len(processes),
            "gpu_busy_percent": self.gpu.busy_percent,
            "load": self.load,
        }
