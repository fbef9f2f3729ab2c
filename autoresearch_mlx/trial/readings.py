"""Read memory, disk and power before and after a child, to find out whether the machine caused a failure."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

_COUNTERS = Path("/proc/vmstat")
_NVIDIA = ("nvidia-smi", "--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits")
_NVIDIA_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Reading:
    """The state of the machine at one moment; None means unknown."""

    memory_bytes: int | None = None
    """Main memory of the machine in bytes."""
    memory_free: int | None = None
    """Main memory in bytes that is still available to programs."""
    kills: int | None = None
    """Number of processes that the kernel's memory killer has ended since the machine started."""
    disk_bytes: int | None = None
    disk_free: int | None = None
    """Free bytes on the disk that holds the child's folder."""
    mains: bool | None = None
    """Whether the machine is on mains power, or None if it has no battery."""


def take_reading(folder: Path) -> Reading:
    """Read the machine's state, including the disk of ``folder``.

    The call takes less than a millisecond and raises nothing.
    """
    total = free = disk_bytes = disk_free = mains = None
    with contextlib.suppress(psutil.Error, OSError):
        memory = psutil.virtual_memory()
        total, free = int(memory.total), int(memory.available)
    with contextlib.suppress(OSError):
        disk = shutil.disk_usage(folder)
        disk_bytes, disk_free = disk.total, disk.free
    with contextlib.suppress(psutil.Error, OSError, AttributeError, ValueError):
        battery = psutil.sensors_battery()
        mains = None if battery is None else battery.power_plugged
    return Reading(total, free, _kills(), disk_bytes, disk_free, mains)


def _kills() -> int | None:
    """Return the counter ``oom_kill`` of /proc/vmstat, proc(5); None on other systems."""
    with contextlib.suppress(OSError):
        found = re.search(r"^oom_kill (\d+)$", _COUNTERS.read_text(), re.MULTILINE)
        return None if found is None else int(found.group(1))
    return None


def gpu_used_by_others() -> float | None:
    """Return the share of an NVIDIA GPU's memory that is in use, from 0 to 1, or None if it is unknown.

    With several GPUs, the largest share is returned.  Call this function after the child has ended, so that only other
    programs use the memory.
    """
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        done = subprocess.run(
            _NVIDIA, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_NVIDIA_SECONDS, check=True
        )
        shares = [float(used) / float(whole) for used, whole in (line.split(",") for line in done.stdout.splitlines())]
        return max(shares, default=None)
    return None
