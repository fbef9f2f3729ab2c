"""Pass commands out of a coding agent's sandbox, through files in the lab's ``.autoresearch/desk/``.

When a command ends, a sandbox may end all processes that the command started (Codex on Linux has a process namespace
for each command).  A sandbox may also deny access to git's folder, the caches and the GPU.  So `drive` works outside
the sandbox and serves this folder, the desk: a command in the sandbox writes a request there and reads the answer.

    desk/served            locked by the process that serves the desk
    desk/ID.request        the arguments of a command, as JSON
    desk/ID.taken          the same file under another name, while the command runs
    desk/ID.answer         the result: ``{"exit_code": ..., "out": ..., "error": ...}``
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from autoresearch_mlx.lab.lab import write_whole
from autoresearch_mlx.store.locks import held, take_lock

FOLDER = "desk"
_SERVED = "served"
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of a requested command: its exit code, and what it printed."""

    exit_code: int
    out: str
    error: str


@contextmanager
def serving(state: Path) -> Iterator[Path | None]:
    """Let this process alone serve the desk of a lab.

    Yields the desk's folder, or None when another process already serves it. ``state`` is the lab's folder
    ``.autoresearch``.  Raises OSError.
    """
    desk = state / FOLDER
    desk.mkdir(parents=True, exist_ok=True)
    with (desk / _SERVED).open("a+") as file:
        os.utime(file.fileno())  # file times come from a coarse clock, which may be behind time.time()
        began = os.fstat(file.fileno()).st_mtime_ns
        if not take_lock(file, 0.2):
            yield None
            return
        # The lock tells other processes that the desk is served, so one of them may have written a request by now.
        # Requests that are older than the lock were meant for an earlier process, so they are removed.
        for left in [*desk.glob("*.request"), *desk.glob("*.taken"), *desk.glob("*.answer")]:
            with suppress(FileNotFoundError):
                if left.stat().st_mtime_ns < began:
                    left.unlink()
        yield desk


def is_served(state: Path) -> bool:
    """Return whether a process serves the desk of this lab now."""
    return held(state / FOLDER / _SERVED)


def ask(state: Path, arguments: Sequence[str]) -> Answer | None:
    """Ask the process that serves the desk to run a command, and wait until the command has ended.

    Returns None when the process that serves the desk ends before the command does. Raises OSError when the request
    cannot be written.
    """
    desk, name = state / FOLDER, uuid.uuid4().hex
    steps = tuple(desk / f"{name}.{step}" for step in ("request", "taken", "answer"))
    request, _, answer = steps
    write_whole(request, json.dumps(list(arguments)))
    try:
        while not answer.exists():
            # If the process that serves the desk dies, its successor removes all requests that it finds.  We look for
            # the request, then for the taken request, then for the answer.  Files appear in this order, so a file that
            # is renamed between two looks cannot be missed.
            waits = is_served(state) and any(path.exists() for path in steps)
            if not waits and not answer.exists():
                return None
            time.sleep(_POLL_SECONDS)
        return Answer(**json.loads(answer.read_bytes()))
    finally:
        for left in steps:
            left.unlink(missing_ok=True)


def serve(desk: Path, answer: Callable[[Sequence[str]], Answer]) -> int:
    """Answer all requests on the desk, oldest first, and return their number."""
    requests = sorted(desk.glob("*.request"), key=_age)
    for request in requests:
        taken = request.with_suffix(".taken")
        with suppress(OSError, ValueError):
            request.replace(taken)
            arguments = [str(word) for word in json.loads(taken.read_bytes())]
            write_whole(request.with_suffix(".answer"), json.dumps(asdict(answer(arguments))))
        taken.unlink(missing_ok=True)
    return len(requests)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
