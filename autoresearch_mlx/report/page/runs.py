"""Describe every run of the session: the noise between repeats, the speed, and the state of the machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Any

from autoresearch_mlx.experiment import Experiment, History, Measurement
from autoresearch_mlx.judge.across import name_of
from autoresearch_mlx.judge.history import selecting, sigma_of
from autoresearch_mlx.report.page.content import Again, Noise, RunFacts


@dataclass(frozen=True, slots=True)
class Clock:
    """Hours of work and number of tokens up to the end of each experiment, by the experiment's number; unknown
    figures are left out."""

    hours: Mapping[int, float]
    tokens: Mapping[int, int]


def clock_of(history: History) -> Clock:
    """Sum the hours and the tokens up to each experiment.

    Only the time between an experiment's start and end counts.
    """
    hours: dict[int, float] = {}
    tokens: dict[int, int] = {}
    worked, trained = 0.0, 0
    for e in history.experiments:
        trained += sum(m.tokens or 0 for m in e.measurements)
        if any(m.tokens is not None for m in e.measurements) or trained:
            tokens[e.number] = trained
        if (spent := wall_seconds(e)) is not None:
            worked += spent / 3600
            hours[e.number] = round(worked, 5)
    return Clock(hours, tokens)


def wall_seconds(e: Experiment) -> float | None:
    """Return the seconds from an experiment's start to its end, or None if one of the two times cannot be read."""
    try:
        return (datetime.fromisoformat(e.finished) - datetime.fromisoformat(e.started)).total_seconds()
    except (ValueError, TypeError):  # a time is unreadable, or only one time has an offset
        return None


@dataclass(frozen=True, slots=True)
class _Run:
    number: int
    at: int
    chosen: bool
    measured: Measurement


def noise_of(history: History, clock: Clock) -> Noise:
    """Return the judge's sigma, and all runs of commits that ran more than once."""
    sigma = sigma_of(history)
    again = tuple(_again(history, clock))
    machines = {run.measured.regime: name_of(run.measured) for run in _all(history)}
    return Noise(sigma.value, sigma.n, sigma.dof, sigma.source, history.regime, tuple(_changes(again, machines)), again)


def _changes(again: Sequence[Again], machines: Mapping[int, str | None]) -> Iterator[tuple[int, int]]:
    """Yield each change of the regime as (regime, ``at``).

    An experiment's own runs come before its later repeats.  ``machines`` has the fleet's machine for each regime, or
    None without a fleet.  The first regime of a fleet's machine is not a change.
    """
    current: dict[str | None, int] = {None: 0}
    for run in sorted(again, key=lambda run: (run.at, run.number != run.at)):
        machine = machines[run.regime]
        if current.setdefault(machine, run.regime) != run.regime:
            current[machine] = run.regime
            yield run.regime, run.at


def _again(history: History, clock: Clock) -> Iterator[Again]:
    groups: dict[tuple[str, str | None], list[_Run]] = {}
    commits = {e.number: e.commit or str(e.number) for e in history.experiments}
    for run in _all(history):
        if run.measured.value is not None:
            key = commits.get(run.number, str(run.number)), name_of(run.measured)
            groups.setdefault(key, []).append(run)
    for group in groups.values():
        if len(group) > 1:
            centre = _centre(group)
            yield from (_one(run, centre, history, clock) for run in group)


def _centre(group: Sequence[_Run]) -> float:
    """Return the mean of a commit's runs in its first regime.

    Runs in later regimes show how far the machine has drifted.
    """
    counted = [run for run in group if not run.measured.tainted] or group
    oldest = min(run.measured.regime for run in counted)
    early = [run for run in counted if run.measured.regime == oldest]
    fresh = [run for run in early if not run.chosen] or early
    return fmean(run.measured.value for run in fresh if run.measured.value is not None)


def _one(run: _Run, centre: float, history: History, clock: Clock) -> Again:
    m = run.measured
    assert m.value is not None
    off = -history.gain(m.value, over=centre)
    return Again(run.number, run.at, clock.hours.get(run.at), m.value, off, m.regime, run.chosen, m.tainted)


def run_facts(history: History, clock: Clock) -> tuple[RunFacts, ...]:
    """Return speed, memory and changing figures of every run, in the order in which the runs were made."""
    runs = list(_all(history))
    moving = _moving([run.measured for run in runs])
    return tuple(
        RunFacts(
            number=run.number,
            at=run.at,
            hours=clock.hours.get(run.at),
            tokens_per_second=run.measured.tokens_per_second,
            peak_memory_mb=run.measured.peak_memory_mb,
            speed=run.measured.speed,
            stretch=run.measured.stretch,
            machine={name: float(f) for name, f in _facts(run.measured).items() if name in moving and _figure(f)},
        )
        for run in sorted(runs, key=lambda run: run.at)
    )


def constant_facts(history: History) -> Mapping[str, Any]:
    """Return the facts of the machine that were the same in every run: chip, memory, versions."""
    runs = [run.measured for run in _all(history) if run.measured.machine]
    found = dict(runs[0].machine) if runs else {}
    for m in runs[1:]:
        found = {name: fact for name, fact in found.items() if m.machine.get(name) == fact}
    return {name: fact for name, fact in found.items() if isinstance(fact, str | int | float) and fact != ""}


def _all(history: History) -> Iterator[_Run]:
    for e in history.experiments:
        chosen = selecting(e.measurements)
        for at, m in enumerate(e.measurements):
            yield _Run(e.number, e.number, e.number > 0 and at == chosen, m)
    for r in history.repeats:
        yield _Run(r.number, r.during, False, r.measurement)


def _facts(m: Measurement) -> dict[str, Any]:
    """Flatten nested facts: ``{"temperature": {"cpu": 71}}`` becomes ``temperature.cpu``."""
    flat: dict[str, Any] = {}
    for name, fact in m.machine.items():
        if isinstance(fact, Mapping):
            flat.update({f"{name}.{key}": held for key, held in fact.items()})
        else:
            flat[name] = fact
    return flat


def _moving(runs: Sequence[Measurement]) -> set[str]:
    """Return the names of figures that were not the same in all runs."""
    seen: dict[str, set[float]] = {}
    for m in runs:
        for name, fact in _facts(m).items():
            if _figure(fact):
                seen.setdefault(name, set()).add(float(fact))
    return {name for name, figures in seen.items() if len(figures) > 1}


def _figure(fact: Any) -> bool:
    return isinstance(fact, int | float) and not isinstance(fact, bool)
