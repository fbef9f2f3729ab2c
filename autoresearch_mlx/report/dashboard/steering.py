"""Carry out the actions of the page's buttons, each by the same function that the command line calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from autoresearch_mlx.agents import unread
from autoresearch_mlx.agents.ideas.backlog import add_yours, drop
from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.loop import control
from autoresearch_mlx.store.ledger import FILE, read
from autoresearch_mlx.store.notes import add_note, clear_notes
from autoresearch_mlx.terms import plural

Action: TypeAlias = Callable[[Path, Mapping[str, Any]], str]
"""Function that takes the session's folder and the page's data, carries out an action, and returns a sentence about it.

The function raises AutoresearchError when it cannot carry out the action.
"""


def actions() -> dict[str, Action]:
    """Return all actions, by the last part of their address."""
    return {
        "pause": _pause,
        "resume": _resume,
        "stop": _stop,
        "skip": _skip,
        "note": _note,
        "clear-notes": _clear_notes,
        "idea": _idea,
        "drop-idea": _drop_idea,
    }


def _pause(folder: Path, sent: Mapping[str, Any]) -> str:
    ordered = control.pause(folder, "dashboard")
    return "the run pauses after this experiment" if ordered else "a pause has already been ordered"


def _resume(folder: Path, sent: Mapping[str, Any]) -> str:
    return "the run continues" if control.resume(folder, "dashboard") else "the run was not paused"


def _stop(folder: Path, sent: Mapping[str, Any]) -> str:
    ordered = control.stop(folder, "dashboard")
    return "the run ends after this experiment" if ordered else "a stop has already been ordered"


def _skip(folder: Path, sent: Mapping[str, Any]) -> str:
    """Skip the experiment that the page showed.  An experiment that has begun since then is left alone."""
    number = _whole(sent, "number")
    control.skip(folder, number, "dashboard")
    return f"experiment {number} ends"


def _note(folder: Path, sent: Mapping[str, Any]) -> str:
    return f"noted: {add_note(folder, _text(sent, 'text'))}{_if_unread(folder)}"


def _clear_notes(folder: Path, sent: Mapping[str, Any]) -> str:
    return f"{plural(clear_notes(folder), 'note')} withdrawn"


def _idea(folder: Path, sent: Mapping[str, Any]) -> str:
    idea = add_yours(folder, _text(sent, "title"), _text(sent, "axis") or None, _text(sent, "why"))
    return f"idea {idea.id}: {idea.title}{_if_unread(folder)}"


def _if_unread(folder: Path) -> str:
    words = unread(read(folder / FILE).history)
    return f"; {words}" if words else ""


def _drop_idea(folder: Path, sent: Mapping[str, Any]) -> str:
    idea = drop(folder, _whole(sent, "id"), read(folder / FILE).history)
    return f"dropped idea {idea.id}: {idea.title}"


def _text(sent: Mapping[str, Any], name: str) -> str:
    value = sent.get(name, "")
    if not isinstance(value, str):
        raise ConfigError(f"{name} is not text", "reload the page")
    return value


def _whole(sent: Mapping[str, Any], name: str) -> int:
    value = sent.get(name)
    if type(value) is not int:
        raise ConfigError(f"{name} is not a whole number", "reload the page")
    return value
