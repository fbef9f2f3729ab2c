"""Judge a candidate whose runs were made on several machines of a fleet; each machine has regimes of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from statistics import fmean
from typing import TypeAlias

from autoresearch_mlx.experiment import Experiment, History, Measurement, Verdict
from autoresearch_mlx.judge.combined import Between
from autoresearch_mlx.judge.difference import Difference, difference
from autoresearch_mlx.judge.evidence import Again, Decision, Evidence, Mode, Rules, Sigma, Slope
from autoresearch_mlx.judge.history import noise_of, removed, runs_of, taken_now
from autoresearch_mlx.judge.judge import RECENT, Case, Judge
from autoresearch_mlx.judge.machines import (
    MachineEffect,
    OnMachine,
    decide_on_machines,
    effect_on,
    effects_of,
    older_instead,
    spread_between,
    together,
)
from autoresearch_mlx.judge.shrinkage import Effect, effect_of

NAME = "fleet_machine"
"""Key in a measurement's ``machine`` for the machine's name in its fleet."""


@dataclass(frozen=True, slots=True)
class View:
    """A session's history for one machine of a fleet; the history's ``own`` and ``regime`` are those of this
    machine."""

    machine: str
    chip: str
    history: History
    away: bool = False
    """True while the machine does not take part in the fleet."""


def name_of(measured: Measurement) -> str | None:
    """Return the fleet's name for the machine that made this run; return None if the session ran without a fleet."""
    name = measured.machine.get(NAME)
    return str(name) if name else None


def views(history: History) -> tuple[View, ...]:
    """Return a view for each of a fleet's machines that has made a run, in the order of their first runs.

    A machine's newest run shows the machine's current regime and its chip.  Without a fleet, the result is empty.
    """
    own: dict[str, set[int]] = {}
    newest: dict[str, Measurement] = {}
    for measured in _measurements(history):
        if (name := name_of(measured)) is not None:
            own.setdefault(name, set()).add(measured.regime)
            newest[name] = measured
    return tuple(
        View(name, _chip(newest[name]), replace(history, regime=newest[name].regime, own=frozenset(regimes)))
        for name, regimes in own.items()
    )


def _measurements(history: History) -> Iterator[Measurement]:
    """Yield all runs in the order in which their experiments ended; a repeat comes after the last experiment that ended
    before it."""
    later = sorted(history.repeats, key=lambda repeat: repeat.during)
    at = 0
    for number, experiment in enumerate(history.experiments):
        yield from experiment.measurements
        while at < len(later) and later[at].during <= number:
            yield later[at].measurement
            at += 1
    yield from (repeat.measurement for repeat in later[at:])


def _chip(measured: Measurement) -> str:
    return str(measured.machine.get("chip") or measured.machine.get("arch") or "unknown chip")


@dataclass(frozen=True, slots=True)
class Change:
    """A change that was measured on machines of a fleet, and its effect on each of these machines."""

    experiment: Experiment
    effects: tuple[MachineEffect, ...]


Noise: TypeAlias = Mapping[str, tuple[Slope, Sigma]]
"""For each machine: how values change with its speed, and the sigma of one run on this machine."""


def noise_on(seen: Sequence[View]) -> Noise:
    """Return the noise of each machine, estimated from its own repeats and from the repeats of all machines
    (:func:`sigma.moderated`)."""
    return {view.machine: noise_of(view.history) for view in seen}


def changes(
    seen: Sequence[View], noise: Noise | None = None, numbers: Container[int] | None = None
) -> tuple[Change, ...]:
    """Return every change of a session with its effects on the machines.

    A change that failed on every machine has no effects.  ``numbers`` has the numbers of the experiments to return;
    None means all experiments.
    """
    if not seen:
        return ()
    noise = noise_on(seen) if noise is None else noise
    found, best = [], None
    kept = {e.commit: e for e in seen[0].history.experiments if e.status == "keep"}
    for e in seen[0].history.experiments:
        if best is not None and e.number > 0 and (numbers is None or e.number in numbers):
            before = kept.get(e.against, best) if e.against is not None else best
            found.append(Change(e, effects_between(seen, noise, e, before)))
        best = e if e.status == "keep" else best
    return tuple(found)


def effects_between(seen: Sequence[View], noise: Noise, e: Experiment, before: Experiment) -> tuple[MachineEffect, ...]:
    """Return how much better ``e`` is than ``before`` on each machine that ran both experiments in the same regime."""
    found = (_effect_between(view, *noise[view.machine], e, before) for view in seen)
    return tuple(each for each in found if each is not None)


def _effect_between(view: View, slope: Slope, sigma: Sigma, e: Experiment, before: Experiment) -> MachineEffect | None:
    own = view.history.own or frozenset()
    ours, theirs = (
        [run for run in runs_of(view.history, each) if run.regime in own and not run.tainted] for each in (e, before)
    )
    common = {run.regime for run in ours} & {run.regime for run in theirs}
    if not common:
        return None
    regime = max(common)
    a, b = (tuple(run for run in side if run.regime == regime) for side in (ours, theirs))
    evidence = Evidence(a, b, sigma, view.history.direction, regime=regime, slope=slope)
    return effect_on(view.machine, view.chip, difference(evidence, Rules().record))


def spread_of(seen: Sequence[View]) -> Between:
    """Return how much effects vary between machines, estimated from the changes that several machines measured."""
    if not seen:
        return spread_between(())
    machines: defaultdict[int, set[str]] = defaultdict(set)
    history = seen[0].history
    for number, measured in chain(
        ((e.number, m) for e in history.experiments for m in e.measurements),
        ((repeat.number, repeat.measurement) for repeat in history.repeats),
    ):
        machines[number].add(name_of(measured) or "")
    several = {number for number, names in machines.items() if len(names) > 1}
    return spread_between(change.effects for change in changes(seen, numbers=several))


def decide_across(judge: Judge, seen: Sequence[View], case: Case) -> Decision:
    """Return a verdict, or the next measurement and the machine of the fleet that makes it.

    ``seen`` has a view for each machine that takes part; the machine of the first view is the first to be asked for
    runs.  ``case`` has the runs of all machines.  With one machine the result is the result of :meth:`Judge.decide`.
    In the mode ``margin``, the first machine that has measured the candidate decides alone.  Raises ValueError if
    ``seen`` is empty.
    """
    if not seen:
        raise ValueError("a case cannot be judged without a machine")
    first = seen[0]
    if len(seen) == 1 or first.history.incumbent is None or case.removes is not None:
        return _on(judge.decide(first.history, case), first)
    parts = [(view, _part(view, case)) for view in seen]
    measured = [(view, part) for view, part in parts if part.measurements]
    if judge.mode == "margin":  # here one run decides, on the machine that made it
        view, part = measured[0] if measured else parts[0]
        return _on(judge.decide(view.history, part), view)
    for view, part in measured:
        if (failed := judge.failed(view.history, part)) is not None:
            return _on(failed, view)
    mode: Mode = "strict" if judge.mode == "strict" else "adaptive"
    decision = decide_on_machines(_sides(judge, parts), spread_of(seen), mode, judge.rules)
    if isinstance(decision, Verdict) and decision.status == "discard":
        decision = replace(decision, reason=f"{decision.reason}{_with_older([view for view, _ in measured])}")
    for view, part in measured:
        held = decision
        compared = reference(view.history) == view.history.incumbent
        if compared and any(m.value is not None and not m.tainted for m in part.measurements):
            # a gain was measured here
            held = judge.worth_keeping(judge.believed(held, view.history, part), view.history, part)
        held = judge.checked(held, view.history, part)
        if held is not decision and not _keeps(held):
            return _on(held, view)
        decision = held
    return decision


def _with_older(measured: Sequence[View]) -> str:
    """Return a phrase about the machines that have compared a candidate with an older version; empty if none has."""
    found = [(view, reference(view.history)) for view in measured]
    older = [(view, over) for view, over in found if over not in (None, view.history.incumbent)]
    words = (
        f"experiment {over.number}, the newest version that {view.machine} has run" for view, over in older if over
    )
    return f"; compared with {' and '.join(words)}" if older else ""


def _keeps(decision: Decision) -> bool:
    return isinstance(decision, Verdict) and decision.status == "keep"


def effect_across(judge: Judge, seen: Sequence[View], case: Case) -> Effect | None:
    """Return the gain to report: the combined effect in the metric's unit, at the mean sigma of the machines.

    If no machine has run the incumbent, the gain is the gain over an older version (:func:`reference`).  Returns None
    if no machine has a known sigma and runs of both versions.
    """
    parts = [(view, _part(view, case)) for view in seen]
    known = [(view, part) for view, part in parts if view.history.incumbent is not None and part.measurements]
    sides = _sides(judge, known)
    effects = effects_of(sides, judge.rules.record) or effects_of(map(older_instead, sides), judge.rules.record)
    if not effects:
        return None
    total, unit = together(effects, spread_of(seen)), fmean(each.sigma for each in effects)
    runs = sum(each.runs_candidate for each in effects), sum(each.runs_incumbent for each in effects)
    found = Difference(total.effect * unit, total.error * unit, total.dof, unit, 0.0, *runs)
    recent = [e.effect.get("raw", e.gain) for e in _kept(seen[0].history)[-RECENT:]]
    return effect_of(found, recent)


def _kept(history: History) -> list[Experiment]:
    return [e for e in history.experiments if e.status == "keep" and e.number > 0 and e.gain is not None]


def _sides(judge: Judge, parts: Iterable[tuple[View, Case]]) -> list[OnMachine]:
    return [_side(judge, view, part) for view, part in parts]


def _side(judge: Judge, view: View, part: Case) -> OnMachine:
    over = reference(view.history)
    older = None if over in (None, view.history.incumbent) else judge.evidence(view.history, part, over)
    return OnMachine(view.machine, view.chip, judge.evidence(view.history, part), older, view.away)


def knows(history: History, best: Experiment) -> bool:
    """Return whether the history has an undisturbed run of the version ``best`` in the current regime."""
    return any(m.value is not None and not m.tainted for m in taken_now(history, best))


def reference(history: History) -> Experiment | None:
    """Return the version with which this history's machine compares a candidate.

    This is the newest kept version with an undisturbed run in the current regime: the incumbent, or an older version if
    every later keep was a gain.  Returns None if there is no such version.
    """
    for e in reversed([e for e in history.experiments if e.status == "keep"]):
        if knows(history, e):
            return e
        if removed(e) is not None or not e.gain or e.gain < 0:
            return None
    return None


def _part(view: View, case: Case) -> Case:
    """Return the case with the runs of one machine."""
    own = view.history.own or frozenset((view.history.regime,))
    here = [m for m in case.measurements if m.regime in own]
    return replace(case, measurements=here, refreshes=case.refreshed.get(view.machine, 0))


def _on(decision: Decision, view: View) -> Decision:
    """Return the decision; if it asks for a run and names no machine, the view's machine is added."""
    if isinstance(decision, Again):
        return decision if decision.machine else replace(decision, machine=view.machine)
    return decision
