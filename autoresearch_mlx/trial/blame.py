"""Decide whose failure it is when a child process fails: the candidate's, the machine's, an endpoint's or the tool's.

The exit status, the signal, texts that are known to come from drivers and systems, and the machine's memory, disk and
power before and after the child decide.  A run that the machine or the tool ended does not count: it is tainted and
taken again.  Edited code can print any of these texts, so the judge bounds the repeats and then measures the incumbent:
when that runs, the failure is the candidate's (``judge/faults.py``).
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
"""Name in a measurement's ``extra`` of the party whose failure ended the run, where that is not the candidate."""
NEXT_STEP = "next_step"
"""Name there of what a person can do about it."""
EVALUATION = "--- evaluation ---"
"""Line of the log after which the evaluation's output begins: what the training printed explains nothing there."""
_LINES = 40
"""Number of last lines of the output in which known texts are looked for."""
_KILLS = {-signal.SIGKILL, 128 + signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM}
"""How a child ends that a memory killer ended: the kernel and systemd-oomd send SIGKILL, earlyoom SIGTERM first."""
_TIGHT = 0.05
"""Share of the memory below which a machine is short of it."""
_TAKEN = 0.1
"""Share of the memory, or of the disk, that other programs must have taken during a run to explain its failure."""
_OWN = 0.8
"""Share of the memory that was free from which a run's own use explains that it ran out."""
_GPU_OTHERS = 0.1
"""Share of an NVIDIA GPU's memory that other programs must hold to explain that a run got none."""
_DISK_FULL = 2**28
"""Free bytes below which a disk counts as full."""


@dataclass(frozen=True, slots=True)
class Blame:
    """Whose failure it is."""

    party: Party
    words: str = ""
    """What the machine or the tool did, in a phrase; empty for the candidate."""
    next_step: str = ""
    """What a person can do about it."""


CANDIDATE = Blame("candidate")


def blame(ended: Ended, log: Path) -> Blame:
    """Return whose failure it is that this child failed; ``log`` holds its output."""
    tail = tail_of(log, _LINES).rpartition(EVALUATION)[2]
    if (why := refused(ended.returncode, tail)) is not None:
        return Blame("tool", why, "run `autoresearch-mlx doctor`: it tries the sandbox")
    if ended.exceeded is not None:
        return _disk(ended, ended.exceeded) if DISK_LEFT in ended.exceeded else CANDIDATE
    if ended.killed is not None and _unplugged(ended):
        return Blame("machine", f"the machine went to battery power, and the run {ended.killed}", "plug it in")
    if ended.killed is None and ended.returncode in _KILLS and (taken := _memory_by_others(ended)) is not None:
        return Blame("machine", f"the system ended the run for want of memory: {taken}", _MEMORY_STEP)
    found = next((known for known in KNOWN if re.search(known.pattern, tail)), None)
    return CANDIDATE if found is None else _by_text(found, ended, tail)


_MEMORY_STEP = "close programs that use memory, or use a smaller model for the agent"


def _by_text(found: KnownError, ended: Ended, tail: str) -> Blame:
    said = next((line.strip() for line in reversed(tail.splitlines()) if re.search(found.pattern, line)), "")[:200]
    if found.cause == "memory":
        taken = _memory_by_others(ended)
        return CANDIDATE if taken is None else Blame("machine", f"memory ran out, {taken} ({said})", _MEMORY_STEP)
    if found.cause == "gpu memory":
        share = gpu_used_by_others()
        if share is None or share < _GPU_OTHERS:
            return CANDIDATE
        words = f"other programs hold {share:.0%} of the GPU's memory ({said})"
        return Blame("machine", words, "close the programs that nvidia-smi names")
    if found.cause == "disk":
        return _disk(ended, said)
    return Blame(found.party, f"{found.words} ({said})", found.next_step)


def _memory_by_others(ended: Ended) -> str | None:
    """Return, in words, why memory ran out through no use of the run itself; None when nothing points to others."""
    before, after, own = ended.before, ended.after, (ended.peak_memory_mb or 0.0) * 2**20
    whole, free = before.memory_bytes, before.memory_free
    if not whole or free is None or after.memory_free is None or own >= _OWN * free:
        return None
    if free < _TIGHT * whole or after.memory_free < _TIGHT * whole:
        return "of which other programs use nearly all"
    if free - after.memory_free > _TAKEN * whole:
        return f"of which other programs took {(free - after.memory_free) / 1e9:.1f} GB during the run"
    if before.kills is not None and after.kills is not None and after.kills > before.kills:
        return "by the kernel's memory killer, though the run used little"
    return None


def _disk(ended: Ended, said: str) -> Blame:
    """Return whose failure a full disk is: the candidate's when the run itself filled it."""
    before, after = ended.before.disk_free, ended.after.disk_free
    if before is not None and after is not None and ended.wrote_bytes is not None:
        used = before - after
        if used > _DISK_FULL and ended.wrote_bytes >= used / 2:
            return CANDIDATE
    return Blame("machine", f"the disk is full ({said})", "free some space; nothing that was measured is lost")


def _unplugged(ended: Ended) -> bool:
    return ended.before.mains is True and ended.after.mains is False


def charged(measured: Measurement, ended: Ended, log: Path) -> Measurement:
    """Return the measurement as it is when its failure is the candidate's; else tainted, so that it is taken again.

    ``ended``: the child that failed.  A run that broke a rule (``invalid``) is the candidate's, whatever it printed.
    """
    return not_counted(measured, blame(ended, log)) if measured.failure in ("crash", "timeout") else measured


def not_counted(measured: Measurement, found: Blame) -> Measurement:
    """Return a failed run as what it is when ``found`` blames the machine or the tool: interrupted and tainted."""
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
