"""Judge an experiment of a fleet from several views: each machine's view is the history with its own runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autoresearch_mlx.experiment import History, Measurement, Verdict
from autoresearch_mlx.judge import Decision, mean_value
from autoresearch_mlx.judge.across import View, decide_across, effect_across, name_of
from autoresearch_mlx.judge.history import standing
from autoresearch_mlx.judge.judge import Case
from autoresearch_mlx.judge.shrinkage import Effect
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.loop.worker import Worker


def decide(session: Session, worker: Worker, history: History, case: Case) -> Decision:
    """Return a verdict, or the next run to take.

    In a fleet the decision also names the machine that should measure, and the runs of machines that are away do not
    count.
    """
    if not worker.machine:
        return session.judge.decide(history, case)
    views = seen(session, worker, history)
    decision = decide_across(session.judge, views, _of(views, case))
    if isinstance(decision, Verdict) and decision.status == "keep" and len(views) == 1 and case.number > 0:
        return replace(
            decision, reason=f"{decision.reason}; on {worker.name}, no second machine was there to confirm it"
        )
    return decision


def effect(session: Session, worker: Worker, history: History, case: Case) -> Effect | None:
    """Return the gain to report.

    In a fleet it is the gain over all machines that have measured the edit and take part now.
    """
    if not worker.machine:
        return session.judge.effect(history, case)
    views = seen(session, worker, history)
    return effect_across(session.judge, views, _of(views, case))


def value_and_before(history: History, runs: Sequence[Measurement]) -> tuple[float | None, float | None]:
    """Return the value to report, and the incumbent's value.

    In a fleet, both are from the machine that measured the edit first.
    """
    first = name_of(runs[0]) if runs else None
    own = [m for m in runs if name_of(m) == first]
    if first is not None:
        history = replace(history, regime=own[-1].regime)
    before = None if history.incumbent is None else standing(history, history.incumbent)
    return mean_value(own), before


def seen(session: Session, worker: Worker, history: History) -> list[View]:
    """Return the views of the machines that take part now, with the worker's view first."""
    journal = session.journal()
    here = session.roster() if session.roster is not None else ()
    every = (worker, *(other for other in here if other.name != worker.name))
    told = [(each, journal.seen_by(each.name)) for each in every]
    return [View(each.name, each.chip, replace(history, regime=own.regime, own=own.own)) for each, own in told]


def _of(views: Sequence[View], case: Case) -> Case:
    names = {view.machine for view in views}
    return replace(case, measurements=[m for m in case.measurements if name_of(m) in names])
