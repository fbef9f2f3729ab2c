"""A worker: the half of a session that belongs to one machine, or to one of several lanes on it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Target
from autoresearch_mlx.hardware.surroundings import Surroundings
from autoresearch_mlx.store.workspace import Workspace
from autoresearch_mlx.store.worktree import FOLDER, Worktree
from autoresearch_mlx.targets.contract import PlanFacts
from autoresearch_mlx.trial.sandbox.limits import Limits, Sample, exceeded


@dataclass(frozen=True, slots=True)
class Worker:
    """Where measurements are taken: a worktree to run in, the target on this machine, and what surrounds it."""

    name: str
    """As the ledger names it, where several workers share a session; empty for the only one."""
    worktree: Worktree
    target: Target
    surroundings: Surroundings = field(default_factory=Surroundings)
    """What the machine does beside the runs; all lanes of one machine share it."""
    run_facts: PlanFacts = field(default_factory=PlanFacts)
    """What is known of one run on this machine before it is taken."""
    memory_bytes: int | None = None
    """Main memory of the machine, which a model may have to share with training."""
    free_bytes: int | None = None
    """What must stay free on the disk."""

    def refuse_full_disk(self, folder: Path) -> None:
        """Raise LabError when a run would end at once for want of disk, which is not the fault of its edit."""
        left = shutil.disk_usage(folder).free
        if (why := exceeded(Sample(free_bytes=left), Limits(free_bytes=self.free_bytes))) is not None:
            hint = (
                "free some space, then `autoresearch-mlx run` goes on; [limits] free_disk_gb in lab.toml is the limit"
            )
            raise LabError(f"{folder}: {why}", hint)


def lanes_of(worker: Worker, workspace: Workspace, count: int) -> Sequence[Worker]:
    """Return ``count`` workers of the same machine, each with a worktree of its own; one lane is the worker itself.

    With several lanes the session's first worktree stays free for the agent.
    """
    if count == 1:
        return (worker,)
    return tuple(
        replace(worker, name=f"lane-{lane}", worktree=Worktree(workspace, f"{FOLDER}-{lane + 1}"))
        for lane in range(1, count + 1)
    )
