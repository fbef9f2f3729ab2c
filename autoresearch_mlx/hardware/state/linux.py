"""Read the state of a Linux machine from files under /sys and /proc (described in the kernel's Documentation/ABI and
proc(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from autoresearch_mlx.hardware.state.reading import LEVELS, Pressure, State, Thermal

_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
"""Names of drivers whose sensors measure the processor."""
_TRIPS: dict[str, Thermal] = {"passive": "moderate", "hot": "heavy", "critical": "critical"}
"""Thermal pressure by the kind of trip point (a temperature at which the kernel acts) that the machine has reached;
see the kernel's Documentation/driver-api/thermal/sysfs-api."""
_SOME, _FULL = 10.0, 5.0
"""Percentages of the last ten seconds.  The pressure is ``warning`` if some process waited for memory in more than
``_SOME`` percent of the time.  It is ``critical`` if all processes waited at once in more than ``_FULL`` percent.
Source: pressure stall information, docs.kernel.org/accounting/psi.html."""


def read(root: Path) -> State:
    """Read the state below ``root``; any file may be missing, as in a container."""
    memory = _sizes(root / "proc/meminfo")
    swap, left = memory.get("SwapTotal"), memory.get("SwapFree")
    percent = _first(_battery(root), "capacity")
    return State(
        power=power(root),
        battery_percent=_number(percent),
        low_power_mode=_low_power(_text(root / "sys/firmware/acpi/platform_profile")),
        thermal=thermal(root),
        temperature_c=temperature(root),
        cpu_speed_percent=_cpu_speed(root / "sys/devices/system/cpu/cpu0/cpufreq"),
        memory_pressure=memory_pressure(_text(root / "proc/pressure/memory")),
        memory_free_mb=memory.get("MemAvailable"),
        swap_used_mb=None if swap is None or left is None else swap - left,
        lid_closed=_lid(root / "proc/acpi/button/lid"),
        load=_load(_text(root / "proc/loadavg")),
    )


def power(root: Path) -> Literal["mains", "battery"] | None:
    """Return the source of power; None if it is unknown, as on a server that reports neither a battery nor a supply."""
    online = [_text(s / "online") for s in _supplies(root) if _text(s / "type") in ("Mains", "USB")]
    if "1" in online:
        return "mains"
    charge = {_text(battery / "status") for battery in _battery(root)}
    if charge:
        return "battery" if "Discharging" in charge or (online and "Charging" not in charge) else "mains"
    return None


def temperature(root: Path) -> float | None:
    """Return the degrees Celsius of the hottest thermal zone or processor sensor."""
    sensors = [zone / "temp" for zone in _zones(root)]
    for folder in _listed(root / "sys/class/hwmon"):
        if _text(folder / "name") in _SENSORS:
            sensors += sorted(folder.glob("temp*_input"))
    degrees = [value / 1000 for sensor in sensors if (value := _number(_text(sensor))) is not None]
    return max((round(each, 1) for each in degrees if 0 < each < 150), default=None)


def thermal(root: Path) -> Thermal | None:
    """Return the thermal pressure: the highest trip point reached in any zone; None if no zone has trip points."""
    levels = [level for zone in _zones(root) for level in _passed(zone)]
    return max(levels, key=LEVELS.index) if levels else None


def _passed(zone: Path) -> Iterator[Thermal]:
    now = _number(_text(zone / "temp"))
    for kind in zone.glob("trip_point_*_type"):
        at = _number(_text(kind.with_name(kind.name.replace("_type", "_temp"))))
        level = _TRIPS.get(_text(kind))
        if now is not None and level is not None and at is not None and at > 0:
            yield level if now >= at else "nominal"


def memory_pressure(stalls: str) -> Pressure | None:
    """Return the memory pressure from ``stalls``, the text of /proc/pressure/memory; None if the kernel has no such
    file."""
    shares = dict(re.findall(r"^(some|full) avg10=([\d.]+)", stalls, re.MULTILINE))
    if "some" not in shares:
        return None
    if float(shares.get("full", 0)) > _FULL:
        return "critical"
    return "warning" if float(shares["some"]) > _SOME else "normal"


def _cpu_speed(folder: Path) -> int | None:
    allowed, full = _number(_text(folder / "scaling_max_freq")), _number(_text(folder / "cpuinfo_max_freq"))
    return round(100 * allowed / full) if allowed and full else None


def _low_power(profile: str) -> bool | None:
    return profile == "low-power" if profile else None


def _lid(folder: Path) -> bool | None:
    states = [_text(lid / "state") for lid in _listed(folder)]
    return "closed" in states[0] if states and states[0] else None


def _load(text: str) -> float | None:
    match = re.match(r"[\d.]+", text)
    return float(match.group()) if match else None


def _supplies(root: Path) -> list[Path]:
    return _listed(root / "sys/class/power_supply")


def _battery(root: Path) -> list[Path]:
    """Return the machine's own batteries, without those of a mouse or keyboard."""
    return [s for s in _supplies(root) if _text(s / "type") == "Battery" and _text(s / "scope") != "Device"]


def _zones(root: Path) -> list[Path]:
    return [path for path in _listed(root / "sys/class/thermal") if path.name.startswith("thermal_zone")]


def _sizes(path: Path) -> dict[str, float]:
    """Read lines such as ``MemTotal:  24684092 kB``; return MiB by name."""
    found = re.findall(r"^(\w+):\s+(\d+) kB", _text(path), re.MULTILINE)
    return {name: round(int(size) / 1024, 1) for name, size in found}


def _first(folders: list[Path], name: str) -> str:
    return next((text for folder in folders if (text := _text(folder / name))), "")


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
