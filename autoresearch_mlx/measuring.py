"""One run of a commit of a session: its folder, its seed, and who may stop it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from autoresearch_mlx.experiment import Assignment, Experiment, History, Measurement, Stopper, Watch
from autoresearch_mlx.judge.early import should_stop
from autoresearch_mlx.judging import taken_now
from autoresearch_mlx.session import Session

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, slots=True)
class Order:
    """How one run is to be taken; the defaults are a plain one."""

    seed: int | None = None
    """None: the session's for that run."""
    steps: int | None = None
    stop: Stopper | None = None
    split: Literal["val", "hidden"] = "val"


def measure(
    session: Session, commit: str, number: int, run: int, watch: Watch, order: Order | None = None, name: str = ""
) -> Measurement:
    """Run ``run`` (from 1) of experiment ``number``; its files go into a folder of its own."""
    order = order or Order()
    folder = run_folder(session, f"{number:04d}-{name}{run}")
    _lay_out(session, commit)
    seed = session.seed + run - 1 if order.seed is None else order.seed
    assignment = Assignment(session.workspace.tree, folder, seed, watch, order.steps, order.stop, order.split)
    measured = session.target.measure(assignment)
    measured = replace(measured, epoch=session.journal().history.epoch, key=session.key.on(order.split).mark)
    if run > 1 or name:
        (folder / WEIGHTS).unlink(missing_ok=True)  # one run's are enough to look at
    return _kept_in(folder, measured)


def repeat(
    session: Session, experiment: Experiment, watch: Watch, seed: int | None = None, steps: int | None = None
) -> None:
    """One more run of a kept experiment, into the ledger; on a seed that it has not run on by default."""
    assert experiment.commit is not None
    history = session.journal().history
    before = [r.measurement for r in history.repeats if r.number == experiment.number]
    taken = [m.seed for m in (*experiment.measurements, *before)]
    chosen = seed if seed is not None else max([session.seed - 1, *taken]) + 1
    order, run = Order(chosen, steps), len(before) + 1
    measured = measure(session, experiment.commit, experiment.number, run, watch, order, "repeat-")
    during = max((e.number for e in history.experiments), default=0)
    session.ledger.append("repeated", number=experiment.number, during=during, measurement=asdict(measured))


def smoke(session: Session, commit: str, number: int, watch: Watch) -> Measurement | None:
    """The run of seconds ahead of experiment ``number``, if the target has one."""
    folder = run_folder(session, f"{number:04d}-smoke")
    _lay_out(session, commit)
    ran = session.target.smoke(Assignment(session.workspace.tree, folder, session.seed, watch))
    if ran is None or ran.failure is None:
        shutil.rmtree(folder)
    return None if ran is None else _kept_in(folder, ran)


def stopper(session: Session, history: History, number: int, axis: str | None) -> Stopper | None:
    """What may stop a run of this experiment early; None where nothing may."""
    best = history.incumbent
    if not session.early_stop or best is None or not best.measurements:
        return None
    full = sum(m.value is not None for e in history.experiments for m in e.measurements)
    before = next((m.curve for m in taken_now(history, best) if m.curve), None)
    if before is None:
        return None

    def stop(curve: Sequence[tuple[float, float]]) -> Mapping[str, Any] | None:
        found = should_stop(curve, before, number, axis, full)
        return None if found is None else asdict(found)

    return stop


def drop_weights(session: Session, number: int) -> None:
    """Only the incumbent's weights are worth their space."""
    for weights in (session.folder / "runs").glob(f"{number:04d}-*/{WEIGHTS}"):
        weights.unlink()


def _lay_out(session: Session, commit: str) -> None:
    """The files of a commit in the worktree, which is made anew when somebody has deleted it."""
    if not session.workspace.tree.exists():
        session.workspace.ensure_worktree()
    session.workspace.checkout(commit)


def run_folder(session: Session, name: str) -> Path:
    folder = session.folder / "runs" / name
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt at this number that was interrupted
    folder.mkdir(parents=True)
    return folder


def _kept_in(folder: Path, measured: Measurement) -> Measurement:
    """The log's path as the ledger has it: relative to the session's folder."""
    return replace(measured, log=f"runs/{folder.name}/{measured.log}" if measured.log else None)
