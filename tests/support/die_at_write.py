"""Kill this process just before it opens a file of a given name for writing for the n-th time."""

from __future__ import annotations

import os
import signal
import sys


def install(name: str, fatal: str) -> None:
    """Watch writes to files whose path ends in ``name``; ``fatal`` is the number of the deadly one, as a string."""
    seen = 0

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event != "open" or not str(arguments[0]).endswith(f"/{name}"):
            return
        mode, flags = arguments[1], arguments[2]
        writes = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writes or (isinstance(mode, str) and mode[0] in "wa"):
            seen += 1
            if seen == int(fatal):
                signal.raise_signal(signal.SIGKILL)

    sys.addaudithook(hear)
