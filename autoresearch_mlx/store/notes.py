"""Wishes of the person at the keyboard, told to the models while a session goes on.

``notes.jsonl`` in the session's folder holds the events ``note`` and ``cleared``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.store.journal import Event, read_events, writing
from autoresearch_mlx.terms import one_line

FILE = "notes.jsonl"
LONGEST = 1000
"""Characters of one note: every prompt from now on repeats it."""


def add_note(folder: Path, text: str) -> str:
    """Add a note as one line without control characters; returns it as it is kept.

    Raises ConfigError for an empty or too long one, LedgerError when it cannot be written.
    """
    note = one_line(text)
    if not note:
        raise ConfigError("a note needs some text", 'for example: autoresearch-mlx steer "try smaller batches first"')
    if len(note) > LONGEST:
        said = f"a note has at most {LONGEST:,} characters, this one has {len(note):,}"
        raise ConfigError(said, "say it shorter; what is long belongs into program.md")
    with writing(folder / FILE) as journal:
        journal.append("note", text=note)
    return note


def read_notes(folder: Path) -> tuple[str, ...]:
    """The notes that hold, oldest first.  Raises LedgerError when they cannot be read."""
    return _held(read_events(folder / FILE).events)


def clear_notes(folder: Path) -> int:
    """Withdraw all notes; returns how many held.  The journal keeps them.  Raises LedgerError."""
    if not read_notes(folder):
        return 0
    with writing(folder / FILE) as journal:
        held = _held(journal.events)
        journal.append("cleared")
    return len(held)


def _held(events: Sequence[Event]) -> tuple[str, ...]:
    notes: list[str] = []
    for event in events:
        if event["event"] == "cleared":
            notes.clear()
        elif event["event"] == "note" and isinstance(text := event.get("text"), str):
            notes.append(one_line(text)[:LONGEST])
    return tuple(note for note in notes if note)
