"""Refuse system calls of a confined child, with a filter that the kernel runs.

Landlock guards files, and this filter closes the ways around Landlock.  The filter refuses:

- sockets, and reading, tracing or signalling other processes;
- leaving the process group, so that one killpg ends everything;
- changing the priority, the processors or the scheduling of any process, because such changes could slow down the loop;
- everything through which processes could leave messages for each other, such as the times and flags of files, locks,
  pipe sizes and notifications;
- asking which parts of a file are in memory, because a run could leave a message by reading some parts of a file (Gruss
  and others, "Page Cache Attacks", CCS 2019);
- memory that does not appear in a process's size (memfd, System V shared memory);
- io_uring, because a filter does not see its operations;
- calls that need root.

A refused call fails with EPERM.  New threads are always allowed; the permissions decide about new processes.

The filter is a program in classic BPF: https://docs.kernel.org/userspace-api/seccomp_filter.html.  The table below has
the numbers of the calls from <asm/unistd.h>.  A type of machine that is not in the table has no sandbox.
"""

from __future__ import annotations

import ctypes
import errno
import platform
from dataclasses import dataclass

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
"""The first call number of the x32 ABI, which offers the calls of x86-64 a second time under its own numbers."""
_SAME = {  # since 2019 a new call has one number everywhere
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "clone3": 435, "pidfd_getfd": 438, "mount_setattr": 442, "memfd_secret": 447, "fchmodat2": 452,
    "process_madvise": 440, "process_mrelease": 448, "setxattrat": 463, "removexattrat": 466, "open_tree_attr": 467,
    "file_setattr": 469, "cachestat": 451,
}  # fmt: skip
_NUMBERS = {
    "x86_64": _SAME | {
        "socket": 41, "clone": 56, "fork": 57, "vfork": 58, "kill": 62, "tkill": 200, "tgkill": 234,
        "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "prlimit64": 302, "ptrace": 101, "process_vm_readv": 310,
        "process_vm_writev": 311, "unshare": 272, "setns": 308, "setsid": 112, "setpgid": 109, "shmget": 29,
        "msgget": 68, "semget": 64, "mq_open": 240, "memfd_create": 319, "chmod": 90, "fchmod": 91,
        "fchmodat": 268, "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260, "setxattr": 188,
        "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199,
        "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "keyctl": 250, "add_key": 248,
        "request_key": 249, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "init_module": 175,
        "finit_module": 313, "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320, "reboot": 169,
        "swapon": 167, "swapoff": 168, "settimeofday": 164, "clock_settime": 227, "adjtimex": 159,
        "clock_adjtime": 305, "sethostname": 170, "open_by_handle_at": 304, "fanotify_init": 300,
        "utime": 132, "utimes": 235, "futimesat": 261, "utimensat": 280, "flock": 73, "inotify_init": 253,
        "inotify_init1": 294, "inotify_add_watch": 254, "setpriority": 141, "ioprio_set": 251,
        "sched_setaffinity": 203, "sched_setscheduler": 144, "sched_setparam": 142, "sched_setattr": 314,
        "migrate_pages": 256, "move_pages": 279, "kcmp": 312, "syslog": 103, "acct": 163, "quotactl": 179,
        "mincore": 27, "fadvise64": 221, "readahead": 187, "preadv2": 327, "pwritev2": 328, "sync_file_range": 277,
        "fcntl": 72, "ioctl": 16, "madvise": 28, "listen": 50, "sendto": 44, "sendmsg": 46, "sendmmsg": 307,
    },
    "aarch64": _SAME | {
        "socket": 198, "clone": 220, "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138,
        "rt_tgsigqueueinfo": 240, "prlimit64": 261, "ptrace": 117, "process_vm_readv": 270,
        "process_vm_writev": 271, "unshare": 97, "setns": 268, "setsid": 157, "setpgid": 154, "shmget": 194,
        "msgget": 186, "semget": 190, "mq_open": 180, "memfd_create": 279, "fchmod": 52, "fchmodat": 53,
        "fchownat": 54, "fchown": 55, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14,
        "lremovexattr": 15, "fremovexattr": 16, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51,
        "keyctl": 219, "add_key": 217, "request_key": 218, "bpf": 280, "perf_event_open": 241,
        "userfaultfd": 282, "init_module": 105, "finit_module": 273, "delete_module": 106, "kexec_load": 104,
        "kexec_file_load": 294, "reboot": 142, "swapon": 224, "swapoff": 225, "settimeofday": 170,
        "clock_settime": 112, "adjtimex": 171, "clock_adjtime": 266, "sethostname": 161,
        "open_by_handle_at": 265, "fanotify_init": 262,
        "utimensat": 88, "flock": 32, "inotify_init1": 26, "inotify_add_watch": 27, "setpriority": 140,
        "ioprio_set": 30, "sched_setaffinity": 122, "sched_setscheduler": 119, "sched_setparam": 118,
        "sched_setattr": 274, "migrate_pages": 238, "move_pages": 239, "kcmp": 272, "syslog": 116, "acct": 89,
        "quotactl": 60, "mincore": 232, "fadvise64": 223, "readahead": 213, "preadv2": 286, "pwritev2": 287,
        "sync_file_range": 84, "fcntl": 25, "ioctl": 29, "madvise": 233,
        "listen": 201, "sendto": 206, "sendmsg": 211, "sendmmsg": 269,
    },
}  # fmt: skip
_JUDGED = {
    "socket", "clone", "clone3", "fork", "vfork", "prlimit64", "setsid", "setpgid",
    "kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal", "fcntl", "ioctl",
    "madvise", "listen", "sendto", "sendmsg", "sendmmsg",
}  # fmt: skip
"""Calls that are refused only under some permissions, or only for some arguments."""

_F_SETFL, _O_ASYNC = 4, 0x2000
_FCNTLS = {
    "F_SETLK": 6, "F_SETLKW": 7, "F_SETOWN": 8, "F_SETSIG": 10, "F_SETOWN_EX": 15, "F_OFD_SETLK": 37,
    "F_OFD_SETLKW": 38,
    "F_SETLEASE": 1024, "F_NOTIFY": 1026, "F_SETPIPE_SZ": 1031, "F_SET_RW_HINT": 1036, "F_SET_FILE_RW_HINT": 1038,
}  # fmt: skip
"""Operations of fcntl(2) whose effect other processes can see, or that make the kernel send signals.

Landlock does not stop all of these signals.
"""
_IOCTLS = {
    "FS_IOC_SETFLAGS": 0x40086602, "FS_IOC32_SETFLAGS": 0x40046602, "FS_IOC_FSSETXATTR": 0x401C5820,
    "FS_IOC_SETVERSION": 0x40087602, "FS_IOC_SETFSLABEL": 0x41009432, "FIOASYNC": 0x5452, "FIOSETOWN": 0x8901,
    "SIOCSPGRP": 0x8902, "TIOCSTI": 0x5412, "TIOCLINUX": 0x541C,
}  # fmt: skip
"""Requests of ioctl(2) that change a file's flags, make the kernel send signals, or type into a terminal."""

_MADVICES = {"MADV_COLD": 20, "MADV_PAGEOUT": 21, "MADV_POPULATE_READ": 22}
"""Values of madvise(2) with which a process decides which parts of a file stay in memory.

The other values concern only the process's own memory.
"""

_AF_INET, _SOCK_STREAM, _OTHER_TYPES, _IPPROTO_TCP, _MSG_FASTOPEN = 2, 1, 0xE, 6, 0x20000000
"""Constants of <sys/socket.h>.

The lowest four bits of an argument are the type of a socket.  SOCK_STREAM is type 1, and _OTHER_TYPES are the other
bits.
"""

_CLONE_THREAD = 0x00010000
_CLONE_NEW = 0x7E020080
"""All flags CLONE_NEW*.

The filter refuses these flags, because a process in a new user namespace has every capability and could raise its
limits.
"""

_EVERYBODY = 0xFFFFFFFF
"""The argument -1 of kill, which means all processes.

This call would succeed even if Landlock stopped each of its signals.  The self-test would report that success as a
breach, so the filter refuses the call itself.
"""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_SET_SECCOMP_FILTER = 2
_PR_SET_SECCOMP = 22


class _Step(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("steps", ctypes.POINTER(_Step)))


@dataclass(frozen=True, slots=True)
class Rules:
    """The part of the permissions that this filter enforces."""

    network: bool
    fork: bool
    leave_group: bool = False
    own_signals: int | None = None
    """If Landlock is too old to confine signals: the id of the only process that may be signalled.  Otherwise None."""
    ports: bool = False
    """Whether the process may make TCP sockets although it has no network.  Landlock then limits the ports that these
    sockets can reach."""


def supported(machine: str = "") -> bool:
    """Return whether the table has the system calls of ``machine``, by default of this machine's type."""
    return (machine or platform.machine()) in _NUMBERS


def install(rules: Rules) -> None:
    """Install the filter permanently for this process and all its descendants.  Raises OSError.

    The process must have set PR_SET_NO_NEW_PRIVS before the call.
    """
    steps = program(rules, platform.machine())
    array = (_Step * len(steps))(*(_Step(*step) for step in steps))
    filter_ = _Program(len(steps), ctypes.cast(array, ctypes.POINTER(_Step)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SET_SECCOMP_FILTER, ctypes.byref(filter_), 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, f"seccomp: {errno.errorcode.get(code, code)}")


def program(rules: Rules, machine: str) -> list[tuple[int, int, int, int]]:
    """Return the filter as steps (code, jump if true, jump if false, operand).

    The filter consists of blocks; each block decides about one call or falls through to the next block.
    """
    numbers = _NUMBERS[machine]
    steps = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _REFUSE | errno.ENOSYS),  # a 32-bit call has another number and would pass unnoticed
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _REFUSE | errno.ENOSYS),
    ]
    for name in sorted(numbers.keys() - _JUDGED):
        steps += _refuse(numbers[name])
    closed = not rules.network and not rules.ports
    for name in (
        ["socket"] * closed + ["listen"] * (not rules.network) + ["setsid", "setpgid"] * (not rules.leave_group)
    ):
        steps += _refuse(numbers[name])
    if rules.ports and not rules.network:
        steps += _connections(numbers)
    steps += _processes(rules, numbers) + _signals(rules, numbers)
    steps += _operations(numbers)
    # prlimit64 on process 0 reads a process's own limits, as Python does; limits of other processes stay closed.
    steps += _when(numbers["prlimit64"], [(_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _REFUSE | errno.EPERM)])
    return [*steps, (_RETURN, 0, 0, _ALLOW)]


def _processes(rules: Rules, numbers: dict[str, int]) -> list[tuple[int, int, int, int]]:
    # clone3 passes its flags behind a pointer, which a filter cannot follow.  When the call does not exist (ENOSYS),
    # the C library falls back on clone, whose flags are an argument.
    steps = _refuse(numbers["clone3"], errno.ENOSYS)
    judged = [(_ANY_BIT, 0, 1, _CLONE_NEW), (_RETURN, 0, 0, _REFUSE | errno.EPERM)]
    if not rules.fork:
        judged += [(_ANY_BIT, 1, 0, _CLONE_THREAD), (_RETURN, 0, 0, _REFUSE | errno.EPERM)]
        for name in numbers.keys() & {"fork", "vfork"}:
            steps += _refuse(numbers[name])
    return steps + _when(numbers["clone"], judged)


def _operations(numbers: dict[str, int]) -> list[tuple[int, int, int, int]]:
    """Return steps that judge fcntl and ioctl by their second argument, which names the operation."""
    refuse = (_RETURN, 0, 0, _REFUSE | errno.EPERM)
    listed = [step for code in _FCNTLS.values() for step in ((_EQUAL, 0, 1, code), refuse)]
    # O_ASYNC makes the kernel signal the owner of a file; up to Linux 6.11 Landlock does not prevent that.
    flags = [(_EQUAL, 0, 3, _F_SETFL), (_LOAD, 0, 0, _argument_at(2)), (_ANY_BIT, 0, 1, _O_ASYNC), refuse]
    requests = [step for code in _IOCTLS.values() for step in ((_EQUAL, 0, 1, code), refuse)]
    advice = [step for code in _MADVICES.values() for step in ((_EQUAL, 0, 1, code), refuse)]
    return (
        _when(numbers["fcntl"], [*listed, *flags], 1)
        + _when(numbers["ioctl"], requests, 1)
        + _when(numbers["madvise"], advice, 2)
    )


def _connections(numbers: dict[str, int]) -> list[tuple[int, int, int, int]]:
    """Return steps that allow plain TCP sockets over IPv4 and no other sockets, because Landlock confines no others.

    TCP Fast Open sends data to an address without a call of connect, and Landlock checks only connect.  So the steps
    also refuse the flag of TCP Fast Open.
    """
    refuse = (_RETURN, 0, 0, _REFUSE | errno.EPERM)
    socket = [
        *((_EQUAL, 1, 0, _AF_INET), refuse),
        *(
            (_LOAD, 0, 0, _argument_at(1)),
            (_ANY_BIT, 0, 1, _OTHER_TYPES),
            refuse,
            (_ANY_BIT, 1, 0, _SOCK_STREAM),
            refuse,
        ),
        *((_LOAD, 0, 0, _argument_at(2)), (_EQUAL, 2, 0, 0), (_EQUAL, 1, 0, _IPPROTO_TCP), refuse),
    ]
    fast_open = [(_ANY_BIT, 0, 1, _MSG_FASTOPEN), refuse]
    return (
        _when(numbers["socket"], socket)
        + _when(numbers["sendto"], fast_open, 3)
        + _when(numbers["sendmsg"], fast_open, 2)
        + _when(numbers["sendmmsg"], fast_open, 3)
    )


def _signals(rules: Rules, numbers: dict[str, int]) -> list[tuple[int, int, int, int]]:
    refuse = (_RETURN, 0, 0, _REFUSE | errno.EPERM)
    if rules.own_signals is None:
        return _when(numbers["kill"], [(_EQUAL, 0, 1, _EVERYBODY), refuse])
    steps = []
    for name in ("tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"):
        steps += _refuse(numbers[name])
    only_me = [(_EQUAL, 1, 0, rules.own_signals), refuse]
    return steps + _when(numbers["kill"], only_me) + _when(numbers["tgkill"], only_me)


def _refuse(number: int, code: int = errno.EPERM) -> list[tuple[int, int, int, int]]:
    return [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE | code)]


def _when(number: int, judged: list[tuple[int, int, int, int]], argument: int = 0) -> list[tuple[int, int, int, int]]:
    """Return steps for the call ``number``: run ``judged`` on the lower half of one argument, else allow the call."""
    inner = [(_LOAD, 0, 0, _argument_at(argument)), *judged, (_RETURN, 0, 0, _ALLOW)]
    return [(_EQUAL, 0, len(inner), number), *inner]


def _argument_at(argument: int) -> int:
    """Return the offset of an argument's lower half in the little-endian struct seccomp_data that a filter reads."""
    return _ARGUMENTS_AT + 8 * argument
