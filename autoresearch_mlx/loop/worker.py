"""Define a worker: all that one lane, or one machine of a fleet, needs to measure."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Measurement, Split, Target, Usual, Watch
from autoresearch_mlx.hardware.surroundings import Surroundings
from autoresearch_mlx.loop.health import Health
from autoresearch_mlx.store.workspace import Workspace
from autoresearch_mlx.store.worktree import FOLDER, Worktree
from autoresearch_mlx.targets.contract import PlanFacts
from autoresearch_mlx.trial.sandbox.limits import Limits, Sample, exceeded


class MachineLost(Exception):
    """Raised if a machine of a fleet could not make a run, or was lost during the run.

    The lost run says nothing about the commit.
    """


class NotTaken(MachineLost):
    """Raised when a machine of a fleet did not begin a run, for example because its disk is full or it has left."""


class MachineUnfit(MachineLost):
    """Raised when a machine of a fleet cannot measure the incumbent, so that no edit can be compared there."""


@dataclass(frozen=True, slots=True)
class Errand:
    """One run of one commit that another machine is asked to make."""

    number: int
    commit: str
    name: str
    """Name of the run in its experiment, such as ``1`` for the first run, ``repeat-2`` or ``smoke``."""
    seed: int
    watch: Watch
    split: Split = "val"
    steps: int | None = None
    usual: Usual | None = None
    habits: Sequence[float] = ()
    """Gaps between two steps, in seconds, that are usual for these files and are therefore no disturbance."""


@dataclass(frozen=True, slots=True)
class Brought:
    """The result of a run, or of a smoke run, that another machine made."""

    measurement: Measurement | None
    """The run, or None if a smoke run was requested and the target has no smoke run."""
    log: str
    """The end of the program's output."""
    parts: Mapping[str, Any]
    """The facts from which the machine's comparability key is computed, by name."""
    present: Sequence[str] = ()
    """Names of the machines that take part now."""


@dataclass(frozen=True, slots=True)
class Worker:
    """All that one lane, or one machine of a fleet, needs to measure: a worktree, the target, the machine's state."""

    name: str
    """Name of the lane, or of the fleet's machine, in the ledger; empty for the only worker of a session."""
    worktree: Worktree
    target: Target
    surroundings: Surroundings = field(default_factory=Surroundings)
    """The watch over the machine during the runs; all lanes of one machine share one watch."""
    health: Health = field(default_factory=Health)
    """The count of runs that this machine has ended, for example for lack of memory; all its lanes share the count."""
    run_facts: PlanFacts = field(default_factory=PlanFacts)
    """Facts about a run on this machine that are known before the run."""
    memory_bytes: int | None = None
    """Main memory of the machine in bytes; a model and the training may have to share it."""
    free_bytes: int | None = None
    """Bytes that must stay free on the disk."""
    elsewhere: Callable[[Errand], Brought] | None = None
    """Function that lets another machine make a run, or None for a worker of this machine.

    The function may raise MachineLost.
    """
    ends_soon: Callable[[], bool] = lambda: False
    """Function that says whether another machine is nearly done; the next experiment may then be sent to it."""
    seconds_left: Callable[[], float] = lambda: 0.0
    """Function that predicts in how many seconds another machine is done with its run."""
    refreshing: threading.Lock = field(default_factory=threading.Lock)
    """Lock for measuring the incumbent again on this machine; all lanes of the machine share it."""
    chip: str = ""
    """Name of the chip of a fleet's machine; machines with the same chip form one class."""

    @property
    def machine(self) -> str:
        """Name of the machine of a fleet that measures, or an empty string if this machine measures."""
        return self.name if self.elsewhere is not None else ""

    def settle_tree(self) -> None:
        """Bring the worktree to the branch's tip.

        Does nothing for a worker of another machine, whose worktree is not on this machine.
        """
        if self.elsewhere is None:
            self.worktree.ensure()

    def refuse_full_disk(self, folder: Path) -> None:
        """Raise LabError when the disk is so full that any run would fail at once."""
        left = shutil.disk_usage(folder).free
        if (why := exceeded(Sample(free_bytes=left), Limits(free_bytes=self.free_bytes))) is not None:
            hint = (
                "free some space, then `autoresearch-mlx run` continues; [limits] free_disk_gb in lab.toml is the limit"
            )
            raise LabError(f"{folder}: {why}", hint)


def lanes_of(worker: Worker, workspace: Workspace, count: int) -> Sequence[Worker]:
    """Return ``count`` workers of the same machine, each with its own worktree.

    A single lane uses ``worker`` itself.  With several lanes, no lane uses the session's first worktree, so that the
    agent can use it.
    """
    if count == 1:
        return (worker,)
    return tuple(
        replace(worker, name=f"lane-{lane}", worktree=Worktree(workspace, f"{FOLDER}-{lane + 1}"))
        for lane in range(1, count + 1)
    )
