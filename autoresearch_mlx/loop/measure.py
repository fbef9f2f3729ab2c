"""Make one run of a commit: choose its folder and its seed, measure, and decide whether the run was disturbed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import (
    Assignment,
    Experiment,
    History,
    Measurement,
    Progress,
    Reference,
    Split,
    Stopper,
    Watch,
)
from autoresearch_mlx.judge.across import NAME
from autoresearch_mlx.judge.early import pace, should_stop
from autoresearch_mlx.judge.faults import fault_of
from autoresearch_mlx.judge.history import longest_usual, taken_now
from autoresearch_mlx.judge.reference import reference_of, same_cost
from autoresearch_mlx.judge.speeds import slow
from autoresearch_mlx.lab.comparability import Key
from autoresearch_mlx.loop.proved import proved
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.loop.worker import Errand, MachineLost, Worker
from autoresearch_mlx.store.records import measurement_to
from autoresearch_mlx.store.regimes import enter_machine, of_machine
from autoresearch_mlx.targets.contract import Auditable, Certifiable, Say
from autoresearch_mlx.trial.disturbance import Vigil
from autoresearch_mlx.trial.spec import WEIGHTS

LOG, SMOKE = "log.txt", "smoke"
_TURN_SECONDS = 0.2
DISTURBED_RUNS = 3
"""Number of tries of one run; if all of them are disturbed, the run is not tried again."""


@dataclass(frozen=True, slots=True)
class Order:
    """The options of one run; the defaults give a plain run."""

    seed: int | None = None
    """Seed of the run; None means the session's seed plus the number of the run, counted from 0."""
    steps: int | None = None
    stop: Stopper | None = None
    split: Literal["val", "hidden"] = "val"
    earlier: Sequence[Measurement] = ()
    """Runs of the same commit that are not in the ledger yet."""
    audits: float | None = None
    """The gain that an audit should check after the run, if the target can audit; None means no audit."""


def measure(
    session: Session,
    worker: Worker,
    commit: str,
    number: int,
    run: int,
    watch: Watch,
    order: Order | None = None,
    name: str = "",
) -> Measurement:
    """Make run ``run`` (counted from 1) of experiment ``number`` with a worker, in a folder of its own.

    The result is marked as ``tainted`` if the machine slept, if training stood still, or if a file of the commit was
    written during the run.
    """
    order = order or Order()
    folder = run_folder(session, f"{number:04d}-{name}{run}")
    history = session.history(worker)
    seed = session.seed + run - 1 if order.seed is None else order.seed
    if worker.elsewhere is not None:
        usual = None if history.baseline is None else longest_usual(history)
        habits = tuple(_habits(history, number, order.earlier))
        # A process that takes over from a dead one must ask for the run by the same name.
        asked = f"{name}{run}" if name else f"{len(order.earlier) + 1}"
        errand = Errand(number, commit, asked, seed, watch, order.split, order.steps, usual, habits=habits)
        brought = _brought(session, worker, errand, folder)
        assert brought is not None  # only a smoke run may return None
        return brought
    reference, steps = _counted(worker, history, number, order, watch)
    laid_out = worker.worktree.lay_out(commit)
    recorded = worker.surroundings.beside_a_run()
    with Vigil() as vigil:
        watched, stop = vigil.watching(watch), vigil.stopping(order.stop)
        watched(Progress("start"))  # Ctrl-C and a skip take effect here, because a target may never call the watch
        usual = None if history.baseline is None else longest_usual(history)
        tree = worker.worktree.tree
        assignment = Assignment(tree, folder, seed, watched, steps, stop, order.split, usual, reference)
        measured = worker.target.measure(assignment)
        written = laid_out.changed()
        if order.audits is not None and measured.value is not None and isinstance(worker.target, Auditable):
            incumbent = partial(_incumbents_run, session, worker, history, assignment)
            began = time.monotonic()
            try:
                measured = worker.target.audit(replace(assignment, incumbent=incumbent), measured, order.audits)
            finally:
                shutil.rmtree(_beside(folder), ignore_errors=True)
                worker.worktree.lay_out(commit)
            measured = replace(measured, extra={**measured.extra, "audit_seconds": round(time.monotonic() - began, 1)})
        measured = replace(measured, regime=history.regime, key=session.key.on(order.split).mark)
        measured = marked(measured, vigil, _habits(history, number, order.earlier))
    measured = proved(recorded(measured), written, worker.worktree, commit, number, history, order.earlier)
    worker.health.count(measured)
    if name or measured.tainted or any(not m.tainted for m in order.earlier):
        (folder / WEIGHTS).unlink(missing_ok=True)  # of several runs of a commit, only one keeps its weights
    return _kept_in(folder, measured)


def _brought(session: Session, worker: Worker, errand: Errand, folder: Path) -> Measurement | None:
    """Let another machine make a run; return the measurement, with the regime of that machine.  Raises MachineLost.

    Returns None if a smoke run was asked for and the target has none.
    """
    assert worker.elsewhere is not None
    brought = worker.elsewhere(errand)
    measured = brought.measurement
    if measured is None:
        return None
    with session.deciding:
        key = Key(brought.parts)
        regime = enter_machine(session.ledger, worker.name, key, brought.present)
    mark = of_machine(key.on(errand.split), worker.name).mark
    machine = {"chip": worker.chip, **measured.machine, NAME: worker.name}
    measured = replace(measured, regime=regime, key=mark, machine=machine, log=LOG if brought.log else None)
    if brought.log:
        (folder / LOG).write_text(brought.log, encoding="utf-8")
    worker.health.count(measured)
    return _kept_in(folder, measured)


def _incumbents_run(session: Session, worker: Worker, history: History, assignment: Assignment) -> Assignment | None:
    """Put the incumbent into the worktree; return an assignment with the incumbent's weights, or None without them."""
    best = history.incumbent
    if best is None or best.commit is None:
        return None
    kept = next((session.folder / "runs").glob(f"{best.number:04d}-[0-9]*/{WEIGHTS}"), None)
    if kept is None:
        return None
    folder = _beside(assignment.folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copyfile(kept, folder / WEIGHTS)
    worker.worktree.lay_out(best.commit)
    return replace(assignment, folder=folder)


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-incumbent")


def _counted(
    worker: Worker, history: History, number: int, order: Order, watch: Watch
) -> tuple[Reference | None, int | None]:
    """Return the reference speed for a run's budget, and the number of steps after which the run ends.

    If the number is None, the clock ends the run.  This call waits some time for a quiet machine, if the run sets the
    reference speed, or if the machine was too slow for the last run.  A run that was too slow is repeated with a fixed
    number of steps, so that the machine's speed does not matter.  This number is taken from the experiment's logged
    runs, or from the incumbent's runs if their steps cost the same.
    """
    around = worker.surroundings
    if not around.counts:
        return None, order.steps
    reference = reference_of(history, () if history.baseline is not None else order.earlier)
    last = order.earlier[-1] if order.earlier else None
    spoiled = last if last is not None and last.tainted and last.disturbed_by else None
    if spoiled is not None:
        around.wait_for_quiet(watch, worker.target.workload.budget_seconds)
    elif reference.product_ms is None:
        around.wait_for_quiet(watch)
    steps, own = order.steps, (e for e in history.experiments if e.number == number)
    if spoiled is not None and steps is None:
        usual = [taken_now(history, e) for e in (*own, history.incumbent) if e is not None]
        steps = next(filter(None, (same_cost(spoiled, taken) for taken in usual)), None)
    return reference, steps


def marked(measured: Measurement, vigil: Vigil, habits: Sequence[float] = ()) -> Measurement:
    """Return the run's record with its disturbances; a run with a disturbance that is too long is marked as tainted."""
    found = vigil.found()
    words = found.words(habits)
    told = {"tainted": words} if words is not None else {}
    tainted = measured.tainted or words is not None
    return replace(measured, tainted=tainted, extra={**measured.extra, **found.facts(), **told})


def _habits(history: History, number: int, earlier: Sequence[Measurement]) -> list[float]:
    """Return the long gaps between steps that the script itself causes, in seconds.

    These gaps occurred in this experiment's last run and in undisturbed runs of the incumbent.
    """
    own = [*_runs(history, number), *earlier][-1:]
    best = history.incumbent
    counted = [m for m in _runs(history, best.number) if not m.tainted] if best is not None else []
    return [float(gap) for m in (*own, *counted) if (gap := m.extra.get("step_gap_seconds")) is not None]


def _runs(history: History, number: int) -> list[Measurement]:
    experiment = [m for e in history.experiments if e.number == number for m in e.measurements]
    return [*experiment, *(r.measurement for r in history.repeats if r.number == number)]


def repeat(
    session: Session,
    worker: Worker,
    experiment: Experiment,
    watch: Watch,
    seed: int | None = None,
    steps: int | None = None,
) -> None:
    """Run a kept experiment once more and log the run.

    Without ``seed``, the run gets a seed with which the experiment has not run yet.  A disturbed run is logged and
    repeated; there are at most three runs.
    """
    assert experiment.commit is not None
    history = session.history(worker)
    before = [r.measurement for r in history.repeats if r.number == experiment.number]
    taken = [m.seed for m in (*experiment.measurements, *before)]
    chosen = seed if seed is not None else max([session.seed - 1, *taken]) + 1
    during = max((e.number for e in history.experiments), default=0)
    tried: list[Measurement] = []
    for run in range(len(before) + 1, len(before) + 1 + DISTURBED_RUNS):
        order = Order(chosen, steps, earlier=tuple(tried))
        measured = measure(session, worker, experiment.commit, experiment.number, run, watch, order, "repeat-")
        session.append("repeated", number=experiment.number, during=during, measurement=measurement_to(measured))
        if not measured.tainted:
            return
        tried.append(measured)


@contextmanager
def turn_at_incumbent(worker: Worker, watch: Watch) -> Iterator[None]:
    """Let only one lane of a machine at a time run the incumbent; the other lanes wait, and may use the same run."""
    while not worker.refreshing.acquire(timeout=_TURN_SECONDS):
        watch(Progress("waiting", words="another lane measures the incumbent"))
    try:
        yield
    finally:
        worker.refreshing.release()


def undisturbed(take: Callable[[Sequence[Measurement]], Measurement], what: str, say: Say, command: str) -> Measurement:
    """Repeat a run until it is not disturbed, and return this run.  Raises LabError after three disturbed runs.

    ``take`` makes and logs one run; its argument has the disturbed runs so far.  ``what`` describes the version that
    runs.  The error's hint names ``command``, with which the user can make the missing runs later.
    """
    tried: list[Measurement] = []
    for left in reversed(range(DISTURBED_RUNS)):
        measured = take(tried)
        if not measured.tainted:
            return measured
        tried.append(measured)
        say(f"the run was disturbed{' and is measured again' if left else ''}: {_why_disturbed(measured)}")
    said = f"{DISTURBED_RUNS} runs of {what} were disturbed: {_why_disturbed(tried[-1])}"
    hint = "wait until the machine is quiet, or close other programs; then"
    raise LabError(said, f"{hint} `autoresearch-mlx {command}` continues with that run; the runs so far are kept")


def _why_disturbed(m: Measurement) -> str:
    return str(m.extra.get("tainted") or m.disturbed_by or "the cause is unknown")


def fresh_split(session: Session) -> Split:
    """Return ``hidden`` if the target has hidden data, on which no experiment is scored, else ``val``."""
    secret = not isinstance(session.target, Certifiable) or session.target.certify_refused() is None
    return "hidden" if "hidden" in session.target.splits and secret else "val"


def smoke(session: Session, worker: Worker, commit: str, number: int, watch: Watch) -> Measurement | None:
    """Make the smoke run before experiment ``number``; return None if the target has no smoke run.

    Also returns None if a machine of a fleet is lost during the smoke run.  Then the full run shows whether the files
    work.
    """
    history = session.history(worker)
    usual = None if history.baseline is None else longest_usual(history)
    if worker.elsewhere is not None:
        errand = Errand(number, commit, SMOKE, session.seed, watch, usual=usual)
        with suppress(MachineLost):
            return _brought(session, worker, errand, run_folder(session, f"{number:04d}-{SMOKE}"))
        return None
    for _ in range(DISTURBED_RUNS):
        folder = run_folder(session, f"{number:04d}-{SMOKE}")
        laid_out = worker.worktree.lay_out(commit)
        with Vigil() as vigil:
            tree, watched = worker.worktree.tree, vigil.watching(watch)
            ran = worker.target.smoke(Assignment(tree, folder, session.seed, watched, usual=usual))
            if ran is None or ran.failure is None:
                shutil.rmtree(folder)
                return ran
            ran = marked(_kept_in(folder, ran), vigil)
        ran = proved(ran, laid_out.changed(), worker.worktree, commit, number, history, ())
        if not ran.tainted or fault_of(ran) is not None:
            break  # the machine has ended the smoke run; the full run will show whether the file works
    return ran


def stopper(session: Session, history: History, number: int, axis: str | None) -> Stopper | None:
    """Return the function that may stop a run of this experiment early, or None if no run may be stopped."""
    best = history.incumbent
    if not session.early_stop or best is None or not best.measurements:
        return None
    full = sum(m.value is not None for e in history.experiments for m in e.measurements)
    drawn = [m for m in taken_now(history, best) if m.curve and not m.tainted]
    before = next((m for m in drawn if not slow(m)), None) or next(iter(drawn), None)
    if before is None:
        return None

    def stop(curve: Sequence[tuple[float, float]], tokens: int | None = None) -> Mapping[str, Any] | None:
        found = should_stop(curve, before.curve, number, axis, full, pace=pace(curve, tokens, before.tokens))
        return None if found is None else asdict(found)

    return stop


def drop_weights(session: Session, number: int) -> None:
    """Delete the weights of experiment ``number``; only the incumbent's weights are worth their space."""
    for weights in (session.folder / "runs").glob(f"{number:04d}-*/{WEIGHTS}"):
        weights.unlink()


def run_folder(session: Session, name: str) -> Path:
    folder = session.folder / "runs" / name
    shutil.rmtree(folder, ignore_errors=True)  # left by an interrupted attempt with this number
    folder.mkdir(parents=True)
    return folder


def _kept_in(folder: Path, measured: Measurement) -> Measurement:
    """Return the measurement with the path of its log relative to the session's folder, as the ledger needs it."""
    return replace(measured, log=f"runs/{folder.name}/{measured.log}" if measured.log else None)
