"""Wait, for a limited time, until other programs leave the processor to the next run."""

from __future__ import annotations

import os
import time

from autoresearch_mlx.experiment import Progress, Watch
from autoresearch_mlx.terms import clock
from autoresearch_mlx.trial.speed.company import Company, Others

BUSY = 0.25
"""Largest share of all processors that other programs take on a quiet machine; a browser in the background takes
less."""
_LOOK_SECONDS = 0.5
_TICK_SECONDS = 0.1


def wait_for_quiet(seconds: float, watch: Watch) -> Others | None:
    """Wait until the machine is quiet, at most ``seconds``.

    Returns None when the machine is quiet, else the programs that still use the processor.  ``watch`` is called ten
    times a second with the reason for the wait; an exception from ``watch`` ends the wait.
    """
    end, others = time.monotonic() + seconds, None
    while (left := end - time.monotonic()) > 0:
        words = None if others is None else f"for a quiet machine, at most {clock(left)} ({others.taking()})"
        found = _look(watch, words)
        if found is None or found.share <= BUSY:
            return None
        others = found
    return others


def _look(watch: Watch, words: str | None) -> Others | None:
    """Return the other programs and the share of the processors that they take in half a second; None if unknown."""
    company, ours = Company(), {os.getpid()}
    before = time.process_time()
    company.look(ours, 0.0)
    end = time.monotonic() + _LOOK_SECONDS
    while time.monotonic() < end:
        if words is not None:
            watch(Progress("waiting", words=words))
        time.sleep(_TICK_SECONDS)
    company.look(ours, time.process_time() - before)
    return company.others()
