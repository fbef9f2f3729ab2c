"""Call Landlock, the Linux kernel's own sandbox: a process names files and gives up access to all others for ever.

A right on a folder applies to everything below it, and no rule can exclude a part of the folder.  The numbers are from
<linux/landlock.h>, and https://docs.kernel.org/userspace-api/landlock.html describes the interface.  Each version (ABI)
added something: 2 (Linux 5.19) renaming between folders, 3 (6.2) truncating, 4 (6.7) TCP, 5 (6.10) ioctl on devices, 6
(6.12) signals and abstract Unix sockets.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

LEAST_ABI = 3
"""The oldest usable version (Linux 6.2); older versions let a process truncate any file."""
PORTS_ABI = 4
"""The first version (Linux 6.7) that can confine TCP to ports."""
SIGNALS_ABI = 6
"""The first version (Linux 6.12) that can also confine signals and abstract Unix sockets."""

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << n for n in range(6))
_MAKE_DIR, _MAKE_REG, _REFER, _TRUNCATE, _IOCTL_DEV = 1 << 7, 1 << 8, 1 << 13, 1 << 14, 1 << 15
_ALL_FILE_RIGHTS = (1 << 16) - 1
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

LIST = _READ_DIR
READ = _EXECUTE | _READ_FILE | _READ_DIR
WRITE = _READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE | _MAKE_DIR | _MAKE_REG | _REMOVE_DIR | _REMOVE_FILE | _REFER
"""Rights to change files, without the rights to make links, pipes and sockets.

The parent opens files in the folder that a child writes to.  A link in this folder could make the parent read a file
that the child may not read.
"""
DEVICE = _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Numbers of Landlock's three system calls, which are the same on every architecture."""
_VERSION_FLAG = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_CONNECT_TCP = 1 << 1


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("rights", ctypes.c_uint64), ("folder", ctypes.c_int32))


class _NetPort(ctypes.Structure):
    _fields_ = (("rights", ctypes.c_uint64), ("port", ctypes.c_uint64))


def abi() -> int:
    """Return the kernel's version of Landlock, or 0 if the kernel has no Landlock or it is switched off."""
    with contextlib.suppress(OSError):
        return _call(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    return 0


def restrict(rules: Iterable[tuple[Path, int]], network: bool, version: int, ports: Sequence[int] = ()) -> None:
    """Give up this process's access to all files and TCP ports except those in ``rules`` and ``ports``.

    ``rules`` has pairs of a path and the rights on this path; a path that does not exist is skipped.  ``version`` is
    the kernel's version of Landlock.  With ``network``, all TCP stays allowed.  The process must have set
    PR_SET_NO_NEW_PRIVS before the call.  Raises OSError, for example if the kernel is too old to confine TCP to ports.
    """
    if ports and version < PORTS_ABI:
        raise OSError(
            errno.ENOSYS, f"Landlock: allowing single ports needs version {PORTS_ABI}, but the kernel has {version}"
        )
    files = _ALL_FILE_RIGHTS if version >= 5 else _ALL_FILE_RIGHTS & ~_IOCTL_DEV
    # "Handled" rights are denied unless a rule grants them: TCP bind and connect (3), and both scopes (3).
    wanted = _Ruleset(files, 0 if network else 3, 3)
    # An older kernel refuses a structure with fields that it does not know, so it gets a shorter one.
    size = 24 if version >= SIGNALS_ABI else 16 if version >= 4 else 8
    ruleset = _call(_CREATE_RULESET, ctypes.byref(wanted), size, 0)
    try:
        for path, rights in rules:
            _add(ruleset, path, rights & files)
        for port in ports:
            _call(_ADD_RULE, ruleset, _NET_PORT, ctypes.byref(_NetPort(_CONNECT_TCP, port)), 0)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _add(ruleset: int, path: Path, rights: int) -> None:
    try:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(folder).st_mode):
            rights &= _OF_FILES
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(_PathBeneath(rights, folder)), 0)
    finally:
        os.close(folder)


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *given))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {errno.errorcode.get(code, code)}")
    return result
