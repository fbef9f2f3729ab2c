"""List all processes, and measure the memory of a process and the disk space of a folder, on Linux and macOS."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

MOST_FILES = 10_000
"""Number of files in a run folder at which counting ends and the child is killed; an ordinary run makes a handful."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a process: its parent, its session and the time of its start."""

    parent: int
    session: int | None
    """The id of the process's session, or None if the system does not report it."""
    began: float
    """The time at which the process started, in seconds since 1970."""


def processes() -> dict[int, Origin]:
    """Return the origin of each process of the machine, by process id.

    On Linux this function reads one file for each process, which takes a few microseconds.  psutil reads three files
    for each process.  The watch calls this function several times a second, so psutil would slow down the run.
    """
    return _from_proc(psutil.boot_time()) if sys.platform == "linux" else _from_psutil()


def _from_proc(boot: float) -> dict[int, Origin]:
    """Read /proc/PID/stat, proc(5), of every process; ``boot`` is when the machine started, in seconds since 1970.

    The name of the process ends with the last bracket.  Field 4 is the parent, field 6 the session, and field 22 the
    start of the process in clock ticks after ``boot``.
    """
    found: dict[int, Origin] = {}
    ticks = os.sysconf("SC_CLK_TCK")
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            fields = _stat(pid).rpartition(b")")[2].split()
            found[pid] = Origin(int(fields[1]), int(fields[3]), boot + int(fields[19]) / ticks)
    return found


def _stat(pid: int) -> bytes:
    """Read a process's file /proc/PID/stat in one call.

    Path.read_bytes takes three times as long, and the machine may have many processes.
    """
    file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    try:
        return os.read(file, 4096)
    finally:
        os.close(file)


def _from_psutil() -> dict[int, Origin]:
    found: dict[int, Origin] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found[process.pid] = Origin(process.ppid(), session(process.pid), process.create_time())
    return found


def session(pid: int) -> int | None:
    """Return the session id of a process, or None if it has ended or the system does not report it."""
    with contextlib.suppress(OSError):
        return os.getsid(pid)
    return None


def resident(process: psutil.Process) -> int:
    """Return the bytes of main memory and swap that a process uses, or 0 if it has ended.

    Pages of mapped files, such as the training rows of a large corpus, do not count, because the system drops these
    pages when it needs memory.
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
    """Return the bytes on disk and the number of files below a folder.

    Counting ends at MOST_FILES.  Links are not followed.
    """
    size = files = 0
    for entry in _walk(folder):
        files += 1
        with contextlib.suppress(OSError):
            size += entry.stat(follow_symlinks=False).st_blocks * 512
        if files >= MOST_FILES:
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
    """Return the sum of RssAnon, RssShmem and VmSwap in /proc/PID/status, proc(5), in bytes."""
    total = 0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(("RssAnon:", "RssShmem:", "VmSwap:")):
            total += int(line.split()[1]) * 1024
    return total


def proportional(process: psutil.Process) -> int:
    """Return the memory of a process in bytes, with each shared page divided by the number of its users (PSS).

    Returns the resident size if the system does not report the PSS, and 0 if the process has ended.
    """
    try:
        full = process.memory_full_info()
        return int(full.pss + full.swap) if hasattr(full, "pss") else resident(process)
    except (psutil.Error, OSError):
        return 0


def _footprint(pid: int) -> int | None:
    """Return the memory footprint of a process in bytes, or None if macOS does not report it.

    This is ri_phys_footprint of proc_pid_rusage (<libproc.h>): resident memory, compressed memory, and the memory that
    Metal uses for the process.  Activity Monitor shows the footprint as "Memory".  This function has not been run on a
    Mac yet.
    """
    import ctypes

    class Usage(ctypes.Structure):
        _fields_ = (("uuid", ctypes.c_uint8 * 16), ("numbers", ctypes.c_uint64 * 10))

    usage = Usage()
    libc = ctypes.CDLL(None)
    if libc.proc_pid_rusage(pid, 0, ctypes.byref(usage)) != 0:
        return None
    return int(usage.numbers[7])
