"""Define a check of the self-test and its result, as frozen values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["ok", "note", "fail", "absent"]
"""``note``: it works, but deserves a look; ``absent``: this system, or this call, has no such thing to check."""
Doing: TypeAlias = Callable[[str], None]
"""Function that is told what a check is doing now; if the check hangs, the report quotes these words."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a program of the system printed, or the text of one of the system's files."""

    command: str
    text: str
    seconds: float | None = None
    """How long the program took, or None for a file."""
    read: str = ""
    """What was read from it, in words."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found."""

    state: State
    words: str
    outputs: tuple[Output, ...] = ()
    """Raw outputs that a reader of the report needs to see."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Result:
        """Return the result that the JSON describes.  Raises KeyError or TypeError if it describes none."""
        return cls(said["state"], said["words"], tuple(Output(**each) for each in said["outputs"]))


@dataclass(frozen=True, slots=True)
class Ground:
    """What a check is given."""

    folder: Path
    """An empty folder of its own, which is removed after the check."""
    start: Path
    """The directory in which the person gave the command; its lab's settings are used, if it has a lab."""
    may_sleep: bool = False
    """Whether the person allowed the machine to be put to sleep for a moment."""
    seconds: float = 20.0
    """Seconds of the training whose compiled step is compared with the plain one."""
    evaluations: int = 20
    """Number of evaluations in a row."""
    probes: int = 10
    """Number of speed probes in a row."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check."""

    name: str
    what: str
    """What it does, in a phrase."""
    limit: float
    """Seconds after which it is ended."""
    run: Callable[[Ground, Doing], Result]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: a check, what it found, and how long it took."""

    name: str
    what: str
    result: Result
    seconds: float
