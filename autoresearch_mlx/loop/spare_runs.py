"""Collect the spare runs of a candidate: runs that idle machines of a fleet make before the judge asks for them.

At the end of a night there are fewer experiments than machines.  A candidate that wins needs runs on two machines.  An
idle machine can make the second run while the first run still goes on (:func:`fleet_runs.spare_for`).  A spare run
counts only if the candidate is still undecided when the run is done.  Otherwise the run is ended, or logged as
``spare``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from autoresearch_mlx.experiment import Measurement
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.records import measurement_to


@dataclass(slots=True)
class Spares:
    """The spare runs of one experiment; whoever changes them must have the lock ``session.deciding``."""

    machines: list[str] = field(default_factory=list)
    """Names of the machines that make or have made a spare run of the candidate's present files."""
    runs: list[Measurement] = field(default_factory=list)
    """Spare runs that the next decision will count."""
    version: int = 0
    """Number that grows when unfinished spare runs stop counting, for example because the candidate's files changed."""
    closed: bool = False
    """Whether the experiment has ended."""

    def counted(self, session: Session) -> Sequence[Measurement]:
        """Return the spare runs since the last call; from now on they count like all other runs."""
        with session.deciding:
            new, self.runs = self.runs, []
        return new

    def add(self, session: Session, number: int, measured: Measurement, version: int) -> None:
        """Let the next decision count a spare run; ``version`` is the value of ``self.version`` when the run began.

        If ``self.version`` has changed since then, the run comes too late and is only logged.
        """
        with session.deciding:
            if version == self.version:
                self.runs.append(measured)
            else:
                _log(session, number, measured)

    def end(self, session: Session, number: int, closed: bool) -> None:
        """Stop counting spare runs of the present files, and log the runs that no decision has counted.

        ``closed`` says whether the experiment has ended.
        """
        with session.deciding:
            for each in self.runs:
                _log(session, number, each)
            self.machines, self.runs, self.version, self.closed = [], [], self.version + 1, closed


def _log(session: Session, number: int, measured: Measurement) -> None:
    session.append("spare", number=number, time=now(), measurement=measurement_to(measured))
