"""Read the processor time that a run's processes got, and the time for which their threads had to wait for a processor.

A thread waits if it could run but gets no processor, because of other programs, a quota or a low priority.  A thread
that sleeps, or waits for a disk, does not count as waiting.  So the two times show how much processor time the run
wanted and did not get.  The kernel measures both times, so the edited file cannot forge them.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import psutil

Totals: TypeAlias = Mapping[tuple[int, int], tuple[float, float]]
"""(process id, thread id) -> seconds of processor time and seconds of waiting so far; thread 0 means all threads."""

_RUNNABLE = 34
"""Index of ri_runnable_time among the numbers of rusage_info_v4 in <sys/resource.h>; ri_user_time has index 0."""


@dataclass(frozen=True, slots=True)
class Use:
    """What all threads of a run together got between two readings: processor time and waiting time, in seconds."""

    got: float = 0.0
    waited: float = 0.0

    def share(self, wall: float, cores: int) -> float:
        """Return the run's pace in ``wall`` seconds on ``cores`` processors, as a share of its undisturbed pace.

        The time that the run lost is at most the processor time that the run did not use.  Without this limit, a run
        with more busy threads than processors would seem disturbed, because its threads wait for each other.  For a run
        with one busy thread, the share is ``got / wall``.
        """
        lost = min(self.waited, max(cores * wall - self.got, 0.0))
        wanted = max(wall, self.got + lost)
        return 1.0 - lost / wanted if wanted > 0 else 1.0


def used(before: Totals, after: Totals) -> Use:
    """Return the processor time and the waiting time between two readings.

    If a thread began between the readings, all of its time counts.  If a thread ended between the readings, none of its
    time counts.
    """
    got = waited = 0.0
    for thread, (ran, wanted) in after.items():
        ran_before, wanted_before = before.get(thread, (0.0, 0.0))
        got += max(ran - ran_before, 0.0)
        waited += max(wanted - wanted_before, 0.0)
    return Use(got, waited)


def totals(pids: Iterable[int]) -> Totals | None:
    """Return the totals of the processes ``pids``, or None if the system does not report how long threads wait."""
    if sys.platform == "darwin":
        return {(pid, 0): found for pid in pids if (found := _from_libproc(pid)) is not None}
    if sys.platform == "linux":
        return _from_schedstat(pids)
    return None


def _from_schedstat(pids: Iterable[int]) -> Totals | None:
    """Read /proc/PID/task/TID/schedstat: for how many nanoseconds a thread ran, and waited in a run queue.

    Source: the kernel's Documentation/scheduler/sched-stats.rst.  Time in a throttled control group counts as waiting.
    """
    found: dict[tuple[int, int], tuple[float, float]] = {}
    for pid in pids:
        folder = f"/proc/{pid}/task"
        with contextlib.suppress(OSError, ValueError):  # the process or a thread has ended
            for thread in os.listdir(folder):  # noqa: PTH208 - ten times as fast as Path.iterdir
                file = os.open(f"{folder}/{thread}/schedstat", os.O_RDONLY)
                try:
                    ran, waited, _ = os.read(file, 128).split()
                finally:
                    os.close(file)
                found[pid, int(thread)] = int(ran) / 1e9, int(waited) / 1e9
    return found if found or os.path.exists("/proc/self/schedstat") else None  # noqa: PTH110


def _from_libproc(pid: int) -> tuple[float, float] | None:
    """Return the processor time and the waiting time of a process, in seconds, or None if macOS does not report them.

    Both come from proc_pid_rusage (<libproc.h>), which gives times in ticks of mach_absolute_time.  The waiting time is
    the time for which threads were runnable, minus the processor time.  This function has not been run on a Mac yet.
    """
    import ctypes

    class Usage(ctypes.Structure):
        _fields_ = (("uuid", ctypes.c_uint8 * 16), ("numbers", ctypes.c_uint64 * 35))

    class Timebase(ctypes.Structure):
        _fields_ = (("numer", ctypes.c_uint32), ("denom", ctypes.c_uint32))

    usage, base = Usage(), Timebase()
    libc = ctypes.CDLL(None)
    if libc.proc_pid_rusage(pid, 4, ctypes.byref(usage)) != 0 or libc.mach_timebase_info(ctypes.byref(base)) != 0:
        return None
    second = 1e9 * base.denom / base.numer
    ran, runnable = usage.numbers[0] + usage.numbers[1], usage.numbers[_RUNNABLE]
    return ran / second, max(runnable - ran, 0) / second


def stopped(pid: int) -> bool:
    """Return whether a signal (SIGSTOP) has stopped a process, which then neither runs nor waits."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
            try:
                return os.read(file, 512).rpartition(b")")[2].split()[:1] == [b"T"]
            finally:
                os.close(file)
        return False
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return False


def cores() -> int:
    """Return the number of processors that this process and its children may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
