"""Define what the loop needs from a display."""

from __future__ import annotations

from typing import Protocol

from autoresearch_mlx.experiment import Experiment, Progress


class Screen(Protocol):
    """A display of what the loop does.  Its methods raise nothing, so a lost terminal stops no experiment."""

    def say(self, text: str) -> None:
        """Print one message."""
        ...

    def started(self, number: int, title: str, incumbent: float | None, eta_seconds: float | None) -> None:
        """Show that the measurement of a proposal begins."""
        ...

    def progress(self, progress: Progress) -> None:
        """Show the state of the running measurement.  This is called up to ten times a second."""
        ...

    def finished(self, experiment: Experiment) -> None: ...

    def close(self) -> None: ...
