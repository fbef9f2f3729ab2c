"""Define a check of the self-test and its result, as frozen values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["ok", "note", "fail", "absent"]
"""``note`` means that the user should read the result, although nothing failed; ``absent`` means that there is nothing
to check on this system or in this call."""
Doing: TypeAlias = Callable[[str], None]
"""Function that a check calls with a message about what it is doing.  If the check hangs, the report quotes the last
message."""


@dataclass(frozen=True, slots=True)
class Output:
    """The output of a program of the system, or the text of a system file."""

    command: str
    text: str
    seconds: float | None = None
    """Seconds that the program took; None for a file."""
    read: str = ""
    """The facts that were read from the output, as text."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a check."""

    state: State
    words: str
    outputs: tuple[Output, ...] = ()
    """Outputs of programs, unchanged, for the reader of the report."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Result:
        """Return the result from its JSON object.  Raises KeyError or TypeError if the object is not a result."""
        return cls(said["state"], said["words"], tuple(Output(**each) for each in said["outputs"]))


@dataclass(frozen=True, slots=True)
class Ground:
    """The conditions under which a check runs."""

    folder: Path
    """An empty folder for this check; it is removed after the check."""
    start: Path
    """The directory in which the user gave the command; if it is in a lab, the lab's settings are used."""
    may_sleep: bool = False
    """True if the check may put the machine to sleep for a moment."""
    seconds: float = 20.0
    """Seconds of training in the check that compares a compiled step with a plain step."""
    evaluations: int = 20
    """Number of evaluations that the check of evaluations makes in a row."""
    probes: int = 10
    """Number of speed probes that the check of the speed makes in a row."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check of the self-test."""

    name: str
    what: str
    """Description of what the check tests."""
    limit: float
    """Seconds after which the check is ended."""
    run: Callable[[Ground, Doing], Result]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: a check, its result, and the time that it took."""

    name: str
    what: str
    result: Result
    seconds: float
