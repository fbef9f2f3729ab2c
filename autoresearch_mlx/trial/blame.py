"""Decide who is to blame when a child process fails: the candidate, the machine, an endpoint or the tool.

The decision depends on the exit status, the signal and known error texts of drivers and systems.  It also depends on
the machine's memory, disk and power before and after the child.  A run that the machine or the tool ended does not
count: it is marked as tainted, and repeated.  Edited code can print any known error text, so the number of repeats is
limited.  After the last repeat the judge measures the incumbent; if the incumbent runs, the candidate is to blame
(``judge/faults.py``).
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from autoresearch_mlx.experiment import Measurement
from autoresearch_mlx.trial.autopsy import tail_of
from autoresearch_mlx.trial.known_errors import KNOWN, KnownError
from autoresearch_mlx.trial.readings import gpu_used_by_others
from autoresearch_mlx.trial.runner import Ended
from autoresearch_mlx.trial.sandbox.detect import refused
from autoresearch_mlx.trial.sandbox.limits import DISK_LEFT

Party: TypeAlias = Literal["candidate", "machine", "endpoint", "tool"]

FAULT = "fault"
"""Key in a measurement's ``extra`` for the party to blame for the failure, if this party is not the candidate."""
NEXT_STEP = "next_step"
"""Key in a measurement's ``extra`` for what the user can do about the failure."""
EVALUATION = "--- evaluation ---"
"""Line in a log before the evaluation's output; lines above it cannot explain a failure of the evaluation."""
_LINES = 40
"""Number of lines at the end of the output in which known error texts are searched for."""
_KILLS = {-signal.SIGKILL, 128 + signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM}
"""Possible exit codes of a process that was killed because memory ran out.

The kernel and systemd-oomd send SIGKILL; earlyoom first sends SIGTERM.
"""
_TIGHT = 0.05
"""Share of the memory below which the free memory of a machine counts as too little."""
_TAKEN = 0.1
"""Share of the memory that other programs must have taken during a run to explain the failure of the run."""
_OWN = 0.8
"""A run that used this share of the free memory counts as the cause of a shortage of memory."""
_GPU_OTHERS = 0.1
"""Share of an NVIDIA GPU's memory that other programs must use to explain why a run could not allocate memory."""
_DISK_FULL = 2**28
"""Free bytes below which a disk counts as full."""


@dataclass(frozen=True, slots=True)
class Blame:
    """The party to blame for a failure, and what the user can do about it."""

    party: Party
    words: str = ""
    """What the machine or the tool did, as a phrase, or an empty string if the candidate is to blame."""
    next_step: str = ""
    """What the user can do about the failure."""


CANDIDATE = Blame("candidate")


def blame(ended: Ended, log: Path) -> Blame:
    """Decide who is to blame for the failure of this child; ``log`` holds its output."""
    tail = tail_of(log, _LINES).rpartition(EVALUATION)[2]
    if (why := refused(ended.returncode, tail)) is not None:
        return Blame("tool", why, "run `autoresearch-mlx doctor`, which tests the sandbox")
    if ended.exceeded is not None:
        return _disk(ended, ended.exceeded) if DISK_LEFT in ended.exceeded else CANDIDATE
    if ended.killed is not None and _unplugged(ended):
        words = f"the machine switched to battery power during the run ({ended.killed})"
        return Blame("machine", words, "plug the machine in")
    if ended.killed is None and ended.returncode in _KILLS and (taken := _memory_by_others(ended)) is not None:
        return Blame("machine", f"the system ended the run because memory ran out: {taken}", _MEMORY_STEP)
    found = next((known for known in KNOWN if re.search(known.pattern, tail)), None)
    return CANDIDATE if found is None else _by_text(found, ended, tail)


_MEMORY_STEP = "close programs that use memory, or use a smaller model for the agent"


def _by_text(found: KnownError, ended: Ended, tail: str) -> Blame:
    said = next((line.strip() for line in reversed(tail.splitlines()) if re.search(found.pattern, line)), "")[:200]
    if found.cause == "memory":
        taken = _memory_by_others(ended)
        return CANDIDATE if taken is None else Blame("machine", f"memory ran out: {taken} ({said})", _MEMORY_STEP)
    if found.cause == "gpu memory":
        share = gpu_used_by_others()
        if share is None or share < _GPU_OTHERS:
            return CANDIDATE
        words = f"other programs use {share:.0%} of the GPU's memory ({said})"
        return Blame("machine", words, "close the programs that nvidia-smi names")
    if found.cause == "disk":
        return _disk(ended, said)
    return Blame(found.party, f"{found.words} ({said})", found.next_step)


def _memory_by_others(ended: Ended) -> str | None:
    """Return a phrase about how other programs used up the memory, or None if nothing shows that they did."""
    before, after, own = ended.before, ended.after, (ended.peak_memory_mb or 0.0) * 2**20
    whole, free = before.memory_bytes, before.memory_free
    if not whole or free is None or after.memory_free is None or own >= _OWN * free:
        return None
    if free < _TIGHT * whole or after.memory_free < _TIGHT * whole:
        return "other programs use nearly all of it"
    if free - after.memory_free > _TAKEN * whole:
        return f"other programs took {(free - after.memory_free) / 1e9:.1f} GB of it during the run"
    if before.kills is not None and after.kills is not None and after.kills > before.kills:
        return "the kernel ended processes for lack of memory, although the run used little"
    return None


def _disk(ended: Ended, said: str) -> Blame:
    """Decide who is to blame for a full disk: the candidate, if the run itself filled the disk."""
    before, after = ended.before.disk_free, ended.after.disk_free
    if before is not None and after is not None and ended.wrote_bytes is not None:
        used = before - after
        if used > _DISK_FULL and ended.wrote_bytes >= used / 2:
            return CANDIDATE
    return Blame("machine", f"the disk is full ({said})", "free some space; nothing that was measured is lost")


def _unplugged(ended: Ended) -> bool:
    return ended.before.mains is True and ended.after.mains is False


def not_counted(measured: Measurement, found: Blame) -> Measurement:
    """Mark a failed run as interrupted and tainted if ``found`` blames the machine or the tool."""
    if found.party not in ("machine", "tool"):
        return measured
    words = found.words
    return replace(
        measured,
        value=None,
        failure="interrupted",
        reason=f"not the file's failure: {words}",
        tainted=True,
        extra={**measured.extra, "tainted": words, FAULT: found.party, NEXT_STEP: found.next_step},
    )
