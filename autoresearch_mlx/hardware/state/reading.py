"""Define one reading of the machine's state, and turn the reading into the facts that a measurement records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Thermal: TypeAlias = Literal["nominal", "moderate", "heavy", "critical"]
"""How far heat makes the system slow itself down; macOS's "trapping" and "sleeping" count as ``critical``."""
LEVELS: tuple[Thermal, ...] = ("nominal", "moderate", "heavy", "critical")
Pressure: TypeAlias = Literal["normal", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Others:
    """How other programs use the GPU; a fact that the system does not report is None."""

    processes: tuple[str, ...] | None = None
    """Programs that use memory of an NVIDIA GPU, each as ``name (process 123)``."""
    busy_percent: float | None = None
    """Load of the whole GPU in percent, caused by any program, this one included."""


@dataclass(frozen=True, slots=True)
class State:
    """One reading; an unknown fact is None."""

    power: Literal["mains", "battery"] | None = None
    battery_percent: int | None = None
    battery_c: float | None = None
    """Degrees Celsius of the battery, the only temperature that a Mac reports without root."""
    low_power_mode: bool | None = None
    thermal: Thermal | None = None
    temperature_c: float | None = None
    """Degrees Celsius of the hottest sensor of CPU or GPU."""
    cpu_speed_percent: int | None = None
    """Share of the CPU's full speed that the system allows, in percent."""
    memory_pressure: Pressure | None = None
    memory_free_mb: float | None = None
    """Memory that programs can still get, in MiB."""
    swap_used_mb: float | None = None
    lid_closed: bool | None = None
    display_on: bool | None = None
    gpu_watts: float | None = None
    gpu: Others = Others()
    load: float | None = None
    """Mean number of processes that ran or waited over the last minute."""

    def facts(self) -> dict[str, Any]:
        """Return the facts that a measurement records, by name; an unknown fact is None."""
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
        """Return the facts about other programs on this machine.

        Read these facts only while no run of ours is in progress, because a run adds to the load.
        """
        processes = self.gpu.processes
        return {
            "gpu_users": None if processes is None else len(processes),
            "gpu_busy_percent": self.gpu.busy_percent,
            "load": self.load,
        }
