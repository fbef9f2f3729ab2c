"""Kill this process right before its n-th effect on files and processes.

An audit hook is called before every effect. Effects are that a file is opened for writing, renamed, removed or cut,
that a directory is made or removed, that a process is started or killed, and that a lock is taken.  ``LOG`` gets a line
for each effect; with N = 0 nothing is killed.  fsync and write cause no audit event, but they lie between two effects
that do.
"""

from __future__ import annotations

import os
import signal
import sys

_EFFECTS = frozenset(
    {
        "subprocess.Popen",
        "os.rename",
        "os.remove",
        "os.truncate",
        "os.mkdir",
        "os.rmdir",
        "os.link",
        "os.symlink",
        "os.chmod",
        "os.killpg",
        "shutil.rmtree",
        "shutil.copyfile",
        "fcntl.flock",
    }
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def install(fatal: str, log: str) -> None:
    seen = 0
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if not _is_effect(event, arguments):
            return
        seen += 1
        os.write(descriptor, f"{event} {_words(event, arguments)}\n".encode(errors="replace"))
        if seen == int(fatal):
            signal.raise_signal(signal.SIGKILL)

    sys.addaudithook(hear)


def _is_effect(event: str, arguments: tuple[object, ...]) -> bool:
    if event == "open":
        path, _, flags = arguments
        return path != os.devnull and isinstance(flags, int) and bool(flags & _WRITES)
    return event in _EFFECTS


def _words(event: str, arguments: tuple[object, ...]) -> str:
    return str(arguments[1] if event == "subprocess.Popen" else arguments[:2]).replace("\n", " ")
