"""Read the state of a Mac from pmset, notifyutil, sysctl and ioreg.  These programs need no root.

This project has not run these programs on a Mac; the formats come from documentation and from published outputs.
"""

from __future__ import annotations

import os
import re
from typing import Literal

from autoresearch_mlx.hardware.state.commands import Run
from autoresearch_mlx.hardware.state.reading import LEVELS, Others, Pressure, State, Thermal

COMMANDS = {
    "batt": ("pmset", "-g", "batt"),
    "settings": ("pmset", "-g"),
    "therm": ("pmset", "-g", "therm"),
    "assertions": ("pmset", "-g", "assertions"),
    "display": ("pmset", "-g", "powerstate", "IODisplayWrangler"),
    "pressure": ("notifyutil", "-g", "com.apple.system.thermalpressurelevel"),
    "sysctl": (
        "sysctl",
        "vm.swapusage",
        "kern.memorystatus_vm_pressure_level",
        "kern.memorystatus_level",
        "hw.memsize",
    ),
    "lid": ("ioreg", "-r", "-k", "AppleClamshellState", "-d", "4"),
    "battery": ("ioreg", "-r", "-n", "AppleSmartBattery", "-d", "1"),
    "gpu": ("ioreg", "-r", "-c", "IOAccelerator", "-d", "1", "-w", "0"),
}
_PRESSURES: dict[str, Pressure] = {"1": "normal", "2": "warning", "4": "critical"}
"""Memory pressure by the value of kern.memorystatus_vm_pressure_level."""
_AWAKE = "Prevent sleep while display is on"
"""Name of the power assertion that powerd lists while a display is awake.  Apple Silicon has no IODisplayWrangler, so
there only this assertion shows that a display is awake."""


def read(run: Run) -> State:
    """Run all commands at once and read the state; a fact that no command reports is None."""
    said = dict.fromkeys(COMMANDS, "") | dict(run(COMMANDS))
    return State(
        power=power(said["batt"]),
        battery_percent=_whole(r"\s(\d+)%;", said["batt"]),
        battery_c=battery_celsius(said["battery"]),
        low_power_mode=low_power_mode(said["settings"]),
        thermal=thermal(said["pressure"]),
        cpu_speed_percent=_whole(r"CPU_Speed_Limit\s*=\s*(\d+)", said["therm"]),
        memory_pressure=_PRESSURES.get(_found(r"vm_pressure_level:\s*(\d+)", said["sysctl"]) or ""),
        memory_free_mb=memory_free_mb(said["sysctl"]),
        swap_used_mb=swap_used_mb(said["sysctl"]),
        lid_closed=_yes(_found(r'"AppleClamshellState"\s*=\s*(\w+)', said["lid"])),
        display_on=display_on(said["assertions"], said["display"]),
        gpu=Others(busy_percent=_whole(r'"Device Utilization %"\s*=\s*(\d+)', said["gpu"])),
        load=round(os.getloadavg()[0], 2),
    )


def power(batt: str) -> Literal["mains", "battery"] | None:
    """Return the source of power from a line such as ``Now drawing from 'AC Power'``; None without such a line.

    An uninterruptible power supply counts as a battery.
    """
    source = _found(r"drawing from '([^']+)'", batt)
    return None if source is None else "mains" if source == "AC Power" else "battery"


def low_power_mode(settings: str) -> bool | None:
    """Return whether Low Power Mode is on, from the output of ``pmset -g``; None if the output does not say.

    The line is ``lowpowermode 1``, or ``powermode 1`` on a Mac that also has a High Power Mode (``powermode 2``).  The
    output of ``pmset -g custom`` gives None: it lists the settings for mains and for battery, but does not say which
    settings are in use.
    """
    if re.search(r"^(Battery|AC|UPS) Power:$", settings, re.MULTILINE):
        return None
    mode = _found(r"^\s*(?:lowpowermode|powermode)\s+(\d+)", settings)
    return None if mode is None else mode == "1"


def thermal(pressure: str) -> Thermal | None:
    """Return the thermal pressure from a line such as ``com.apple.system.thermalpressurelevel 0``; None without one.

    The numbers are in OSThermalNotification.h: 0 is nominal, 3 and 4 are critical.  Numbers above 4 give None, because
    macOS does not use the other scale in that header.
    """
    level = _whole(r"thermalpressurelevel\s+(\d+)", pressure)
    return None if level is None or level > len(LEVELS) else LEVELS[min(level, len(LEVELS) - 1)]


def battery_celsius(battery: str) -> float | None:
    """Return the battery's degrees Celsius from a line such as ``"Temperature" = 3054`` (hundredths of a degree)."""
    hundredths = _whole(r'^\s*"Temperature"\s*=\s*(\d+)', battery)
    return None if hundredths is None else round(hundredths / 100, 1)


def memory_free_mb(sysctl: str) -> float | None:
    """Return the MiB of memory that programs can still get; None if unknown.

    kern.memorystatus_level gives this amount as a percentage of the memory.
    """
    percent, size = _whole(r"memorystatus_level:\s*(\d+)", sysctl), _whole(r"hw\.memsize:\s*(\d+)", sysctl)
    return None if percent is None or size is None else round(percent / 100 * size / 2**20)


def swap_used_mb(sysctl: str) -> float | None:
    """Return the MiB of swap in use, from ``vm.swapusage: total = 2048.00M  used = 1021.75M  free = ...``."""
    match = re.search(r"used\s*=\s*(\d+[.,]?\d*)([KMG])", sysctl)
    if match is None:
        return None
    return round(float(match.group(1).replace(",", ".")) * {"K": 2**-10, "M": 1.0, "G": 2**10}[match.group(2)], 1)


def display_on(assertions: str, powerstate: str) -> bool | None:
    """Return whether a display is awake; None if unknown.

    powerd's assertion shows that a display is awake.  Without the assertion, IODisplayWrangler's state decides: 4 or
    more means awake.  If neither is reported, as on Apple Silicon with a sleeping display, the display is asleep unless
    ``UserIsActive`` is 1.
    """
    if _AWAKE in assertions:
        return True
    state = _whole(r"IODisplayWrangler\s+(\d+)", powerstate)
    if state is not None:
        return state >= 4
    listed = "Assertion status system-wide" in assertions and "Listed by owning process" in assertions
    return False if listed and _whole(r"^\s*UserIsActive\s+(\d+)", assertions) != 1 else None


def _found(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text, re.MULTILINE)
    return match.group(1) if match else None


def _whole(pattern: str, text: str) -> int | None:
    found = _found(pattern, text)
    return None if found is None else int(found)


def _yes(word: str | None) -> bool | None:
    return {"Yes": True, "No": False}.get(word or "")
