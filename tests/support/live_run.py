"""Start a real run in a process of its own, to be controlled from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from command_runs import script
from conftest import git, write_command_lab
from forked_command import Started, launcher

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.report.status import status_of
from autoresearch_mlx.store.ledger import FILE, read

SLOW = """\
import time
from solver import X, Y
time.sleep({9.0: 600, 8.0: 4}.get(X, 0.3))
print(f"METRIC score={(X - 3) ** 2 + (Y - 5) ** 2 + 1:.6f}")
"""
"""A program that takes ten minutes if X is 9, some seconds if it is 8, else less than a second."""


def slow_lab(root: Path) -> Lab:
    lab = write_command_lab(root)
    (root / "bench.py").write_text(SLOW)
    git(root, "commit", "-qam", "slower")
    return lab


def sweep(count: int, **first: float) -> list[dict[str, Any]]:
    """Return this number of different edits; the first one is ``first``."""
    rest = [{"title": f"X = {4 + n / 100}", "knobs": {"X": 4 + n / 100}} for n in range(1, count + 1)]
    return [{"title": "to be skipped", "knobs": first}, *rest] if first else rest


@contextmanager
def going(lab: Lab, steps: list[dict[str, Any]], *options: str) -> Iterator[Started]:
    """Start ``run`` with these edits as session t; kill it at the end of the block if it is still running."""
    with working(lab, "run", "--tag", "t", "--agent", script(lab, *steps), *options) as process:
        yield process


@contextmanager
def working(lab: Lab, *arguments: str, interrupt: bool = False, **environment: str) -> Iterator[Started]:
    """Start the real command, which accepts a Ctrl-C; kill it at the end of the block if it is still running.

    With ``interrupt``, the command gets a Ctrl-C first and 20 s to end.  Coverage counts only such a command, because a
    kill can damage its file of counts, and that file would spoil all others.
    """
    around = {name: value for name, value in os.environ.items() if interrupt or name != "COVERAGE_PROCESS_CONFIG"}
    process = launcher().start(arguments, lab.root, {**around, "COLUMNS": "100", **environment})
    try:
        yield process
    finally:
        if interrupt and process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
        process.kill()
        process.communicate()


def until(holds: Callable[[], object], what: str, seconds: float = 90.0) -> None:
    """Wait until a condition holds; fail if that takes longer than even a busy machine needs."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.03)


def _begun(ledger: Path) -> bool:
    """Return whether a ledger has its first line, which another process may be about to write."""
    return ledger.exists() and b"\n" in ledger.read_bytes()


def finished(lab: Lab, tag: str = "t") -> dict[int, str]:
    path = lab.folder(tag) / FILE
    return {e.number: e.status for e in read(path).history.experiments} if _begun(path) else {}


def started(lab: Lab, tag: str = "t") -> int | None:
    """Return the number of the experiment that is running, or None."""
    path = lab.folder(tag) / FILE
    running = read(path).running if _begun(path) else ()
    return running[0].number if running else None


def phase(lab: Lab, tag: str = "t") -> str | None:
    """Return the phase of the run at this moment, from ``status``."""
    if not _begun(lab.folder(tag) / FILE):
        return None
    running = status_of(lab.folder(tag)).running
    return running.phase if running is not None else None
