"""Let only one command at a time measure on a GPU: a lock file that all labs of this user share.

The file names the process that has the lock.  The system releases the lock when that process dies.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from autoresearch_mlx.errors import LockedError
from autoresearch_mlx.store.locks import take_lock


@contextmanager
def machine_lock(cache: Path, lab: Path, session: str, say: Callable[[str], None]) -> Iterator[None]:
    """Reserve this machine's GPU for measuring until the end of the block.

    ``cache`` is the user's folder that all labs share.  If no lock can be made in this folder, ``say`` is called with a
    message, and other commands may use the GPU at the same time.  Raises LockedError if another process has the lock;
    the error names that process, its lab and its session.
    """
    path = cache / _name(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    try:
        cache.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        say(f"{path} cannot be opened ({error.strerror}), so runs in other labs may use the machine at the same time")
        yield
        return
    with file:
        if not take_lock(file):
            raise _taken(file)
        _write(file, json.dumps({"pid": os.getpid(), "lab": str(lab), "session": session}))
        yield
        _write(file, "")


def _name(visible: str) -> str:
    """Return the name of the lock's file: one lock for each value of ``CUDA_VISIBLE_DEVICES``."""
    return f"gpu{re.sub(r'[^0-9A-Za-z]+', '-', f'-{visible}').rstrip('-')}.lock"


def _taken(file: IO[str]) -> LockedError:
    file.seek(0)
    try:
        holder = json.loads(file.read())
        whom = f"process {holder['pid']}, session {holder['session']} of the lab in {holder['lab']}"
    except (ValueError, LookupError, TypeError):
        whom = "another process"
    hint = 'wait until that process ends, or stop it; with [machine] exclusive = "never" in lab.toml, both can run'
    return LockedError(f"this machine is in use for another measurement: {whom}", hint)


def _write(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate(0)
    file.write(text)
    file.flush()
