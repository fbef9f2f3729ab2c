"""How a session decides: what the ledger tells, laid out for the pure rules of :mod:`judge`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal, TypeAlias

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Experiment, History, Measurement, Verdict, verdict_on_failure
from autoresearch_mlx.judge import removal, sigma, stages
from autoresearch_mlx.judge.difference import counted, difference, newest_unselected
from autoresearch_mlx.judge.early import Account, Past, account
from autoresearch_mlx.judge.evidence import Again, Decision, Evidence, Rules, Run, Sigma
from autoresearch_mlx.judge.evidence import Mode as StageMode
from autoresearch_mlx.judge.margin import Margin, mean_value
from autoresearch_mlx.judge.next_run import calibrated_steps
from autoresearch_mlx.judge.shrinkage import Effect, effect_of

RECENT = 10
"""Keeps whose gains tell how large effects are."""

PADDING_TIMES, PADDING_SECONDS = 3.0, 5.0
"""How much longer than the baseline a run may take before its first batch: a larger model takes longer to build."""

Mode: TypeAlias = Literal["auto", "fast", "adaptive", "strict", "margin"]


@dataclass(frozen=True, slots=True)
class Case:
    """A candidate before the judge."""

    number: int
    measurements: Sequence[Measurement]
    axis: str | None = None
    lines_removed: int = 0
    refreshes: int = 0
    """Runs of the incumbent that were taken for this decision already."""
    audited: bool = False
    removes: int | None = None
    """The kept experiment that this candidate takes out on trial."""


@dataclass(frozen=True, slots=True)
class Judge:
    """The session's way to decide."""

    margin: float
    """What a change must gain while sigma is unknown."""
    mode: Mode = "auto"
    floor: float | None = None
    """The least gain that the person wants kept, whatever sigma says; None: any that is believed."""
    replicates: int = 3
    """Runs of the baseline, from which sigma starts."""
    refresh_every: int = 10
    """Experiments after which the incumbent is measured again."""
    removal_every: int = 8
    """Keeps after which weakly supported ones are taken out on trial."""
    budget_seconds: float | None = None
    """Of a run whose repeats end by steps that fit into it; None: the clock ends them too."""

    @property
    def rules(self) -> Rules:
        return Rules(margin=self.margin)

    def decide(self, history: History, case: Case) -> Decision:
        """A verdict, or what to measure next.  A run that failed decides by its failure, unless it was disturbed."""
        undisturbed = [m for m in case.measurements if not m.tainted]
        if (failed := next(filter(None, map(verdict_on_failure, undisturbed)), None)) is not None:
            return failed
        if (late := padded(history, undisturbed)) is not None:
            return late
        if self.mode == "margin":
            return self._by_margin(history, case)
        if history.incumbent is None:
            taken = runs(case.measurements, 0)
            return stages.decide_baseline(taken, history.metric, self.replicates, len(case.measurements) - len(taken))
        evidence = self.evidence(history, case)
        if case.removes is not None:
            return removal.decide_removal(evidence, self.rules)
        return self._worth_keeping(stages.decide(evidence, _stage(self.mode), self.rules), history, case)

    def _by_margin(self, history: History, case: Case) -> Decision:
        """Where the incumbent was kept in another stand, against its runs in the current one alone."""
        rule, best = Margin(self.margin), history.incumbent
        if best is None or (history.stand == 0 and all(m.stand == 0 for m in best.measurements)):
            return rule.decide(history, case.measurements)
        if any(m.value is not None for m in taken_now(history, best)):
            return rule.decide(history, case.measurements, standing(history, best))
        if case.refreshes < self.rules.refreshes:
            return Again("the incumbent has no run that counts in this stand", "incumbent")
        return Verdict("invalid", f"{case.refreshes} runs of the incumbent gave no value: nothing to compare with")

    def _worth_keeping(self, decision: Decision, history: History, case: Case) -> Decision:
        """A believed gain below what the person wants is discarded all the same."""
        kept = isinstance(decision, Verdict) and decision.status == "keep"
        if not kept or self.floor is None or case.lines_removed > 0 or history.incumbent is None:
            return decision
        value = mean_value(case.measurements)
        assert value is not None  # or it would not be kept
        gain = history.gain(value, over=standing(history, history.incumbent))
        if gain > self.floor:
            return decision
        return Verdict(
            "discard", f"gain {terms.amount(gain)}, under the margin of {self.floor:g} that lab.toml asks for: discard"
        )

    def effect(self, history: History, case: Case) -> Effect | None:
        """The gain as it is reported; None without a known sigma or without runs on both sides."""
        if self.mode == "margin" or history.incumbent is None:
            return None
        now = counted(self.evidence(history, case))
        if not now.candidate or not now.incumbent:
            return None
        found = difference(now, self.rules.record)
        return effect_of(found, now.recent_effects) if found.error else None

    def evidence(self, history: History, case: Case) -> Evidence:
        """All that bears on the case.  The history must have an incumbent."""
        best = history.incumbent
        assert best is not None
        return Evidence(
            candidate=runs(case.measurements, case.number),
            incumbent=runs_of(history, best),
            sigma=sigma_of(history),
            direction=history.direction,
            recent_effects=tuple(e.effect.get("raw", e.gain) for e in _gained(history)[-RECENT:]),
            lines_removed=case.lines_removed,
            stand=history.stand,
            pair_sigma=pair_sigma(history, case.axis),
            incumbent_age=age(history),
            refreshes=case.refreshes,
            audited=case.audited,
            lost=sum(m.tainted and m.value is None for m in case.measurements),
            steps=(self._steps(case.measurements), self._steps(taken_now(history, best))),
        )

    def _steps(self, measured: Sequence[Measurement]) -> int | None:
        if self.budget_seconds is None:
            return None
        paces = [(m.steps, m.seconds.train) for m in measured if m.steps and m.seconds.train and not m.tainted]
        return calibrated_steps(paces, self.budget_seconds)

    @property
    def baseline_runs(self) -> int:
        """How many runs of the baseline are wanted."""
        return 1 if self.mode == "margin" else self.replicates

    def refresh_due(self, history: History) -> bool:
        due = sigma.refresh_due(_looked_at(history), self.refresh_every)
        return self.mode != "margin" and history.incumbent is not None and due

    def drifted(self, history: History, new: Sequence[Measurement]) -> bool:
        """Whether the incumbent's new runs lie so far from its old ones that the machine must have changed."""
        assert history.incumbent is not None
        old = [run for run in runs_of(history, history.incumbent) if run.stand == history.stand]
        fresh = [replace(run, fresh=True) for run in runs(new, history.incumbent.number)]
        return sigma.drifted(newest_unselected(old, self.rules.record), fresh, sigma_of(history))

    def suspects(self, history: History) -> tuple[int, ...]:
        """Kept experiments to be taken out on trial now, weakest first; empty while no pass is due.

        A pass goes on for as long as the last experiment was one of it.
        """
        keeps = [e for e in history.experiments if e.status == "keep" and e.number > 0 and removed(e) is None]
        trials = [e for e in history.experiments if removed(e) is not None]
        at_last = sum(e.number < trials[-1].number for e in keeps) if trials else 0
        going_on = bool(trials) and trials[-1] is history.experiments[-1]
        if self.mode == "margin" or not (going_on or removal.removal_due(len(keeps), at_last, self.removal_every)):
            return ()
        tried = {removed(e) for e in trials}
        kept = [removal.Kept(e.number, e.gain or 0.0, e.number in tried) for e in keeps]
        return tuple(each.number for each in removal.suspects(kept, sigma_of(history)))


def padded(history: History, measured: Sequence[Measurement]) -> Verdict | None:
    """The verdict on a run that took its time before its first batch, where the budget's clock does not run yet."""
    if history.baseline is None:
        return None
    usual = _usual_start(history)
    taken = max((m.seconds.start or 0.0 for m in measured), default=0.0)
    if taken <= PADDING_TIMES * usual + PADDING_SECONDS:
        return None
    said = (
        f"{taken:.1f} s before its first batch, where the baseline took {usual:.1f} s: the budget does not count them"
    )
    return Verdict("invalid", said)


def _usual_start(history: History) -> float:
    """Of the baseline; where this machine has not run it, of the incumbent's first run on it."""
    assert history.baseline is not None
    before = [m for m in history.baseline.measurements if not m.tainted]
    here = [m for m in before if m.stand == history.stand]
    later = [r.measurement for r in history.repeats]
    again = [m for m in later if m.stand == history.stand and not m.tainted][:1]
    return max((m.seconds.start or 0.0 for m in here or again or before), default=0.0)


def stops(history: History, budget_seconds: float | None) -> Account:
    """What stopping losers has saved, and how often the audits found it wrong.

    Without a budget of seconds the pace of a stopped run tells how long it would have taken.
    """
    past = [
        Past(m.extra["stop"]["share"], budget_seconds or _whole(m), bool(m.extra["stop"]["audit"]), e.status)
        for e in history.experiments
        for m in e.measurements[selecting(e.measurements) :][:1]
        if isinstance(m.extra.get("stop"), dict)
    ]
    return account(past)


def _whole(stopped: Measurement) -> float:
    """Seconds of training that a stopped run would have taken; 0 where nothing tells."""
    share = stopped.extra["stop"]["share"]
    return (stopped.seconds.train or 0.0) / share if share > 0 else 0.0


def removed(experiment: Experiment) -> int | None:
    """The kept experiment that this one takes out on trial, if that is what it does."""
    number = experiment.talk.get("removes")
    return number if isinstance(number, int) else None


def selecting(measured: Sequence[Measurement]) -> int:
    """Index of the run that a proposal was selected by: its first undisturbed one."""
    return next((at for at, m in enumerate(measured) if not m.tainted), 0)


def runs(measured: Sequence[Measurement], number: int) -> tuple[Run, ...]:
    """The successful runs of one experiment; the first one of a proposal is what it was selected by."""
    chosen = selecting(measured)
    return tuple(
        Run(m.value, m.seed, m.stand, fresh=number == 0 or at > chosen, tainted=m.tainted)
        for at, m in enumerate(measured)
        if m.value is not None
    )


def runs_of(history: History, experiment: Experiment) -> tuple[Run, ...]:
    """All runs of a finished experiment, those taken later too."""
    return _all_runs(experiment, [r.measurement for r in history.repeats if r.number == experiment.number])


def _all_runs(experiment: Experiment, later: Sequence[Measurement]) -> tuple[Run, ...]:
    repeats = tuple(replace(run, fresh=True) for run in runs(later, experiment.number))
    return (*runs(experiment.measurements, experiment.number), *repeats)


def _later(history: History) -> Mapping[int, Sequence[Measurement]]:
    """The repeats of each experiment that has some: looked up once for a whole history."""
    found: defaultdict[int, list[Measurement]] = defaultdict(list)
    for repeat in history.repeats:
        found[repeat.number].append(repeat.measurement)
    return found


def sigma_of(history: History) -> Sigma:
    """Of one run, pooled over all that was repeated."""
    return sigma.pooled(sigma.replicates(_with_commits(history)))


def _with_commits(history: History) -> Iterator[tuple[str, Run]]:
    later = _later(history)
    for e in history.experiments:
        for run in _all_runs(e, later.get(e.number, ())):
            yield e.commit or str(e.number), run


def pair_sigma(history: History, axis: str | None) -> Sigma:
    """Of the difference on a common seed between a change of this class and its incumbent."""
    groups = []
    best: Experiment | None = None
    later, wanted = _later(history), sigma.pair_class(axis)
    for e in history.experiments:
        if best is not None and sigma.pair_class(e.axis) == wanted:
            ran, before = (_all_runs(each, later.get(each.number, ())) for each in (e, best))
            groups.append(sigma.pair_differences(ran, before))
        best = e if e.status == "keep" else best
    return sigma.pooled(groups, "change")


def standing(history: History, experiment: Experiment) -> float:
    """What a kept experiment counts by: its newest unselected runs, never the best one.

    Raises ValueError when it has no value at all.
    """
    if found := counting(history, experiment):
        return fmean(run.value for run in found)
    if experiment.value is None:
        raise ValueError(f"kept experiment {experiment.number} has no value")
    return experiment.value


def counting(history: History, experiment: Experiment) -> tuple[Run, ...]:
    """The runs that :func:`standing` is the mean of; none for an imported experiment."""
    every = runs_of(history, experiment)
    measured = [run for run in every if run.stand == history.stand and not run.tainted]
    return newest_unselected(measured or every, Rules().record)


def taken_now(history: History, experiment: Experiment) -> tuple[Measurement, ...]:
    """The measurements of a finished experiment in the current stand, oldest first."""
    later = (r.measurement for r in history.repeats if r.number == experiment.number)
    return tuple(m for m in (*experiment.measurements, *later) if m.stand == history.stand)


def gained(history: History) -> float | None:
    """Of the incumbent over the baseline as both stand.

    None without both, and where they stand by runs of different keys: those are no equals.
    """
    first, best = history.baseline, history.incumbent
    if first is None or best is None:
        return None
    a, b = _keys(history, first), _keys(history, best)
    if a and b and a != b:
        return None
    return history.gain(standing(history, best), over=standing(history, first))


def _keys(history: History, experiment: Experiment) -> set[str]:
    """Of the runs that it stands by; none where no ledger told."""
    here = taken_now(history, experiment) or experiment.measurements
    return {m.key for m in here if m.key is not None and m.value is not None}


def age(history: History) -> int:
    """Experiments finished since the incumbent was last measured."""
    return sigma.age_of(_looked_at(history))


def _looked_at(history: History) -> list[bool]:
    """For each experiment, whether today's incumbent ran in the current stand in it or right after it.

    Empty where there is no incumbent.  One that was imported has no runs: its experiment stands in for them.
    """
    best = history.incumbent
    if best is None:
        return []
    repeats = [r for r in history.repeats if r.number == best.number]
    then = {r.during for r in repeats if r.measurement.stand == history.stand}
    if not best.measurements or any(m.stand == history.stand for m in best.measurements):
        then.add(best.number)
    return [e.number in then for e in history.experiments]


def _gained(history: History) -> list[Experiment]:
    kept = (e for e in history.experiments if e.status == "keep" and e.number > 0 and removed(e) is None)
    return [e for e in kept if e.gain is not None]


def _stage(mode: Mode) -> StageMode:
    assert mode != "margin"
    return mode


__all__ = ["Again", "Case", "Judge", "Mode", "age", "removed", "runs", "runs_of", "selecting", "sigma_of", "standing"]
