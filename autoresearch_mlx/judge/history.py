"""Read from a session's ledger what the judge needs: runs, sigma, and the value of a kept experiment."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from statistics import fmean
from typing import TypeVar

from autoresearch_mlx.experiment import Experiment, History, Measurement, Usual
from autoresearch_mlx.judge import sigma, slope
from autoresearch_mlx.judge.difference import newest_unselected
from autoresearch_mlx.judge.early import Account, Past, account
from autoresearch_mlx.judge.evidence import Rules, Run, Sigma, Slope
from autoresearch_mlx.judge.speeds import log_tokens, log_work, off_speed, steady
from autoresearch_mlx.judge.work import by_tokens

_Number = TypeVar("_Number", int, float)


def stops(history: History, budget_seconds: float | None) -> Account:
    """Return what stopping losers early has saved, and how often the audits found a stop wrong.

    ``budget_seconds`` is the time of a whole run; if it is None, each stopped run's own pace gives an estimate.
    """
    past = [
        Past(m.extra["stop"]["share"], budget_seconds or _whole(m), bool(m.extra["stop"]["audit"]), e.status)
        for e in history.experiments
        for m in e.measurements[selecting(e.measurements) :][:1]
        if isinstance(m.extra.get("stop"), dict)
    ]
    return account(past)


def _whole(stopped: Measurement) -> float:
    """Return the seconds of training that a stopped run would have taken, or 0 if unknown."""
    share = stopped.extra["stop"]["share"]
    return (stopped.seconds.train or 0.0) / share if share > 0 else 0.0


def removed(experiment: Experiment) -> int | None:
    """Return the number of the kept experiment whose change this experiment leaves out as a trial, or None if this
    experiment is no such trial."""
    number = experiment.talk.get("removes")
    return number if isinstance(number, int) else None


def selecting(measured: Sequence[Measurement]) -> int:
    """Return the index of the run by which a proposal was selected: the first undisturbed run, or run 0 if every run
    was disturbed."""
    return next((at for at, m in enumerate(measured) if not m.tainted), 0)


def runs(measured: Sequence[Measurement], number: int) -> tuple[Run, ...]:
    """Return the runs of an experiment that have a value.

    ``fresh`` is False for a proposal's first undisturbed run, by which the proposal was chosen for further runs.  The
    baseline (number 0) was not chosen by its runs, so all of them are fresh.
    """
    chosen = selecting(measured)
    return tuple(
        Run(
            m.value,
            m.seed,
            m.regime,
            fresh=number == 0 or at > chosen,
            error=_error(m),
            tainted=m.tainted,
            log_work=log_work(m),
            log_tokens=log_tokens(m),
            off_speed=off_speed(m),
            cases=cases_of(m),
        )
        for at, m in enumerate(measured)
        if m.value is not None
    )


def cases_of(m: Measurement) -> Mapping[str, float] | None:
    """Return the scores of a run by case, or None if the run's value is not a mean over cases."""
    found = m.extra.get("cases")
    return {str(case): float(score) for case, score in found.items()} if isinstance(found, Mapping) and found else None


def _error(m: Measurement) -> float:
    """Return the standard error of a run's own value, or 0 if none is recorded."""
    found = m.extra.get("lookahead_error")
    return abs(float(found)) if isinstance(found, int | float) and math.isfinite(found) else 0.0


def runs_of(history: History, experiment: Experiment) -> tuple[Run, ...]:
    """Return all runs of a finished experiment that have a value, including repeats that were made later."""
    return _all_runs(experiment, [r.measurement for r in history.repeats if r.number == experiment.number])


def _all_runs(experiment: Experiment, later: Sequence[Measurement]) -> tuple[Run, ...]:
    repeats = tuple(replace(run, fresh=True) for run in runs(later, experiment.number))
    return (*runs(experiment.measurements, experiment.number), *repeats)


def _later(history: History) -> Mapping[int, Sequence[Measurement]]:
    """Return the repeats of each experiment, by the experiment's number."""
    found: defaultdict[int, list[Measurement]] = defaultdict(list)
    for repeat in history.repeats:
        found[repeat.number].append(repeat.measurement)
    return found


def sigma_of(history: History) -> Sigma:
    """Return sigma, the standard deviation of one run at a constant speed of the machine.

    Sigma is pooled over everything that was repeated.
    """
    return noise_of(history)[1]


def noise_of(history: History, beside: Iterable[tuple[str, Run]] = ()) -> tuple[Slope, Sigma]:
    """Return how values change with the machine's speed, and the standard deviation of one run, from all repeats.

    ``beside`` lists more runs under the same conditions, each with the name of the version that ran.  A machine of a
    fleet has a sigma of its own once it has enough repeats (:func:`sigma.moderated`).
    """
    groups = sigma.replicates(chain(_with_commits(history), beside))
    steep, noise = slope.learned(groups, _assumed(history))
    if (regimes := history.own) is not None:
        own = slope.learned([group for group in groups if group[0].regime in regimes], _assumed(history))
        noise = sigma.moderated(own[1], noise)
    return steep, noise


def _assumed(history: History) -> Slope:
    """Return the slope that is assumed before there are repeats, from the curves of the baseline and the incumbent."""
    first, best = history.baseline, history.incumbent
    if first is None or best is None or first.value is None:
        return Slope()
    measured = [m for e in {first.number: first, best.number: best}.values() for m in e.measurements if not m.tainted]
    return slope.prior(measured, first.value)


def _with_commits(history: History) -> Iterator[tuple[str, Run]]:
    later = _later(history)
    for e in history.experiments:
        for run in _all_runs(e, later.get(e.number, ())):
            yield e.commit or str(e.number), run


def pair_sigma(history: History, axis: str | None, steep: float = 0.0) -> Sigma:
    """Return by how much the difference between a change and its incumbent varies, when both run on a common seed.

    The result is a standard deviation, pooled over the changes of the class of ``axis`` (:func:`sigma.pair_class`).
    ``steep`` says how values change with the work that a run could do at the machine's speed.
    """
    groups = []
    best: Experiment | None = None
    later, wanted = _later(history), sigma.pair_class(axis)
    numbered = {e.number: e for e in history.experiments}

    @cache  # cached, because one incumbent is compared with many changes
    def runs_with(number: int) -> tuple[Run, ...]:
        return _all_runs(numbered[number], later.get(number, ()))

    kept = {e.commit: e for e in history.experiments if e.status == "keep"}
    for e in history.experiments:
        if best is not None and sigma.pair_class(e.axis) == wanted:
            other = kept.get(e.against, best) if e.against is not None else best
            groups.append(sigma.pair_differences(runs_with(e.number), runs_with(other.number), steep))
        best = e if e.status == "keep" else best
    return sigma.pooled(groups, "change")


def standing(history: History, experiment: Experiment) -> float:
    """Return the value of a kept experiment for comparisons: the mean of its newest unselected runs, not its best run.

    In a fleet, the machine of the current regime may not have run this version; then the value that the version would
    have on that machine is estimated (:func:`levelled`).  Raises ValueError if the experiment has no value at all.
    """
    if (value := levelled(history, experiment)) is not None:
        return value
    if found := counting(history, experiment):
        return fmean(run.value for run in found)
    if experiment.value is None:
        raise ValueError(f"kept experiment {experiment.number} has no value")
    return experiment.value


def levelled(history: History, experiment: Experiment) -> float | None:
    """Estimate the value that a version would have in the current regime, from its runs in other regimes.

    The same file has a different value on each machine of a fleet.  So the difference between version and baseline is
    taken in another regime, and added to the baseline's value in the current regime.  Returns None if the version has
    runs in the current regime.  Returns None also if the baseline lacks runs, in the current regime or in every regime
    in which the version ran.
    """
    own = _means(runs_of(history, experiment))
    if history.regime in own or history.baseline is None:
        return None
    levels = _means(runs_of(history, history.baseline))
    above = [value - levels[regime] for regime, value in own.items() if regime in levels]
    return levels[history.regime] + fmean(above) if above and history.regime in levels else None


def _means(taken: Sequence[Run]) -> Mapping[int, float]:
    """Return the mean value of the undisturbed runs in each regime."""
    values: defaultdict[int, list[float]] = defaultdict(list)
    for run in taken:
        if not run.tainted:
            values[run.regime].append(run.value)
    return {regime: fmean(each) for regime, each in values.items()}


def counting(history: History, experiment: Experiment) -> tuple[Run, ...]:
    """Return the runs whose mean is :func:`standing`; none for an imported experiment.

    The mean is over the undisturbed runs of the current regime, or over all runs if the current regime has no
    undisturbed run.  Runs at the machine's usual speed are preferred, because another speed changes the value.
    """
    every = runs_of(history, experiment)
    told = by_tokens(every)
    full = [steady(run) for run in (every if told is None else told[0])]
    measured = [run.regime == history.regime and not run.tainted for run in every]
    usual = [run for run, here, whole in zip(every, measured, full, strict=True) if here and whole and run.fresh]
    here = [run for run, counts in zip(every, measured, strict=True) if counts]
    return newest_unselected(usual or here or every, Rules().record)


def measurements_counting(history: History, experiment: Experiment) -> tuple[Measurement, ...]:
    """Return the measurements of the runs whose mean is :func:`standing`, oldest first."""
    later = (r.measurement for r in history.repeats if r.number == experiment.number)
    valued = [m for m in (*experiment.measurements, *later) if m.value is not None]
    counts = counting(history, experiment)
    return tuple(m for run, m in zip(runs_of(history, experiment), valued, strict=True) if run in counts)


def as_of(history: History, commit: str) -> History:
    """Return the history as it was when ``commit`` was the incumbent: without the next keep and what came after it.

    If the commit was never kept, the history is returned as it is.
    """
    keeps = [at for at, e in enumerate(history.experiments) if e.status == "keep"]
    since = next((n for n, at in enumerate(keeps) if history.experiments[at].commit == commit), None)
    if since is None or since + 1 == len(keeps):
        return history
    return replace(history, experiments=history.experiments[: keeps[since + 1]])


def taken_now(history: History, experiment: Experiment) -> tuple[Measurement, ...]:
    """Return the measurements of a finished experiment in the current regime, oldest first."""
    later = (r.measurement for r in history.repeats if r.number == experiment.number)
    return tuple(m for m in (*experiment.measurements, *later) if m.regime == history.regime)


def gained(history: History) -> float | None:
    """Return the gain of the incumbent over the baseline, computed from :func:`standing`.

    Returns None if there is no incumbent or no baseline, or if their runs cannot be compared because their
    comparability keys differ.  In a fleet the keys may differ, provided that the machines have run the baseline too
    (:func:`levelled`).
    """
    first, best = history.baseline, history.incumbent
    if first is None or best is None:
        return None
    a, b = _keys(history, first), _keys(history, best)
    if a and b and a != b and levelled(history, best) is None:
        return None
    return history.gain(standing(history, best), over=standing(history, first))


def _keys(history: History, experiment: Experiment) -> set[str]:
    """Return the comparability keys of the runs from which an experiment's value was computed; empty if the ledger
    names none."""
    here = taken_now(history, experiment) or experiment.measurements
    return {m.key for m in here if m.key is not None and m.value is not None}


def age(history: History) -> int:
    """Return the number of experiments finished since the incumbent was last measured in the current regime."""
    return sigma.age_of(looked_at(history))


def looked_at(history: History) -> list[bool]:
    """Return for each experiment whether the incumbent was measured during it or right after it, in the current regime.

    The list is empty if there is no incumbent.  An imported incumbent has no runs, so the experiment that imported it
    counts as its run.
    """
    best = history.incumbent
    if best is None:
        return []
    repeats = [r for r in history.repeats if r.number == best.number]
    then = {r.during for r in repeats if r.measurement.regime == history.regime}
    if not best.measurements or any(m.regime == history.regime for m in best.measurements):
        then.add(best.number)
    return [e.number in then for e in history.experiments]


def longest_usual(history: History) -> Usual:
    """Return the longest time that a baseline run took for each phase.

    In a regime without a baseline run, return the times of the regime's first repeat.

    Raises ValueError without a baseline.
    """
    if history.baseline is None:
        raise ValueError("there is no baseline yet")
    before = [m for m in history.baseline.measurements if not m.tainted]
    here = [m for m in before if m.regime == history.regime]
    later = [r.measurement for r in history.repeats]
    again = [m for m in later if m.regime == history.regime and not m.tainted][:1]
    taken = here or again or before
    return Usual(
        start=_most(m.seconds.start for m in taken),
        compile=_most(m.seconds.compile for m in taken),
        ending=_most(m.extra.get("ending_seconds") for m in taken),
        ending_cpu=_most(m.extra.get("ending_cpu_seconds") for m in taken),
        evaluate=_most(m.seconds.evaluate for m in taken),
        evaluate_cpu=_most(m.extra.get("evaluate_cpu_seconds") for m in taken),
        token_seconds=_most(_train_seconds(m) / m.tokens if m.seconds.train and m.tokens else None for m in taken),
        token_cpu=_least(m.extra["train_cpu_seconds"] / m.tokens for m in taken if _has_processor_time(m)),
        num_params=_most(m.extra.get("num_params") for m in taken),
        matrix_params=_most(m.extra.get("matrix_params") for m in taken),
        tables=_most(m.extra.get("tables") for m in taken),
    )


def _least(values: Iterable[float]) -> float | None:
    """Return the smallest value, which is the most exact, because other programs can only add to the processor time of
    the same work."""
    return min(values, default=None)


def _has_processor_time(m: Measurement) -> bool:
    return bool(m.extra.get("train_cpu_seconds") and m.tokens)


def _train_seconds(m: Measurement) -> float:
    """Return the reference seconds of a training if the machine's speed is known, else the wall-clock seconds."""
    return (m.seconds.train or 0.0) * (m.speed or 1.0)


def _most(values: Iterable[_Number | None]) -> _Number | None:
    return max((value for value in values if value is not None), default=None)
