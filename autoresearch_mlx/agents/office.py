"""Define the services and settings that an agent may use besides the context of a proposal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from autoresearch_mlx.lab.config import AgentSettings, TeamSettings
from autoresearch_mlx.store.minutes import Minute

Files: TypeAlias = Mapping[str, str]


def _quiet(text: str) -> None:
    pass


def _unrecorded(event: str, fields: Mapping[str, Any]) -> None:
    pass


def _uncarried(mine: Files, base: Files, theirs: Files) -> Files | str:
    return "an edit cannot be carried over outside a session"


@dataclass(frozen=True, slots=True)
class Caps:
    """The most tokens and money that a session may spend on models; None means no cap."""

    tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Office:
    """The services and settings that an agent gets besides the context."""

    settings: AgentSettings = field(default_factory=AgentSettings)
    seed: int = 0
    folder: Path | None = None
    """The session's folder, which keeps conversations and ideas; None means that nothing is kept."""
    lend: Callable[[str], AbstractContextManager[Path]] | None = None
    """Function that lends a coding agent the lab's folder in the session's worktree: ``with lend(commit) as tree``."""
    may_edit: Callable[[str], bool] | None = None
    """Function that takes a path of the lab and returns whether experiments may change it.  None means that only
    existing editable files may change."""
    say: Callable[[str], None] = _quiet
    """Function that prints one line for the person at the terminal."""
    memory_bytes: int | None = None
    """Main memory of this machine in bytes; a Mac's GPU uses the same memory."""
    caps: Callable[[], Caps] | None = None
    """Function that returns the current caps, which the user may change during a run; None means the settings' caps."""

    team: TeamSettings = field(default_factory=TeamSettings)
    pool: Callable[[int], Callable[[str], AbstractContextManager[Path]]] | None = None
    """Function that takes a junior's number and returns a function like ``lend``, for the junior's own worktree."""
    record: Callable[[str, Mapping[str, Any]], None] = _unrecorded
    """Function that writes one event of a team into the session's ledger."""
    minutes: Callable[[], Sequence[Minute]] = tuple
    """Function that returns the record of the session's team so far: each brief with its outcome."""
    carry: Callable[[Files, Files, Files], Files | str] = _uncarried
    """Function that merges an edit into newer files: ``carry(edited, base, newer)``.  It returns the merged files, or
    the reason why a merge is not possible."""

    def most(self) -> Caps:
        """Return the present caps on tokens and money; an agent asks before each call to a model."""
        return self.caps() if self.caps is not None else Caps(self.settings.max_tokens_total, self.settings.max_cost)
