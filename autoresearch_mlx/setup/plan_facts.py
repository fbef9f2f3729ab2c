"""Plan a night: say how many experiments fit into the time.

The times were measured in the session's experiments or by the calibration; nothing is guessed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from autoresearch_mlx.agents.knobs.range_notes import notes_on_ranges
from autoresearch_mlx.experiment import Agent, Experiment, History
from autoresearch_mlx.hardware.machine import Machine, read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.hire import memory_words
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.targets.confine import limits_of
from autoresearch_mlx.targets.contract import Place, PlanFacts
from autoresearch_mlx.targets.registry import kind_of, with_defaults
from autoresearch_mlx.terms import clock, plural, took

GB = 2**30


@dataclass(frozen=True, slots=True)
class Outlook:
    """The facts from which a night is forecast; None means unknown."""

    training_seconds: float | None
    """Training time of one run, in seconds; None if the run's length is not a time."""
    overhead_seconds: float | None = None
    """Seconds of one run besides its training."""
    overhead_source: str | None = None
    """When or where the overhead was measured, as text."""
    each_seconds: float | None = None
    """Mean seconds of one experiment of this session, with repeats, proposals and failures."""
    each_source: str | None = None
    runs_each: float | None = None
    """Mean number of runs of one experiment of this session."""
    timeout_seconds: float | None = None
    """Longest time that a run of a program may take, in seconds."""
    baseline_runs: int = 0
    """Number of runs of the baseline before the first experiment."""
    seconds_left: float | None = None
    """Seconds until the end of the night."""
    until: str | None = None
    """The time of day at which the night ends, such as ``07:00``."""
    experiments: int | None = None
    peak_bytes: int | None = None
    """Largest memory that was measured in a run, in bytes."""
    limit_bytes: int | None = None
    """Bytes of memory that a run may use."""
    memory_bytes: int | None = None
    """Bytes of the machine's memory; the run shares this memory with all other programs."""
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """The forecast of a night; None means unknown."""

    each_seconds: float | None
    """Seconds of one experiment."""
    experiments: int | None
    """Number of experiments until the end."""
    bounded: bool
    """True if a part of the time is unknown, so that the number of experiments is only an upper bound."""
    seconds: float | None
    """Seconds until the end."""


def forecast(outlook: Outlook) -> Forecast:
    """Return how many experiments fit into the time, and how long they take.

    If both the time and the number are limited, the limit that is reached first decides.
    """
    run = _run_seconds(outlook)
    each = outlook.each_seconds or (run * (outlook.runs_each or 1.0) if run is not None else None)
    bounded = outlook.each_seconds is None and outlook.overhead_seconds is None
    if each is None or each <= 0:
        return Forecast(None, None, False, outlook.seconds_left)
    before = outlook.baseline_runs * (run or each)
    fit = None if outlook.seconds_left is None else max(0, math.floor((outlook.seconds_left - before) / each))
    wanted = outlook.experiments
    if wanted is not None and (fit is None or wanted <= fit):
        return Forecast(each, wanted, bounded, before + wanted * each)
    return Forecast(each, fit, bounded, outlook.seconds_left)


def lines(outlook: Outlook) -> Iterator[str]:
    """Yield the plan in two lines: first the time and the number of experiments, then the memory and the agent."""
    yield f"{_each_words(outlook)}: {_count_words(outlook, forecast(outlook))}"
    yield "; ".join(part for part in (_memory_words(outlook), _agent_words(outlook)) if part)


def _run_seconds(outlook: Outlook) -> float | None:
    if outlook.training_seconds is None:
        return None
    return outlook.training_seconds + (outlook.overhead_seconds or 0.0)


def _each_words(outlook: Outlook) -> str:
    """Return the time of one run as text, such as ``5:00 training + 0:22 overhead (calibrated 2026-11-25)``.

    If the run's length is not a time, return the measured time of an experiment instead.
    """
    training = outlook.training_seconds
    if training is None:
        if outlook.each_seconds is not None:
            return f"{took(outlook.each_seconds)} an experiment ({outlook.each_source})"
        timeout = outlook.timeout_seconds
        return "time of a run not measured yet" + (f", at most {clock(timeout)} by its timeout" if timeout else "")
    if outlook.overhead_seconds is None:
        return f"{clock(training)} training, overhead not measured yet (`doctor --calibrate` measures it)"
    return f"{clock(training)} training + {clock(outlook.overhead_seconds)} overhead ({outlook.overhead_source})"


def _count_words(outlook: Outlook, found: Forecast) -> str:
    """Return the number of experiments as text, such as ``about 74 experiments by 07:00; 1.4 runs each so far``."""
    if found.each_seconds is None:
        wanted = None if outlook.experiments is None else plural(outlook.experiments, "experiment")
        if wanted and outlook.seconds_left is None:
            return f"{wanted}, as asked"
        most = f", {wanted} at most" if wanted else ""
        return f"the number of experiments{_by(outlook)} is unknown{most}"
    if found.experiments is None:
        hourly = 3600 / found.each_seconds
        said = f"{hourly:,.0f} experiments an hour" if hourly >= 2 else f"{24 * hourly:,.0f} a day"
        said = _bound("the number of experiments", said) if found.bounded else f"about {said}"
    elif found.experiments == outlook.experiments and found.seconds is not None:
        least = "at least" if found.bounded else "about"
        said = f"{plural(found.experiments, 'experiment')} in {least} {_long(found.seconds)}"
    elif found.bounded:
        said = _bound(f"the number of experiments{_by(outlook)}", f"{found.experiments:,}")
    else:
        said = f"about {plural(found.experiments, 'experiment')}{_by(outlook)}"
    return "; ".join(part for part in (said, _baseline_words(outlook), _repeat_words(outlook)) if part)


def _bound(what: str, most: str) -> str:
    return f"{what} is unknown until one run is measured (its training time alone would allow {most})"


def _by(outlook: Outlook) -> str:
    return f" by {outlook.until}" if outlook.until else ""


def _baseline_words(outlook: Outlook) -> str:
    return f"the baseline's {plural(outlook.baseline_runs, 'run')} first" if outlook.baseline_runs else ""


def _repeat_words(outlook: Outlook) -> str:
    if outlook.runs_each is not None:
        if outlook.runs_each < 1.05:
            return ""
        return f"{outlook.runs_each:.1f} runs each so far"
    return "close calls run more than once"


def _memory_words(outlook: Outlook) -> str:
    whole = f" of {outlook.memory_bytes / GB:.0f}" if outlook.memory_bytes else ""
    if outlook.peak_bytes is not None:
        peak = f"{outlook.peak_bytes / GB:.1f}"
        return f"memory {peak if peak != '0.0' else 'under 0.1'}{whole} GB"
    if outlook.limit_bytes is not None:
        return f"memory: not measured yet; limit {outlook.limit_bytes / GB:.1f}{whole} GB"
    return "memory: not measured yet"


def _long(seconds: float) -> str:
    """Return a duration as text with its unit, such as ``45 s``, ``3 min`` or ``2:05 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60}:{minutes % 60:02d} h"


def _agent_words(outlook: Outlook) -> str:
    return f"agent {outlook.agent}" if outlook.agent else ""


_MB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a night: its time, and its number of experiments.  None means no limit."""

    seconds: float | None = None
    """Seconds from now."""
    until: str | None = None
    """The time of day at which ``seconds`` are over, such as ``07:00``."""
    experiments: int | None = None


def opening_lines(session: Session, settings: Settings, agent: Agent, policy: Policy) -> Iterator[str]:
    """Yield the first lines that `run` prints: the faults in comments that give a knob's range, then the plan."""
    yield from notes_on_ranges(session.start_files())
    limits = limits_in(policy.eta_seconds(0, None), policy.experiments)
    history = session.journal().history
    yield from lines(of_session(session, settings, memory_words(agent, history), limits))


def limits_in(seconds: float | None, experiments: int | None) -> Limits:
    """Return the limits of a night that begins now; ``seconds`` is its length."""
    end = None if seconds is None else time.time() + seconds
    return Limits(seconds, None if end is None else time.strftime("%H:%M", time.localtime(end)), experiments)


def of_session(session: Session, settings: Settings, agent: str | None, limits: Limits) -> Outlook:
    """Return the outlook of a session that has begun, from the conditions and experiments in its ledger."""
    machine = read_machine()
    profile, history = choose_profile(machine, settings.hardware.profile), session.journal().history
    runs = 0 if history.baseline is not None else _first_runs(session.judge.mode, session.judge.replicates)
    most = limits_of(settings, profile).memory_bytes
    return _measured(planned(session.worker.run_facts, machine, most, runs, agent, limits), history)


def before_session(lab: Lab, settings: Settings, agent: str | None, limits: Limits) -> Outlook:
    """Return the outlook of a session that would begin now; no session is begun.  Raises ConfigError."""
    machine = read_machine()
    kind = kind_of(settings, lab.root)
    place = Place(with_defaults(settings, kind), lab, machine, choose_profile(machine, settings.hardware.profile))
    runs = _first_runs(settings.judge.mode, settings.judge.replicates)
    most = limits_of(settings, place.profile).memory_bytes
    return planned(kind.plan_before(place), machine, most, runs, agent, limits)


def planned(
    facts: PlanFacts, machine: Machine, limit_bytes: int | None, baseline_runs: int, agent: str | None, limits: Limits
) -> Outlook:
    """Return the outlook for the runs of a target, from the facts that the target gives.

    ``limit_bytes`` is the memory that a run may use.
    """
    return Outlook(
        training_seconds=facts.training_seconds,
        overhead_seconds=facts.overhead_seconds,
        overhead_source=facts.overhead_source,
        timeout_seconds=facts.timeout_seconds,
        baseline_runs=baseline_runs,
        seconds_left=limits.seconds,
        until=limits.until,
        experiments=limits.experiments,
        peak_bytes=facts.peak_bytes,
        limit_bytes=limit_bytes,
        memory_bytes=_memory(machine, facts),
        agent=agent,
    )


def _first_runs(mode: str, replicates: int) -> int:
    """Return the number of runs of the baseline before the first experiment."""
    return replicates if mode != "margin" else 1


def _memory(machine: Machine, facts: PlanFacts) -> int | None:
    """Return the size in bytes of the memory that limits a run; None if it is unknown.

    With a CUDA GPU, this is the memory of the GPU.  Otherwise this is the main memory, which a Mac's GPU uses too.
    """
    if machine.gpu is None or machine.gpu.kind != "cuda":
        return machine.memory_bytes
    return facts.gpu_memory_bytes


def _measured(outlook: Outlook, history: History) -> Outlook:
    """Return the outlook with the figures that were measured in the session's experiments."""
    whole = [e for e in history.experiments if e.measurements and e.seconds and not e.cut_off]
    if not whole:
        return outlook
    good = [e for e in whole if all(m.value is not None for m in e.measurements)]
    if good and outlook.training_seconds is not None:
        source = f"measured in {plural(len(good), 'experiment')}"
        outlook = replace(outlook, overhead_seconds=fmean(map(_overhead, good)), overhead_source=source)
    peaks = [m.peak_memory_mb for e in whole[-8:] for m in e.measurements if m.peak_memory_mb]
    if peaks:
        outlook = replace(outlook, peak_bytes=int(max(peaks) * _MB))
    return _each(outlook, [e for e in whole if e.number > 0])


def _each(outlook: Outlook, tried: Sequence[Experiment]) -> Outlook:
    """Return the outlook with means over the experiments in ``tried``, which exclude the baseline."""
    if not tried:
        return outlook
    return replace(
        outlook,
        each_seconds=fmean(sum(e.seconds.values()) for e in tried),
        each_source=f"measured in {plural(len(tried), 'experiment')}",
        runs_each=fmean(len(e.measurements) for e in tried),
    )


def _overhead(experiment: Experiment) -> float:
    """Return the mean seconds of a run besides its training; they include the time of the agent, the loop and git."""
    trained = sum(m.seconds.train or 0.0 for m in experiment.measurements)
    return max(0.0, sum(experiment.seconds.values()) - trained) / len(experiment.measurements)
