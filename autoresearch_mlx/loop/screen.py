"""Define what the loop needs from a display, and let several lanes share one display."""

from __future__ import annotations

import threading
from typing import Protocol

from autoresearch_mlx.experiment import Experiment, Progress


class Screen(Protocol):
    """A display of what the loop does.  Its methods raise nothing, so an experiment goes on without its terminal."""

    def say(self, text: str) -> None:
        """Print one message."""
        ...

    def started(self, number: int, title: str, incumbent: float | None, eta_seconds: float | None) -> None:
        """Show that the measurement of a proposal begins."""
        ...

    def progress(self, progress: Progress) -> None:
        """Show the state of the running measurement.  The loop calls this method up to ten times a second."""
        ...

    def finished(self, experiment: Experiment) -> None: ...

    def close(self) -> None: ...


class TakingTurns:
    """A screen that several lanes share; only one lane writes at a time."""

    def __init__(self, screen: Screen) -> None:
        self._screen, self._turn = screen, threading.RLock()

    def say(self, text: str) -> None:
        with self._turn:
            self._screen.say(text)

    def started(self, number: int, title: str, incumbent: float | None, eta_seconds: float | None) -> None:
        with self._turn:
            self._screen.started(number, title, incumbent, eta_seconds)

    def progress(self, progress: Progress) -> None:
        with self._turn:
            self._screen.progress(progress)

    def finished(self, experiment: Experiment) -> None:
        with self._turn:
            self._screen.finished(experiment)

    def close(self) -> None:
        with self._turn:
            self._screen.close()
