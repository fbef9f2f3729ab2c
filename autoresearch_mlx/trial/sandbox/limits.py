"""What the parent watches while a child runs: memory and number of its processes, disk, and who left the group.

    watch = Watch(limits, marker)
    ... pass {MARKER: marker} to the child; ten times a second:
    if (reason := watch.check(child.pid)) is not None: kill the group
    ... when the child has ended, or was killed, and was waited for:
    end_strays(watch)

What finds a process that left: it descends from the child or from one seen before, it is in a session in which
one was seen, or it carries the marker in its environment (read through psutil on Linux and macOS).  Not found: a
process that took a session of its own, lost its parent and cleared its environment, all between two looks.
Inside the Linux sandbox no process can leave at all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

MARKER = "AUTORESEARCH_RUN"
_SAMPLE_SECONDS = 0.05
_LOOK_SECONDS = 0.5
"""Between two looks at all processes, and at the run folder; memory of those known is read at each call."""
_MOST_FILES = 10_000
"""A run folder holds a handful; counting more would cost more than it tells."""
_GB = 1e9


@dataclass(frozen=True, slots=True)
class Limits:
    """None: not limited."""

    folder: Path | None = None
    """The run folder: its growth and the free space of its disk are watched, where they are limited."""
    memory_bytes: int | None = None
    """Of the child and its descendants together."""
    folder_bytes: int | None = None
    free_bytes: int | None = None
    """What must stay free on the disk."""
    processes: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one look; None: not known."""

    memory_bytes: int | None = None
    folder_bytes: int | None = None
    files: int | None = None
    free_bytes: int | None = None
    processes: int | None = None


def exceeded(sample: Sample, limits: Limits) -> str | None:
    """Why the child is to be killed, in words; None while all is within the limits."""
    if _over(sample.memory_bytes, limits.memory_bytes):
        return f"it used {_gb(sample.memory_bytes)} of the {_gb(limits.memory_bytes)} of memory that a run may use"
    if _over(sample.processes, limits.processes):
        return f"it was {sample.processes} processes, and a run may be {limits.processes}"
    if _over(sample.folder_bytes, limits.folder_bytes):
        wrote, allowed = _gb(sample.folder_bytes), _gb(limits.folder_bytes)
        return f"it wrote {wrote} into its folder, and a run may write {allowed}"
    if sample.files is not None and sample.files >= _MOST_FILES:
        return f"it made more than {_MOST_FILES:,} files"
    if _over(limits.free_bytes, sample.free_bytes):
        return f"{_gb(sample.free_bytes)} of disk are left, and {_gb(limits.free_bytes)} must stay free"
    return None


class Watch:
    """One child's limits, and which processes were seen to belong to it.

    ``marker``: what they carry in their environment; empty when they carry nothing.
    """

    def __init__(self, limits: Limits, marker: str = "") -> None:
        self.limits = limits
        self.peak_bytes: int | None = None
        """Most memory seen of the child and its descendants together."""
        self._marker = marker
        self._began = time.time()
        self._known: dict[int, psutil.Process] = {}
        self._leader: int | None = None
        self._sessions: set[int] = set()
        self._looked = self._sampled = 0.0
        self._doubted = False

    def check(self, pid: int) -> str | None:
        """Look at the child ``pid``, a session leader, and its family; the reason to kill it, or None.

        Some 0.1 ms a call, and a few milliseconds every half second.
        """
        self._leader = pid
        self._sessions.add(pid)
        now = time.monotonic()
        if now - self._sampled < _SAMPLE_SECONDS:
            return None
        self._sampled = now
        if now - self._looked < _LOOK_SECONDS:
            return exceeded(Sample(memory_bytes=self._memory()), self.limits)
        family = self._look()
        sample = self._sample(len(family))
        self._looked = time.monotonic()
        return exceeded(sample, self.limits)

    def strays(self) -> list[psutil.Process]:
        """Living processes of the run, the child itself included; empty once all is over."""
        self._look(deep=True)
        return [process for process in self._known.values() if _alive(process)]

    def _sample(self, processes: int) -> Sample:
        folder, size, files, free = self.limits.folder, None, None, None
        if folder is not None and self.limits.folder_bytes is not None:
            size, files = folder_usage(folder)
        if folder is not None and self.limits.free_bytes is not None:
            with contextlib.suppress(OSError):
                free = shutil.disk_usage(folder).free
        return Sample(self._memory(), size, files, free, processes)

    def _memory(self) -> int | None:
        """Shared pages count once for each process at first, and by shares when that is too much.

        Too much of several processes is believed at the second look: between vfork and exec a child is its
        parent's memory once more.
        """
        limit, family = self.limits.memory_bytes, list(self._known.values())
        total = sum(map(resident, family))
        if limit is not None and total > limit and len(family) > 1:
            total = min(total, sum(map(_proportional, family)))
            doubted, self._doubted = self._doubted, total > limit
            if self._doubted and not doubted:
                return None
        self.peak_bytes = max(self.peak_bytes or 0, total)
        return total

    def _look(self, deep: bool = False) -> dict[int, psutil.Process]:
        """Learn of new members of the family.  ``deep`` also reads environments, which is dearer."""
        self._known = {pid: process for pid, process in self._known.items() if _alive(process)}
        parents = _parents()
        for pid in _descendants({self._leader, *self._known} - {None}, parents):
            self._learn(pid)
        for pid in parents.keys() - self._known.keys():
            if _session(pid) in self._sessions or (deep and self._marked(pid)):
                self._learn(pid)
        ours = _session(os.getpid())
        self._sessions |= {sid for sid in map(_session, self._known) if sid is not None and sid != ours}
        return self._known

    def _learn(self, pid: int) -> None:
        """Remembered with its start time, so that a number given out anew is not mistaken for it."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.create_time() >= self._began - 2 and pid != os.getpid():
                self._known.setdefault(pid, process)

    def _marked(self, pid: int) -> bool:
        if not self._marker:
            return False
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            return process.create_time() >= self._began - 2 and process.environ().get(MARKER) == self._marker
        return False


def end_strays(watch: Watch, seconds: float = 2.0) -> int:
    """Kill what is left of a run, again and again until nothing is found; how many were killed.

    Stopped first, so that none makes another while its siblings are killed.  The child itself must have been waited
    for: its exit code would be lost here.
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


def resident(process: psutil.Process) -> int:
    """Bytes of main memory, and of swap, that a process takes; 0 when it is gone.

    Pages of mapped files do not count: the system drops them when it needs the room, and the training rows of
    a large corpus are nothing else.
    """
    try:
        if sys.platform == "darwin":
            return _footprint(process.pid) or int(process.memory_info().rss)
        if sys.platform == "linux":
            return _from_status(process.pid)
        return int(process.memory_info().rss)
    except (psutil.Error, OSError, ValueError):
        return 0


def folder_usage(folder: Path) -> tuple[int, int]:
    """Bytes on disk and number of files below a folder, counted up to ten thousand; links are not followed."""
    size = files = 0
    for entry in _walk(folder):
        files += 1
        with contextlib.suppress(OSError):
            size += entry.stat(follow_symlinks=False).st_blocks * 512
        if files >= _MOST_FILES:
            break
    return size, files


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    waiting = [str(folder)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def _from_status(pid: int) -> int:
    """RssAnon, RssShmem and VmSwap of /proc/PID/status, given in kB."""
    total = 0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(("RssAnon:", "RssShmem:", "VmSwap:")):
            total += int(line.split()[1]) * 1024
    return total


def _proportional(process: psutil.Process) -> int:
    """Each shared page divided by the number of those who share it, where the system says so."""
    try:
        full = process.memory_full_info()
        return int(full.pss + full.swap) if hasattr(full, "pss") else resident(process)
    except (psutil.Error, OSError):
        return 0


def _footprint(pid: int) -> int | None:
    """macOS's own count (ri_phys_footprint): resident, compressed, and what Metal holds.  Not run on a Mac yet."""
    import ctypes

    class Usage(ctypes.Structure):
        _fields_ = (("uuid", ctypes.c_uint8 * 16), ("numbers", ctypes.c_uint64 * 10))

    usage = Usage()
    libc = ctypes.CDLL(None)
    if libc.proc_pid_rusage(pid, 0, ctypes.byref(usage)) != 0:
        return None
    return int(usage.numbers[7])


def _parents() -> dict[int, int]:
    """Parent of each process."""
    found: dict[int, int] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found[process.pid] = process.ppid()
    return found


def _descendants(of: Iterable[int | None], parents: dict[int, int]) -> set[int]:
    found = {pid for pid in of if pid is not None}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _session(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return os.getsid(pid)
    return None


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _over(value: int | None, limit: int | None) -> bool:
    return value is not None and limit is not None and value > limit


def _gb(size: int | None) -> str:
    return f"{(size or 0) / _GB:.1f} GB" if (size or 0) >= 0.1 * _GB else f"{(size or 0) / 1e6:.0f} MB"
