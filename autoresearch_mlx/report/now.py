"""Write and read ``now.json``, a note of what a session's process is doing now, for ``status`` and the dashboard.

The screen of a running loop writes the note.  The file is valid only while the process that wrote it is alive.  So a
reader compares the process id in the file with the id of the process that has the session's lock.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from autoresearch_mlx.lab.lab import write_whole

FILE = "now.json"


@dataclass(frozen=True, slots=True)
class Running:
    """A process at work.  Every field except its process id is None until it is known."""

    pid: int
    number: int | None = None
    title: str | None = None
    phase: str | None = None
    """Either ``propose``, or the name of a phase of the measurement, or, between two experiments, ``paused`` or
    ``waiting``."""
    step: int | None = None
    loss: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    """Seconds of training that are left."""
    share: float | None = None
    """Share of the training budget that is used."""
    words: str | None = None
    """In phase ``waiting``, what the process is waiting for.  In phase ``paused``, the reason for a pause that nobody
    has ordered."""
    time: str | None = None
    """Local time at which the note was written, with its offset from UTC."""
    silent_seconds: float | None = None
    """Seconds since the lane's last report, if the lane has been silent for too long; otherwise None."""


def read_now(folder: Path) -> Running | None:
    """Return the note of a session, or None if the note is missing or damaged."""
    return _running(_read(folder))


def read_lanes(folder: Path) -> tuple[Running, ...]:
    """Return the experiments that several lanes measure, each with the lane's last report.

    With a single lane, the result is empty.
    """
    lanes = _read(folder).get("lanes")
    found = map(_running, lanes) if isinstance(lanes, list) else ()
    return tuple(running for running in found if running is not None)


def _read(folder: Path) -> Mapping[str, Any]:
    try:
        note = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _running(note: Any) -> Running | None:
    pid = _whole(note.get("pid")) if isinstance(note, dict) else None
    if pid is None:
        return None
    return Running(
        pid=pid,
        number=_whole(note.get("number")),
        title=_text(note.get("title")),
        phase=_text(note.get("phase")),
        step=_whole(note.get("step")),
        loss=_finite(note.get("loss")),
        tokens_per_second=_finite(note.get("tokens_per_second")),
        seconds_left=_finite(note.get("seconds_left")),
        share=_finite(note.get("share")),
        words=_text(note.get("words")),
        time=_text(note.get("time")),
    )


def write_now(folder: Path, running: Running, time: str, lanes: Sequence[Running] = ()) -> None:
    """Write the note in one step, in place of the earlier note.

    ``time`` is the present time.  Raises OSError when the note cannot be written.
    """
    fields = fields_of(replace(running, time=time))
    if lanes:
        fields["lanes"] = [fields_of(lane) for lane in lanes]
    write_whole(folder / FILE, json.dumps(fields, allow_nan=False) + "\n")


def remove_now(folder: Path) -> None:
    """Remove the note, if there is one.  Raises OSError when it cannot be removed."""
    for name in (FILE, f"{FILE}.tmp"):
        (folder / name).unlink(missing_ok=True)


def fields_of(running: Running) -> dict[str, Any]:
    """Return the fields as plain JSON values; ``silent_seconds`` is present only for a silent lane."""
    fields = {name: None if _is_nan(field) else field for name, field in asdict(running).items()}
    return {name: field for name, field in fields.items() if name != "silent_seconds" or field is not None}


def _is_nan(field: Any) -> bool:
    return isinstance(field, float) and not math.isfinite(field)


def _whole(field: Any) -> int | None:
    return field if isinstance(field, int) and not isinstance(field, bool) else None


def _finite(field: Any) -> float | None:
    if isinstance(field, bool) or not isinstance(field, int | float) or not math.isfinite(field):
        return None
    return float(field)


def _text(field: Any) -> str | None:
    return field if isinstance(field, str) else None
