"""Make the runs that jobs ask for, in the measuring process of a machine.

Each line of the standard input is the path of a job's folder.  The process checks out the job's commit in this
machine's own repository, and builds the target from the session's conditions.  Then it measures as a session on one
machine does: in the sandbox, with the watch for sleep and heat, and with a check that the worktree has the files of the
commit.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import AutoresearchError
from autoresearch_mlx.experiment import Assignment, History, Measurement, Progress, Target
from autoresearch_mlx.fleet.job import Delivery, Job, job_from, lab_from
from autoresearch_mlx.fleet.job import Lab as JobLab
from autoresearch_mlx.fleet.spool import ENOUGH, RESULT, measuring_alone, write_synced
from autoresearch_mlx.hardware.surroundings import Surroundings, machine_for, surroundings
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.measure import marked
from autoresearch_mlx.loop.proved import proved
from autoresearch_mlx.loop.session import place_of
from autoresearch_mlx.store.git import git, init_repository, resolve
from autoresearch_mlx.store.locks import take_lock
from autoresearch_mlx.store.workspace import Workspace, branch_of
from autoresearch_mlx.store.worktree import Worktree
from autoresearch_mlx.targets.confine import confine
from autoresearch_mlx.targets.contract import TargetKind
from autoresearch_mlx.targets.corpus.prepare import default_cache
from autoresearch_mlx.targets.registry import BUILT_IN, kind_of
from autoresearch_mlx.trial.autopsy import tail_of
from autoresearch_mlx.trial.disturbance import Vigil

_TAG = "fleet"
_LOOK_SECONDS = 1.0


class _Enough(Exception):
    """Raised when the coordinator no longer wants the result."""


def main() -> None:
    """Make one run after another until standard input closes.

    If the Dask worker dies, the current run is still finished.
    """
    for line in sys.stdin:
        take_run(Path(line.rstrip("\n")))


def take_run(folder: Path) -> None:
    """Make the run of the job in ``folder`` and write the result there, unless another process is making this run."""
    with measuring_alone(folder) as alone:
        if not alone:
            return
        try:
            with _turn(folder):
                found = _taken(folder, job_from((folder / "job.json").read_text(encoding="utf-8")))
        except _Enough:
            found = Delivery(ended=True)
        except AutoresearchError as error:
            found = Delivery(trouble=f"{error}{f' ({error.hint})' if error.hint else ''}")
        except OSError as error:
            found = Delivery(trouble=f"{error.filename or folder}: {error.strerror}")
        write_synced(folder / RESULT, found.text().encode())
        shutil.rmtree(_run_folder(folder), ignore_errors=True)  # the folder has the weights, which nobody needs


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Wait until no other process of this machine makes a run.

    After the Dask worker has died, this machine may get its next job while the former process still measures.  Without
    the wait, both processes would use the same worktree, and each run would slow down the other.  Raises _Enough
    when the coordinator no longer wants the job's result.
    """
    with (folder.parent / "turn").open("a+") as file:
        while not take_lock(file, _LOOK_SECONDS):
            if (folder / ENOUGH).exists():
                raise _Enough
        yield


def _run_folder(folder: Path) -> Path:
    """Return the folder for the files that a job's run writes.

    It lies outside the spool, because the sandbox lets no run write into the spool.
    """
    return folder.parent.parent / "runs" / folder.name


@dataclass(frozen=True, slots=True)
class _Bench:
    """The values that all jobs of one session share on this machine."""

    workspace: Workspace
    worktree: Worktree
    kind: TargetKind[Any]
    conditions: Any
    settings: Settings
    target: Target
    around: Surroundings
    parts: Mapping[str, Any]
    """The facts from which this machine's comparability key is computed, by name."""


@lru_cache(maxsize=1)
def _bench(home: Path, lab: str) -> _Bench:
    """Return the shared values for ``lab``, the JSON of a :class:`job.Lab`.

    The machine's repository must have the commit at which the session began.
    """
    told = lab_from(json.loads(lab))
    workspace = _workspace(home, told)
    settings = Settings.model_validate(told.settings)
    own = {"metric": told.metric, "direction": told.direction, "editable": told.editable}
    settings = settings.model_copy(update={"target": settings.target.model_copy(update=own)})
    found = Lab(workspace.top / workspace.prefix)
    if told.kind not in BUILT_IN:
        git(workspace.top, "checkout", "--quiet", "--force", "--detach", told.start)
    kind = kind_of(settings, found.root)
    conditions = kind.read(told.conditions)
    if (missing := kind.missing(conditions)) is not None:
        raise missing
    place = place_of(found, settings)
    parts = kind.key_parts(conditions, place.machine)
    target = confine(kind.build(conditions, place), settings.sandbox, [home / "spool"], _say)
    around = surroundings(settings.machine, place.machine, target.workload)
    return _Bench(workspace, Worktree(workspace), kind, conditions, settings, target, around, parts)


def _taken(folder: Path, job: Job) -> Delivery:
    home = folder.parent.parent
    if not _fetched(home, job, folder / "bundle"):
        return Delivery(lacks=True)
    bench = _bench(home, job.lab.text())
    if (missing := bench.kind.missing(bench.conditions)) is not None:
        raise missing
    worktree, machine, around = bench.worktree, bench.settings.machine, bench.around
    watch = _Watch(folder)
    run = _run_folder(folder)
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    root = bench.workspace.top / bench.workspace.prefix
    with machine_for(root, "a fleet's job", machine, around.gpu, default_cache(), _say):
        _wait(around, watch)
        laid_out = worktree.lay_out(job.commit)
        recorded = around.beside_a_run()
        with Vigil() as vigil:
            assignment = Assignment(
                worktree.tree,
                run,
                job.seed,
                vigil.watching(watch),
                job.steps,
                split=job.split,
                usual=job.usual,
            )
            measured = bench.target.smoke(assignment) if job.role == "smoke" else bench.target.measure(assignment)
            if measured is None:
                return Delivery(parts=bench.parts)
            measured = marked(measured, vigil, job.habits)
        nothing = History((), job.lab.metric, "min")
        measured = proved(recorded(measured), laid_out.changed(), worktree, job.commit, job.number, nothing, ())
    return Delivery(measured, _log(run, measured), bench.parts)


def _log(run: Path, measured: Measurement) -> str:
    return tail_of(run / measured.log) if measured.log else ""


def _wait(around: Surroundings, watch: _Watch) -> None:
    """Wait until the machine has mains power and has cooled down, if the settings demand this."""
    began = around.clock()
    while (why := around.reason_to_wait(began)) is not None:
        watch(Progress("waiting", words=why))
        time.sleep(_LOOK_SECONDS)


class _Watch:
    """Watch of a run that raises _Enough, and so ends the run, when the coordinator no longer wants its result."""

    def __init__(self, folder: Path) -> None:
        self._enough = folder / ENOUGH

    def __call__(self, progress: Progress) -> None:
        if self._enough.exists():
            raise _Enough


def _repository(home: Path, lab: JobLab) -> Path:
    """Return this machine's repository for a session; make the repository if it does not exist."""
    top = home / "repositories" / lab.session
    (top / lab.prefix).mkdir(parents=True, exist_ok=True)
    if not (top / ".git").exists():
        _bench.cache_clear()
        init_repository(top)
    return top


def _fetched(home: Path, job: Job, bundle: Path) -> bool:
    """Bring the job's commit into the repository.

    Returns False if there is no usable bundle, or if the bundle needs commits that the repository does not have.
    """
    top = _repository(home, job.lab)
    if resolve(top, job.commit) is None:
        if not bundle.exists() or not bundle.stat().st_size:
            return False
        try:
            git(top, "fetch", "--quiet", "--no-tags", "--force", str(bundle), f"{job.ref}:{job.ref}")
        except AutoresearchError:
            try:
                git(top, "bundle", "verify", "--quiet", str(bundle))
            except AutoresearchError:
                return False
            raise
        if resolve(top, job.commit) is None:
            return False
    git(top, "update-ref", f"refs/heads/{branch_of(_TAG)}", job.commit)
    return True


def _workspace(home: Path, lab: JobLab) -> Workspace:
    top = _repository(home, lab)
    work = home / "work" / lab.session
    work.mkdir(parents=True, exist_ok=True)
    return Workspace(top / lab.prefix, work, _TAG, lab.editable)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
