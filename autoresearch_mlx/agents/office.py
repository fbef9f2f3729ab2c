"""What an agent may use besides the context of a proposal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from autoresearch_mlx.lab.config import AgentSettings


def _quiet(text: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Caps:
    """What a session may spend on models in all; None: no cap."""

    tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Office:
    """Made once for a run, before the agent."""

    settings: AgentSettings = field(default_factory=AgentSettings)
    seed: int = 0
    folder: Path | None = None
    """The session's folder: talks and ideas are kept there; None: nothing is kept."""
    lend: Callable[[str], AbstractContextManager[Path]] | None = None
    """``with lend(commit) as tree``: the lab's directory in the owned worktree, for a coding agent to work in."""
    may_edit: Callable[[str], bool] | None = None
    """Whether a path, relative to the lab, is one that experiments may change; None: only the files there are."""
    say: Callable[[str], None] = _quiet
    """One line to the person at the terminal."""
    memory_bytes: int | None = None
    """Main memory of this machine, shared with the GPU on a Mac."""
    caps: Callable[[], Caps] | None = None
    """The caps as they hold now, which a person may change meanwhile; None: those of the settings."""

    def most(self) -> Caps:
        """What the session may spend on models, asked before each call."""
        return self.caps() if self.caps is not None else Caps(self.settings.max_tokens_total, self.settings.max_cost)
