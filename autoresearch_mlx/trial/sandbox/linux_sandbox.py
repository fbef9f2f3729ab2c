"""Confine a process on Linux: Landlock for files, seccomp for system calls, both set up by the process itself.

No other process supervises the child, so it keeps its process group, its pipes and its exit code.  (The library
sandlock 0.9 was tried and rejected: it puts the child into another group, closes the inherited event pipe, reports
every death by a signal as exit code 255, and lets the child make stream and Unix sockets.)

Every process may also use the system files below, whatever its permissions.  They are the files that a training run
opened under strace (Linux 6.18, Python 3.11, MLX 0.32 for a CPU), and files that such programs commonly open.  Only the
first line is indispensable: MLX could still multiply when any other single line was removed.

    /usr /bin /lib ...     programs, libraries, locales: also sh and g++, which MLX for a CPU calls at its start
    /etc/ld.so.*           the dynamic loader
    /etc/ssl/openssl.cnf   read by Python's hashlib
    /etc/localtime         local times in a log
    /etc/passwd, group ..  the user's name, which libraries look up
    /dev/null, zero, ...   devices without content
    /sys/devices/system    number of processors and their caches, for OpenBLAS
    /proc/self, cpuinfo .. facts about this process and this machine, not about other processes

Six folders are not needed, and are closed: /dev/shm (so multiprocessing has no locks), /run, /tmp, /home, /root, /var.
A process cannot change the mode or the owner of any file, not even in the run folder.  Landlock has no right for modes
and owners, so seccomp refuses these changes everywhere.  Therefore shutil.copyfile works, but shutil.copy does not.
With a GPU, a process may also use the device files /dev/nvidia*, all of /proc, and the parts of /sys where CUDA finds
its cards.  This part was not tested with CUDA.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from autoresearch_mlx.trial.sandbox import landlock, seccomp
from autoresearch_mlx.trial.sandbox.permissions import Permissions, spared

_SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/alternatives",
    "/etc/localtime", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/openssl.cnf",
    "/sys/devices/system", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_CUDA_READ = ("/proc", "/sys/bus/pci", "/sys/devices", "/sys/module", "/sys/class")
_CUDA_DEVICES = ("nvidia*", "nvidia-caps/*", "dxg")

_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 38, 24
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION = 0x20080522
_KEPT_CAPABILITIES = 0b110
"""The capabilities CAP_DAC_OVERRIDE (bit 1) and CAP_DAC_READ_SEARCH (bit 2), capabilities(7).

Root keeps these two capabilities, because in a container root often works on the files of another user.
"""


def why_not() -> str | None:
    """Return the reason why this kernel cannot confine a process, as a sentence, or None if it can."""
    if not seccomp.supported():
        return f"the system-call filter is not written for {platform.machine()}, only for x86_64 and aarch64"
    version = landlock.abi()
    if version == 0:
        return f"Linux {platform.release()} offers no Landlock here (not built in, or switched off at boot)"
    if version < landlock.LEAST_ABI:
        return f"Linux {platform.release()} has version {version} of Landlock; version 3, of Linux 6.2, is needed"
    return None


def lacks() -> tuple[str, ...]:
    """Return phrases that name the gaps and the side effects of this kernel's sandbox."""
    said = ["names, sizes and times of all files can be read, and reading a file may change its access time"]
    if landlock.abi() < landlock.SIGNALS_ABI:
        said.append("a child cannot signal its own children (before Linux 6.12)")
    return tuple(said)


def confine(permissions: Permissions, version: int | None = None) -> None:
    """Confine this process permanently, and every program that it starts or that replaces it.  Raises OSError.

    A second call can only remove more rights; it restores none.  ``version`` is the version of Landlock to use, by
    default the kernel's.
    """
    version = landlock.abi() if version is None else version
    libc = ctypes.CDLL(None, use_errno=True)
    # The kernel requires no_new_privs before an ordinary process installs a filter, because otherwise the filter could
    # change what setuid programs do.
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, f"no_new_privs: {errno.errorcode.get(code, code)}")
    _drop_capabilities(libc)
    landlock.restrict(_rules(permissions), permissions.network, version, permissions.ports)
    own = None if version >= landlock.SIGNALS_ABI else os.getpid()
    fork, leave = permissions.processes != 1, permissions.leave_group
    seccomp.install(seccomp.Rules(permissions.network, fork, leave, own, bool(permissions.ports)))


def _rules(permissions: Permissions) -> Iterator[tuple[Path, int]]:
    for path in (*map(Path, _SYSTEM), *permissions.read):
        for part, whole in spared(path, permissions.closed):
            yield part, landlock.READ if whole else landlock.LIST
    yield from ((path, landlock.LIST) for path in permissions.listed)
    yield from ((path, landlock.WRITE) for path in permissions.write)
    yield from ((Path(path), landlock.DEVICE) for path in _DEVICES)
    if permissions.gpu:
        yield from ((Path(path), landlock.READ) for path in _CUDA_READ)
        for pattern in _CUDA_DEVICES:
            yield from ((path, landlock.DEVICE) for path in Path("/dev").glob(pattern) if not path.is_dir())


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Drop most of root's capabilities, because root could use them to raise its limits again.

    For other users this function changes nothing.
    """
    for capability in range(64):
        if not _KEPT_CAPABILITIES >> capability & 1:
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if os.geteuid() == 0:
        kept = _Sets(_KEPT_CAPABILITIES, _KEPT_CAPABILITIES, 0)
        libc.syscall(
            _CAPSET[platform.machine()],
            ctypes.byref(_Header(_CAPABILITY_VERSION, 0)),
            ctypes.byref((_Sets * 2)(kept, _Sets(0, 0, 0))),
        )
