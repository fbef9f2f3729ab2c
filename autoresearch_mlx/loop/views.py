"""Judge an experiment of a fleet from several views, one for each machine.

The view of a machine is the session's history, in which only the runs of this machine are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autoresearch_mlx.experiment import History, Measurement, Verdict
from autoresearch_mlx.judge import Decision, mean_value
from autoresearch_mlx.judge.across import View, decide_across, effect_across, knows, name_of, reference
from autoresearch_mlx.judge.history import standing
from autoresearch_mlx.judge.judge import Case
from autoresearch_mlx.judge.shrinkage import Effect
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.loop.worker import Worker


def decide(session: Session, worker: Worker, history: History, case: Case) -> Decision:
    """Return a verdict, or the next run to make.

    In a fleet, the decision also names the machine for the next run.  The runs of a machine that is away count if this
    machine has run the incumbent too.
    """
    if not worker.machine:
        return session.judge.decide(history, case)
    views = seen(session, worker, history, case.measurements)
    decision = decide_across(session.judge, views, _of(views, case))
    if isinstance(decision, Verdict) and decision.status == "keep" and len(views) == 1 and case.number > 0:
        return replace(
            decision, reason=f"{decision.reason}; measured on {worker.name} only, because no second machine was there"
        )
    return decision


def usual_seed(session: Session, worker: Worker, taken: Sequence[int], case: Case) -> int:
    """Return the seed of an experiment's next run on a machine if the judge names no seed.

    ``taken`` has the seeds of the experiment's earlier runs on this machine.  The first run uses a seed with which the
    incumbent has run, so that no candidate wins by a lucky seed.  In a fleet, a second machine confirms each gain, so
    the first run uses the session's seed.
    """
    first = None if taken or worker.machine else session.judge.first_seed(session.history(worker), case)
    return first if first is not None else max((session.seed - 1, *taken)) + 1


def effect(session: Session, worker: Worker, history: History, case: Case) -> Effect | None:
    """Return the gain to report; in a fleet, the gains on all machines that have measured the edit are combined."""
    if not worker.machine:
        return session.judge.effect(history, case)
    views = seen(session, worker, history, case.measurements)
    return effect_across(session.judge, views, _of(views, case))


def value_and_before(history: History, runs: Sequence[Measurement]) -> tuple[float | None, float | None]:
    """Return the value to report, and the incumbent's value.

    In a fleet, both values come from the machine that measured the edit first.  If this machine has not run the
    incumbent, it compared the edit with an older version; then the older version's value is returned.
    """
    first = name_of(runs[0]) if runs else None
    own = [m for m in runs if name_of(m) == first]
    over = history.incumbent
    if first is not None:
        history = replace(history, regime=own[-1].regime)
        over = reference(history)
    return mean_value(own), None if over is None else standing(history, over)


def older_version(history: History, runs: Sequence[Measurement]) -> str | None:
    """Return the commit with which a fleet compared ``runs``, or None if the runs were compared with the incumbent."""
    regimes = dict.fromkeys(m.regime for m in runs if name_of(m) is not None and m.value is not None)
    known = [over for regime in regimes if (over := reference(replace(history, regime=regime))) is not None]
    return None if not known or history.incumbent in known else known[0].commit


def seen(session: Session, worker: Worker, history: History, runs: Sequence[Measurement]) -> list[View]:
    """Return the views of the machines that take part now, the worker's view first.

    The views of some machines that are away follow: those that made one of the ``runs`` and have run the incumbent.
    """
    journal, best = session.journal(), history.incumbent
    here = session.roster() if session.roster is not None else ()
    chips = {each.name: each.chip for each in (worker, *here)}
    gone = {name: str(m.machine.get("chip", "")) for m in runs if (name := name_of(m)) and name not in chips}
    own = {name: journal.seen_by(name) for name in (*chips, *gone)}
    views = [View(n, c, replace(history, regime=own[n].regime, own=own[n].own)) for n, c in (chips | gone).items()]
    return [
        replace(view, away=view.machine in gone)
        for view in views
        if view.machine in chips or (best is not None and knows(view.history, best))
    ]


def _of(views: Sequence[View], case: Case) -> Case:
    names = {view.machine for view in views}
    return replace(case, measurements=[m for m in case.measurements if name_of(m) in names])
