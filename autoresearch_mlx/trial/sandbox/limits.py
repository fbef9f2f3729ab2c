"""Watch a child from the parent: its memory, its number of processes, its disk, and processes that left its group.

    watch = Watch(limits, marker)
    ... pass {MARKER: marker} to the child; ten times a second:
    if (reason := watch.check(child.pid)) is not None: kill the group
    ... when the child has ended, or was killed, and was waited for:
    end_strays(watch)

The watch knows the child, and every process that it has found so far.  It finds a process that left the group in three
ways:

- the process descends from a known process;
- the process belongs to the same session of the system as a known process;
- the process has the marker in its environment, which psutil reads on Linux and macOS.

The watch misses a process only if the process starts its own session, loses its parent and clears its environment, all
between two checks.  Inside the Linux sandbox no process can leave the group at all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from autoresearch_mlx.trial.sandbox.enter import ENTER
from autoresearch_mlx.trial.sandbox.usage import (
    MOST_FILES,
    Origin,
    folder_usage,
    processes,
    proportional,
    resident,
    session,
)

MARKER = "AUTORESEARCH_RUN"
_SAMPLE_SECONDS = 0.1
"""Longest time between two readings of the memory of known processes."""
_FIRST_SAMPLE_SECONDS = 0.001
_SAMPLES_PER_AGE = 10
"""The pause between two readings of the memory is the run's age divided by this number.

So even a program that runs for only 0.1 s shows its peak.
"""
_LOOK_SECONDS = 0.5
"""Longest time in seconds between two searches for new processes.  A search reads the whole table of processes.

Early in a run, a search begins each time the run's age has doubled.
"""
_FIRST_LOOK_SECONDS = 0.003
"""Shortest time in seconds between two searches for new processes."""
_FOLDER_SECONDS = 0.5
"""Seconds between two measurements of the run folder's size and of the free space on its disk."""
_GB = 1e9
DISK_LEFT = "of disk are left"
"""Words in the message about a run that was killed because the disk was nearly full.

The run itself or another program may have filled the disk.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on what a run may use; None means no limit."""

    folder: Path | None = None
    """The run folder, whose size and free disk space are watched if they have limits."""
    memory_bytes: int | None = None
    """Maximum memory that the child and its descendants may use together."""
    folder_bytes: int | None = None
    """Maximum number of bytes that the run folder may hold."""
    free_bytes: int | None = None
    """Bytes that must stay free on the disk."""
    processes: int | None = None
    """Maximum number of processes, including the child itself."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one check measured; None means that the check did not measure this number."""

    memory_bytes: int | None = None
    folder_bytes: int | None = None
    files: int | None = None
    free_bytes: int | None = None
    processes: int | None = None


def exceeded(sample: Sample, limits: Limits) -> str | None:
    """Return the limit that the child exceeded, as a sentence; None if it exceeded no limit."""
    if _over(sample.memory_bytes, limits.memory_bytes):
        used, allowed = _gb(sample.memory_bytes), _gb(limits.memory_bytes)
        return f"the run used {used} of memory, and a run may use {allowed}"
    if _over(sample.processes, limits.processes):
        return f"the run had {sample.processes} processes, and a run may have {limits.processes}"
    if _over(sample.folder_bytes, limits.folder_bytes):
        wrote, allowed = _gb(sample.folder_bytes), _gb(limits.folder_bytes)
        return f"the run wrote {wrote} into its folder, and a run may write {allowed}"
    if sample.files is not None and sample.files >= MOST_FILES:
        return f"the run made more than {MOST_FILES:,} files"
    if _over(limits.free_bytes, sample.free_bytes):
        return f"{_gb(sample.free_bytes)} {DISK_LEFT}, and {_gb(limits.free_bytes)} must stay free"
    return None


class Watch:
    """The watch over one child: the limits, and all processes of the child's run that were found.

    ``marker`` is the value of the variable MARKER in the child's environment, or an empty string if MARKER is not set.
    """

    def __init__(self, limits: Limits, marker: str = "") -> None:
        self.limits = limits
        self.peak_bytes: int | None = None
        """Largest memory that the child and its descendants were seen to use together, in bytes."""
        self._marker = marker
        self._began = time.time()
        self._known: dict[int, psutil.Process] = {}
        self._leader: int | None = None
        self._sessions: set[int] = set()
        self._first: float | None = None
        self._looked = self._sampled = self._walked = float("-inf")
        self._entering = True
        """Whether the child may still be running the small program that sets up the sandbox.

        The memory of this program does not count for the peak.
        """
        self._doubted = False

    def check(self, pid: int) -> str | None:
        """Check the child ``pid`` and its descendants; return the limit that they exceeded, as a sentence, or None.

        The child must be the leader of its session.  Most calls take about 0.1 ms.  A call takes a few milliseconds if
        it searches for new processes or measures the folder.
        """
        self._leader = pid
        self._sessions.add(pid)
        now = time.monotonic()
        if self._first is None:
            self._first = now
        if now - self._sampled < self.pause(now):
            return None
        self._sampled = now
        family = None
        if now - self._looked >= min(_LOOK_SECONDS, max(_FIRST_LOOK_SECONDS, (now - self._first) / 2)):
            self._looked, family = now, len(self._look())
        if now - self._walked < _FOLDER_SECONDS:
            return exceeded(Sample(memory_bytes=self._memory(), processes=family), self.limits)
        sample = self._sample(family)
        self._walked = time.monotonic()
        return exceeded(sample, self.limits)

    def pause(self, now: float | None = None) -> float:
        """Return how many seconds to wait between two calls of :meth:`check`; the older the run, the longer."""
        age = 0.0 if self._first is None else (time.monotonic() if now is None else now) - self._first
        return min(_SAMPLE_SECONDS, max(_FIRST_SAMPLE_SECONDS, age / _SAMPLES_PER_AGE))

    def cpu_seconds(self) -> float:
        """Return the processor time, in seconds, of the known processes and of their children that have ended."""
        total = 0.0
        for process in list(self._known.values()):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def pids(self) -> list[int]:
        """Return the process ids of the run's known processes, the child first; empty before the first check."""
        known = list(self._known)
        return known if self._leader is None else [self._leader, *(pid for pid in known if pid != self._leader)]

    def strays(self) -> list[psutil.Process]:
        """Return the living processes of the run, including the child; an empty list if all have ended."""
        self._look(deep=True)
        return [process for process in self._known.values() if _alive(process)]

    def _sample(self, processes: int | None) -> Sample:
        folder, size, files, free = self.limits.folder, None, None, None
        if folder is not None and self.limits.folder_bytes is not None:
            size, files = folder_usage(folder)
        if folder is not None and self.limits.free_bytes is not None:
            with contextlib.suppress(OSError):
                free = shutil.disk_usage(folder).free
        return Sample(self._memory(), size, files, free, processes)

    def _memory(self) -> int | None:
        """Return the memory of all known processes together, in bytes, or None if one more check must confirm the sum.

        Resident sizes count a shared page once for each process.  So if the sum is above the limit, the sum is computed
        again in a slower way, with each shared page divided by the number of its users.  Between vfork and exec, a
        child shows its parent's memory a second time.  So a sum of several processes must be above the limit in two
        checks.  The memory of the program that sets up the sandbox does not count for the peak.  The returned sum
        includes this memory, because otherwise a child with a similar command line could escape the limit.
        """
        limit, family = self.limits.memory_bytes, list(self._known.values())
        if self._entering and self._leader in self._known:
            self._entering = _is_entering(self._known[self._leader])
            self._first = time.monotonic()  # the run's age counts from the start of its command
        total = sum(map(resident, family))
        if limit is not None and total > limit and len(family) > 1:
            total = min(total, sum(map(proportional, family)))
            doubted, self._doubted = self._doubted, total > limit
            if self._doubted and not doubted:
                return None
        if not self._entering:
            self.peak_bytes = max(self.peak_bytes or 0, total)
        return total

    def _look(self, deep: bool = False) -> dict[int, psutil.Process]:
        """Find new processes of the run; return all known processes by process id.

        With ``deep``, the search also looks for the marker in environments, which takes longer.
        """
        self._known = {pid: process for pid, process in self._known.items() if _alive(process)}
        origins = processes()
        for pid in _descendants({self._leader, *self._known} - {None}, origins):
            self._learn(pid)
        for pid in origins.keys() - self._known.keys():
            if origins[pid].session in self._sessions or (deep and self._marked(pid, origins[pid])):
                self._learn(pid)
        ours = session(os.getpid())
        self._sessions |= {sid for sid in map(session, self._known) if sid is not None and sid != ours}
        return self._known

    def _learn(self, pid: int) -> None:
        """Remember the process ``pid`` with its start time, because the system may give its id to a later process."""
        if pid in self._known:
            return
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.create_time() >= self._began - 2 and pid != os.getpid():
                self._known[pid] = process

    def _marked(self, pid: int, origin: Origin) -> bool:
        if not self._marker or origin.began < self._began - 2:
            return False
        with contextlib.suppress(psutil.Error, OSError):
            return psutil.Process(pid).environ().get(MARKER) == self._marker
        return False


def end_strays(watch: Watch, seconds: float = 2.0) -> int:
    """Kill the remaining processes of a run; return how many were killed.

    The search and the killing are repeated until no process is found, for at most ``seconds``.  All processes are
    suspended before the first is killed, so that none can start a new process in between.  Wait for the child itself
    before the call; otherwise its exit code is lost.
    """
    killed: set[tuple[int, float]] = set()
    end = time.monotonic() + seconds
    while (left := watch.strays()) and time.monotonic() < end:
        for action in (psutil.Process.suspend, psutil.Process.kill):
            for process in left:
                with contextlib.suppress(psutil.Error):
                    action(process)
        killed |= {(process.pid, process.create_time()) for process in left}
        psutil.wait_procs(left, timeout=0.2)
    return len(killed)


def _descendants(of: Iterable[int | None], origins: Mapping[int, Origin]) -> set[int]:
    found = {pid for pid in of if pid is not None}
    while more := {pid for pid, origin in origins.items() if origin.parent in found} - found:
        found |= more
    return found


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _is_entering(process: psutil.Process) -> bool:
    """Return whether the command line of a process is that of the program that sets up the sandbox."""
    try:
        return ENTER in process.cmdline()
    except psutil.Error:
        return False


def _over(value: int | None, limit: int | None) -> bool:
    return value is not None and limit is not None and value > limit


def _gb(size: int | None) -> str:
    return f"{(size or 0) / _GB:.1f} GB" if (size or 0) >= 0.1 * _GB else f"{(size or 0) / 1e6:.0f} MB"
