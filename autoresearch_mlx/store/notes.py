"""Keep the user's notes (`autoresearch-mlx steer`), which every later prompt to a model repeats.

The notes are the events ``note`` and ``cleared`` in the session's ``notes.jsonl``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.store.journal import Event, read_events, writing
from autoresearch_mlx.terms import one_line

FILE = "notes.jsonl"
LONGEST = 1000
"""Largest number of characters of one note, because every later prompt repeats it."""


def add_note(folder: Path, text: str) -> str:
    """Add a note as one line without control characters; return the text that was written.

    Raises ConfigError for a note that is empty or too long, and LedgerError when the file cannot be written.
    """
    note = one_line(text)
    if not note:
        raise ConfigError("a note needs some text", 'for example: autoresearch-mlx steer "try smaller batches first"')
    if len(note) > LONGEST:
        said = f"a note may have at most {LONGEST:,} characters, and this one has {len(note):,}"
        raise ConfigError(said, "shorten it; long instructions belong in program.md")
    with writing(folder / FILE) as journal:
        journal.append("note", text=note)
    return note


def read_notes(folder: Path) -> tuple[str, ...]:
    """Return the notes that have not been withdrawn, oldest first.  Raises LedgerError when the file cannot be read."""
    return _in_force(read_events(folder / FILE).events)


def clear_notes(folder: Path) -> int:
    """Withdraw all notes; return their number.  The lines of withdrawn notes stay in the file.  Raises LedgerError."""
    if not read_notes(folder):
        return 0
    with writing(folder / FILE) as journal:
        held = _in_force(journal.events)
        journal.append("cleared")
    return len(held)


def _in_force(events: Sequence[Event]) -> tuple[str, ...]:
    notes: list[str] = []
    for event in events:
        if event["event"] == "cleared":
            notes.clear()
        elif event["event"] == "note" and isinstance(text := event.get("text"), str):
            notes.append(one_line(text)[:LONGEST])
    return tuple(note for note in notes if note)
