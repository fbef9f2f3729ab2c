"""Do the work between experiments: check the machine, look for drift, and try to remove weak keeps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from autoresearch_mlx import terms
from autoresearch_mlx.errors import AgentAway, LabError
from autoresearch_mlx.experiment import Experiment, History, Progress, Proposal, Watch
from autoresearch_mlx.judge.faults import fault_of
from autoresearch_mlx.judge.history import taken_now
from autoresearch_mlx.judge.reference import speed_news
from autoresearch_mlx.loop.carry import merged
from autoresearch_mlx.loop.control import Orders
from autoresearch_mlx.loop.measure import repeat
from autoresearch_mlx.loop.policy import Sofar
from autoresearch_mlx.loop.screen import Screen
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.loop.worker import Worker
from autoresearch_mlx.store.regimes import after_drift

REMOVER = "upkeep"
"""Name of the agent in the ledger for trial removals, which measure the incumbent without a weak keep."""
NOTHING_DONE = Sofar(done=-1)
"""Progress before the baseline.

The number of experiments done is -1, so that the baseline is measured even under a limit of 0 experiments.
"""
_POLL_SECONDS = 0.5
_AWAY_SECONDS = 60.0
"""Seconds until an agent that does not answer is asked again, unless the agent itself names a time."""


def tell_of_machine(session: Session, screen: Screen) -> None:
    """Print a note if something on the machine may spoil runs or slow runs down; each note is printed once."""
    around = session.worker.surroundings
    history = session.journal().history if around.speed is not None or around.counts else None
    more = speed_news(history) if history is not None and around.counts else ()
    for words in around.news(history, more):
        screen.say(f"note: {words}")


def wait_until_fit(session: Session, screen: Screen, orders: Orders, sofar: Sofar) -> str | None:
    """Wait until the machine meets the conditions that the settings set; return None, or the reason to end the night.

    During the wait, the orders `stop` and `pause` and the run's limits take effect.  A machine that has ended three
    runs in a row gets a rest first.
    """
    tell_of_machine(session, screen)
    around, said = session.worker.surroundings, None
    if (due := session.worker.health.rest_due()) is not None and (
        ends := orders.rest(sofar, *due, screen.progress)
    ) is not None:
        return ends
    began = around.clock()
    while (why := around.reason_to_wait(began)) is not None:
        if (reason := orders.stop(sofar, screen.progress)) is not None:
            return reason
        if why != said:
            screen.say(f"waiting: {why}; `autoresearch-mlx stop` or Ctrl-C ends the run")
        said = why
        screen.progress(Progress("waiting", words=why))
        time.sleep(_POLL_SECONDS)
    if said is not None:
        screen.say("continuing")
    return None


def wait_for_agent(away: AgentAway, screen: Screen, orders: Orders, sofar: Callable[[], Sofar]) -> str | None:
    """Wait until the agent may be asked again; return None, or the reason if the run ends during the wait.

    ``sofar`` returns the progress of the run, which may change during the wait because other lanes go on.
    """
    seconds = _AWAY_SECONDS if away.seconds is None else away.seconds
    hint = f" ({away.hint})" if away.hint else ""
    again = f"the agent is asked again in {terms.took(seconds)}"
    screen.say(f"waiting: {away}{hint}; {again}; `autoresearch-mlx stop` ends the run")
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if (reason := orders.stop(sofar(), screen.progress)) is not None:
            return reason
        screen.progress(Progress("waiting", words=str(away)))
        time.sleep(min(_POLL_SECONDS, left))
    return None


def exchange(session: Session, at_the_end: bool = False) -> None:
    """If this run shares its results (``run --share``), publish finished experiments and pull other labs' results."""
    if session.sharing is not None:
        incumbent = session.incumbent(session.journal().history)
        session.sharing.between(session.workspace.read(incumbent), at_the_end)


def anew_due(session: Session) -> bool:
    """Return whether the incumbent must be measured because none of its runs in the current regime counts."""
    history = session.journal().history
    best = history.incumbent
    return best is not None and not any(m.value is not None and not m.tainted for m in taken_now(history, best))


def measure_anew(session: Session, screen: Screen, orders: Orders | None = None) -> None:
    """Measure the incumbent on the session's seeds if none of its runs in the current regime counts.

    Raises LabError when the incumbent fails here, because no edit could be compared with it.  If the machine has ended
    the runs, no error is raised, and the runs are tried again later.
    """
    best = session.journal().history.incumbent
    if best is None or not anew_due(session):
        return
    why = "the incumbent again, because its earlier runs do not count here"
    screen.started(best.number, f"{why}: {best.title}", None, None)
    watch = (orders or Orders()).watching(best.number, screen.progress)
    for at in range(1 if session.judge.mode == "margin" else session.judge.replicates):
        repeat(session, session.worker, best, watch, seed=session.seed + at)
    taken = taken_now(session.journal().history, best)
    if not any(m.value is not None for m in taken) and fault_of(taken[-1]) is None:
        said = f"experiment {best.number}, the incumbent, ended as {taken[-1].failure} here: {taken[-1].reason}"
        raise LabError(said, "continue on the machine where it was measured, or start another session with --tag NAME")


def look_for_drift(session: Session, screen: Screen, orders: Orders | None = None, suspected: bool = False) -> None:
    """Measure the incumbent again if this is due; after a shift beyond 3 sigma, begin a new regime.

    One disturbed run looks like a shift, so a second run must confirm the shift.  With ``suspected``, the incumbent is
    measured now in any case.
    """
    history = session.journal().history
    best = history.incumbent
    if best is None or not (suspected or session.judge.refresh_due(history)):
        return
    screen.started(best.number, f"the incumbent again: {best.title}", best.value, None)
    watch = (orders or Orders()).watching(best.number, screen.progress)
    if (reason := drift_of(session, session.worker, best, watch)) is not None:
        screen.say(f"the machine has changed: {reason}; earlier runs no longer count")


def drift_of(session: Session, worker: Worker, best: Experiment, watch: Watch) -> str | None:
    """Run the incumbent ``best`` again, up to twice; return None if its values have not shifted.

    If the values of both runs have shifted, the worker's machine has changed.  Then this function begins a new regime
    and returns the reason.
    """
    history = session.history(worker)
    known = len(taken_now(history, best))
    for _ in range(2):
        repeat(session, worker, best, watch)
        new = taken_now(session.history(worker), best)[known:]
        if not session.judge.drifted(history, new):
            return None
    values = ", ".join(terms.value(m.value) for m in new if m.value is not None and not m.tainted)
    reason = f"new runs of experiment {best.number} have the values {values}, beyond 3 sigma of its earlier runs"
    session.append("epoch", **after_drift(session.journal(), len(new), reason, worker.machine))
    return reason


def next_removal(session: Session, history: History) -> Proposal | None:
    """If a trial removal is due, return a proposal that undoes the keep whose gain is least certain; else None.

    A keep that cannot be removed alone, because later changes overlap with its change, is skipped.
    """
    kept = {e.number: e for e in history.experiments}
    head = session.workspace.read(session.incumbent(history))
    for number in session.judge.suspects(history):
        files = _without(session, kept[number], head)
        if files:
            e = kept[number]
            talk = {"removes": number}
            return Proposal(f"without #{number}: {e.title}", files, e.axis, agent=REMOVER, talk=talk)
    return None


def _without(session: Session, e: Experiment, head: Mapping[str, str]) -> dict[str, str]:
    """Return the incumbent's files that change when experiment ``e`` is removed; empty if it cannot be removed."""
    if e.commit is None or e.base is None:
        return {}
    after, before = session.workspace.read(e.commit), session.workspace.read(e.base)
    found: dict[str, str] = {}
    for path, text in head.items():
        if after.get(path) == before.get(path):
            continue
        without = merged(text, after.get(path, ""), before.get(path, ""))
        if without is None:
            return {}
        found[path] = without
    return {path: text for path, text in found.items() if text != head[path]}
