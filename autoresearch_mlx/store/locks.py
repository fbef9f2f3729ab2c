"""Locks on files, which the system takes back when their holder dies."""

from __future__ import annotations

import fcntl
import time
from typing import IO


def take_lock(file: IO[str], seconds: float = 1.0) -> bool:
    """Whether the file is ours alone now.

    With a little patience: who only looks for the holder has the lock for an instant, and a run that ends just now
    is no obstacle.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
