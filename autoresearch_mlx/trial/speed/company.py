"""Name the other programs that use the processor during a run."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

import psutil

_MOST_NAMED = 3
_LEAST_SHARE = 0.1
"""A program is named only if it took at least this share of the processor time of all other programs."""
_KNOWN = {
    "mds": "Spotlight",
    "mds_stores": "Spotlight",
    "mdworker": "Spotlight",
    "mdworker_shared": "Spotlight",
    "backupd": "Time Machine",
    "photoanalysisd": "Photos",
    "softwareupdated": "Software Update",
    "WindowServer": "the display",
}
"""Process name -> common name, for some programs of macOS."""
_PS_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Others:
    """The processor time that programs outside the run took."""

    share: float
    """Share of the time of all processors that other programs took, from 0 to 1; programs of all users count."""
    names: tuple[str, ...]
    """The programs that took the most, in descending order; empty if none could be seen."""

    def words(self) -> str:
        named = f": {', '.join(self.names)}" if self.names else ""
        return f"other programs took {100 * self.share:.0f} % of the processor{named}"

    def taking(self) -> str:
        """Return a clause such as ``python takes 100 % of the processor``."""
        who = ", ".join(self.names) or "other programs"
        verb = "takes" if len(self.names) == 1 else "take"
        return f"{who} {verb} {100 * self.share:.0f} % of the processor"


@dataclass(slots=True)
class Company:
    """Adds up the processor time that other programs took between two readings; :meth:`look` takes a reading."""

    _taken: dict[str, float] = field(default_factory=dict)
    _before: Mapping[int, tuple[str, float]] | None = None
    _busy: float = 0.0
    _total: float = 0.0
    _all: float = 0.0
    _others: float = 0.0

    def look(self, ours: Collection[int], ours_got: float) -> None:
        """Take a reading.

        ``ours`` are the run's processes, which got ``ours_got`` processor seconds since the last reading.
        """
        now, (busy, total) = _processes(), _machine()
        if self._before is not None:
            for pid, (name, seconds) in now.items():
                if pid in ours or pid == os.getpid():
                    continue
                if (grown := seconds - self._before.get(pid, ("", 0.0))[1]) > 0:
                    self._taken[name] = self._taken.get(name, 0.0) + grown
            self._others += max(busy - self._busy - ours_got, 0.0)
            self._all += max(total - self._total, 0.0)
        self._before, self._busy, self._total = now, busy, total

    @property
    def looking(self) -> bool:
        """Whether a reading was taken since the last :meth:`rest`."""
        return self._before is not None

    def rest(self) -> None:
        """Discard the last reading, so that the time until the next reading is not counted."""
        self._before = None

    def others(self) -> Others | None:
        """Return the time that other programs took, or None if there have not been two readings in a row yet."""
        if self._all <= 0:
            return None
        most = sorted(self._taken.items(), key=lambda each: -each[1])
        least = _LEAST_SHARE * sum(self._taken.values())
        names = dict.fromkeys(_KNOWN.get(name, name) for name, seconds in most if seconds >= least)
        return Others(min(self._others / self._all, 1.0), tuple(names)[:_MOST_NAMED])


def _machine() -> tuple[float, float]:
    """Return two sums over all processors since the machine started, in seconds: the time in use, and all time."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # The time of guests is already included in the time of users.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - idle, total


def _processes() -> dict[int, tuple[str, float]]:
    """Return the name and the processor seconds of every visible process, by process id."""
    return _from_ps(_ps()) if sys.platform == "darwin" else _from_proc()


def _from_proc() -> dict[int, tuple[str, float]]:
    """Read /proc/PID/stat, proc(5), of every process.

    The name is in brackets.  Fields 14 and 15 are user time and kernel time in clock ticks.
    """
    found: dict[int, tuple[str, float]] = {}
    ticks = os.sysconf("SC_CLK_TCK")
    for pid in psutil.pids():
        with contextlib.suppress(OSError, ValueError, IndexError):
            file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
            try:
                head, _, rest = os.read(file, 4096).decode(errors="replace").rpartition(")")
            finally:
                os.close(file)
            fields = rest.split()
            found[pid] = head.partition("(")[2], (int(fields[11]) + int(fields[12])) / ticks
    return found


def _ps() -> str:
    """Return the output of macOS's ps, which sees the processes of all users; libproc does not."""
    command = ["ps", "-A", "-o", "pid=,time=,comm="]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PS_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
            check=True,
        )
        return done.stdout
    return ""


def _from_ps(text: str) -> dict[int, tuple[str, float]]:
    """Read the output of ps: lines such as ``  312  12:34.56 /usr/libexec/mds_stores``.

    The time is minutes and seconds, with or without hours; without hours, the minutes may exceed 59.
    """
    found: dict[int, tuple[str, float]] = {}
    for line in text.splitlines():
        pid, _, rest = line.strip().partition(" ")
        spent, _, path = rest.strip().partition(" ")
        with contextlib.suppress(ValueError):
            seconds = 0.0
            for part in spent.split(":"):
                seconds = 60 * seconds + float(part)
            found[int(pid)] = PurePath(path.strip()).name, seconds
    return found
