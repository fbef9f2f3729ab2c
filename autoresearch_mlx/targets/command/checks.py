"""Define the checks that an edit must pass before it is measured, and their outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from autoresearch_mlx.experiment import Failure
from autoresearch_mlx.trial.runner import Ended

GUARD = "guard"
"""Name of the check that ``target.guard`` defines."""
State: TypeAlias = Literal["passed", "failed", "timeout", "not run"]


@dataclass(frozen=True, slots=True)
class Check:
    """A shell command that must end with exit code 0."""

    name: str
    run: str
    timeout_seconds: float
    """Time limit of the command, in seconds."""

    @property
    def prefix(self) -> str:
        """The first words of the message that says why the check failed."""
        return "the guard failed: " if self.name == GUARD else f"the check {self.name!r} failed: "


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one check.  The defaults describe a check that did not run, because an earlier check failed."""

    name: str
    state: State = "not run"
    seconds: float | None = None
    """Wall-clock seconds that the check took, or None if it did not run."""

    @classmethod
    def of(cls, check: Check, ended: Ended, failure: tuple[Failure, str] | None) -> Outcome:
        state: State = "passed" if failure is None else "timeout" if failure[0] == "timeout" else "failed"
        return cls(check.name, state, round(ended.seconds, 3))

    def record(self) -> dict[str, Any]:
        """Return the outcome in the form of an entry of a measurement's ``extra["checks"]``."""
        return {"name": self.name, "status": self.state, "seconds": self.seconds}
