"""Make every call that a confined process must not make; run inside the sandbox, in one process.

    python forbidden_calls.py FOLDER TARGET_PID [UID]

FOLDER contains a file ``run/mine`` (the run folder is writable) and a file ``theirs`` (readable only).  With a UID the
process first becomes that ordinary user.  It confines itself as a training child does, then prints one line of JSON:
the name of each attempt and its errno (0: the call worked).
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import platform
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from autoresearch_mlx.trial.sandbox import seccomp
from autoresearch_mlx.trial.sandbox.linux_sandbox import confine
from autoresearch_mlx.trial.sandbox.permissions import Permissions

AT_FDCWD = -100
NUMBERS = seccomp._NUMBERS[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char]) -> int:
    """Return the errno of a system call by name; 0 when it worked."""
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(NUMBERS[name]), *given)
    return ctypes.get_errno() if result < 0 else 0


def attempts(mine: Path, theirs: Path, other: int) -> Iterator[tuple[str, int]]:
    times = ctypes.create_string_buffer(struct.pack("4q", 1, 0, 2, 0))
    buffer = ctypes.create_string_buffer(256)
    param = ctypes.create_string_buffer(struct.pack("i", 0))
    mask = ctypes.create_string_buffer(struct.pack("q", 1))
    attr = ctypes.create_string_buffer(struct.pack("=IIQiIQQQII", 56, 3, 0, 19, 0, 0, 0, 0, 0, 0))
    for file in (mine, theirs):
        at, path = file.name, os.fsencode(file)
        descriptor = os.open(file, os.O_RDONLY)
        for name, arguments in {
            "utime": (path, times), "utimes": (path, times), "futimesat": (AT_FDCWD, path, times),
            "utimensat": (AT_FDCWD, path, times, 0), "setxattr": (path, b"user.a", b"1", 1, 0),
            "lsetxattr": (path, b"user.a", b"1", 1, 0), "fsetxattr": (descriptor, b"user.a", b"1", 1, 0),
            "removexattr": (path, b"user.a"), "lremovexattr": (path, b"user.a"),
            "fremovexattr": (descriptor, b"user.a"), "setxattrat": (AT_FDCWD, path, 0, b"user.a", buffer, 16),
            "removexattrat": (AT_FDCWD, path, 0, b"user.a"), "file_setattr": (AT_FDCWD, path, buffer, 24, 0),
            "chmod": (path, 0o600), "fchmod": (descriptor, 0o600), "fchmodat": (AT_FDCWD, path, 0o600),
            "fchmodat2": (AT_FDCWD, path, 0o600, 0), "chown": (path, 1, 1), "fchown": (descriptor, 1, 1),
            "lchown": (path, 1, 1), "fchownat": (AT_FDCWD, path, 1, 1, 0), "flock": (descriptor, 1),
            "inotify_add_watch": (0, path, 2), "acct": (path,), "quotactl": (0, path, 0, buffer),
            "fadvise64": (descriptor, 0, 0, 4), "readahead": (descriptor, 0, 4096),
            "preadv2": (descriptor, buffer, 1, 0, 0, 8), "pwritev2": (descriptor, buffer, 1, 0, 0, 8),
            "cachestat": (descriptor, buffer, buffer, 0), "sync_file_range": (descriptor, 0, 0, 2),
        }.items():  # fmt: skip
            if name in NUMBERS:
                yield f"{name} {at}", call(name, *arguments)
        yield f"utimensat by descriptor {at}", call("utimensat", descriptor, 0, times, 0)
        for name, code in seccomp._FCNTLS.items():
            yield f"fcntl {name} {at}", call("fcntl", descriptor, code, buffer)
        yield f"fcntl O_ASYNC {at}", call("fcntl", descriptor, fcntl.F_SETFL, 0x2000)
        for name, code in seccomp._MADVICES.items():
            yield f"madvise {name} {at}", call("madvise", 0, 4096, code)
        for name, code in seccomp._IOCTLS.items():
            yield f"ioctl {name} {at}", call("ioctl", descriptor, code, buffer)
        os.close(descriptor)
    reading, writing = os.pipe()
    for name in ("F_SETPIPE_SZ", "F_SETOWN", "F_SETSIG", "F_NOTIFY"):
        yield f"fcntl {name} pipe", call("fcntl", writing, seccomp._FCNTLS[name], 4096)
    yield "fcntl O_ASYNC pipe", call("fcntl", reading, fcntl.F_SETFL, 0x2000 | os.O_NONBLOCK)
    for who, pid in (("own", 0), ("other", other)):
        for name, arguments in {
            "setpriority": (0, pid, 19), "ioprio_set": (1, pid, 3 << 13), "sched_setaffinity": (pid, 8, mask),
            "sched_setscheduler": (pid, 5, param), "sched_setparam": (pid, param), "sched_setattr": (pid, attr, 0),
            "migrate_pages": (pid, 1, mask, mask), "move_pages": (pid, 0, 0, 0, 0, 0),
        }.items():  # fmt: skip
            yield f"{name} {who}", call(name, *arguments)
    yield "setpriority user", call("setpriority", 2, 0, 19)
    for name, arguments in {
        "ptrace": (16, other, 0, 0), "process_vm_readv": (other, 0, 0, 0, 0, 0),
        "process_vm_writev": (other, 0, 0, 0, 0, 0), "pidfd_getfd": (0, 0, 0), "process_madvise": (0, 0, 0, 0, 0),
        "process_mrelease": (0, 0), "mincore": (0, 4096, buffer), "kcmp": (other, other, 0, 0, 0), "syslog": (10, 0, 0),
        "shmget": (0, 4096, 0o1600), "msgget": (0, 0o1600), "semget": (0, 1, 0o1600),
        "mq_open": (b"/m", 0o102, 0o600, 0),
        "memfd_create": (b"m", 0), "memfd_secret": (0,), "inotify_init": (), "inotify_init1": (0,),
        "fanotify_init": (0, 0), "io_uring_setup": (1, buffer), "io_uring_enter": (0, 0, 0, 0, 0),
        "io_uring_register": (0, 0, 0, 0), "userfaultfd": (0,), "perf_event_open": (buffer, 0, -1, -1, 0),
        "bpf": (0, buffer, 64), "keyctl": (0, -3, 0), "add_key": (b"user", b"a", b"b", 1, -3),
        "request_key": (b"user", b"a", 0, -3), "unshare": (0x10000000,), "setns": (0, 0),
        "mount": (b"a", b"/", b"b", 0, 0),
        "umount2": (b"/", 0), "pivot_root": (b"/", b"/"), "chroot": (b"/",), "open_tree": (AT_FDCWD, b"/", 1),
        "move_mount": (-1, b"", -1, b"", 0), "fsopen": (b"tmpfs", 0), "fsmount": (0, 0, 0),
        "fspick": (AT_FDCWD, b"/", 0),
        "fsconfig": (0, 0, 0, 0, 0), "mount_setattr": (AT_FDCWD, b"/", 0, buffer, 32),
        "open_tree_attr": (AT_FDCWD, b"/", 1),
        "open_by_handle_at": (0, buffer, 0), "socket": (1, 1, 0), "setsid": (), "setpgid": (0, 0), "kill": (-1, 0),
        "prlimit64": (other, 7, 0, buffer), "sethostname": (b"a", 1), "settimeofday": (0, 0),
        "clock_settime": (0, times),
        "adjtimex": (buffer,), "clock_adjtime": (0, buffer), "reboot": (0, 0, 0, 0), "swapon": (b"a", 0),
        "swapoff": (b"a",),
        "init_module": (0, 0, b""), "finit_module": (0, b"", 0), "delete_module": (b"a", 0), "kexec_load": (0, 0, 0, 0),
        "kexec_file_load": (0, 0, 0, b"", 0),
    }.items():  # fmt: skip
        if name in NUMBERS:
            yield name, call(name, *arguments)


def main() -> None:
    folder, other = Path(sys.argv[1]), int(sys.argv[2])
    if len(sys.argv) > 3:
        os.setgid(int(sys.argv[3]))
        os.setuid(int(sys.argv[3]))
    confine(Permissions(read=(folder / "theirs",), write=(folder / "run",)))
    print(json.dumps(dict(attempts(folder / "run" / "mine", folder / "theirs", other))))


if __name__ == "__main__":
    main()
