"""Judge a session's candidates: gather the evidence for the statistical rules, and return a verdict or what to measure
next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Experiment, History, Measurement, Verdict
from autoresearch_mlx.judge import removal, sigma, stages
from autoresearch_mlx.judge.difference import Difference, counted, difference, newest_unselected
from autoresearch_mlx.judge.drift import drifted
from autoresearch_mlx.judge.evidence import Again, Decision, Evidence, Rules
from autoresearch_mlx.judge.evidence import Mode as StageMode
from autoresearch_mlx.judge.faults import confirmed, decide_faults
from autoresearch_mlx.judge.history import (
    age,
    longest_usual,
    looked_at,
    noise_of,
    pair_sigma,
    removed,
    runs,
    runs_of,
    sigma_of,
    standing,
    taken_now,
)
from autoresearch_mlx.judge.limits import Limit, broken_limits
from autoresearch_mlx.judge.margin import Margin, mean_value, verdict_on_failure
from autoresearch_mlx.judge.next_run import next_seed, steps_in_budget
from autoresearch_mlx.judge.shrinkage import Effect, effect_of
from autoresearch_mlx.judge.side_conditions import side_conditions
from autoresearch_mlx.judge.waiting import UNCOUNTED
from autoresearch_mlx.judge.work import compared

RECENT = 10
"""The usual size of an effect is estimated from the gains of at most this many keeps, the newest ones."""

PADDING_TIMES, PADDING_SECONDS = 3.0, 5.0
"""Time that a run may take before its first batch: a multiple of the baseline's time, plus a number of seconds.

The baseline's time is multiplied because a larger model takes longer to build.
"""

KNOWLEDGE_BYTES = 512
"""Size, in compressed bytes, above which an edit is kept only after an audit; most honest edits add less than 200
bytes."""
MOST_RUNS_FOR_AUDIT = 6
"""Number of runs after which the judge gives up an edit that could not be audited."""

UNCOUNTED_SAID, UNCOUNTED_HELD = 1.25, 1.4
"""Limits of a run's time for each token and matrix weight, as multiples of the baseline's.  From the first limit on, a
keep's reason states the time; from the second on, the keep waits for a person.

A script that passes each batch through the model twice took 1.5 to 2 times the baseline's time.
"""
UNCOUNTED_MORE = 1.2
"""Multiple of the incumbent's time below which a keep does not wait for a person, because the incumbent needed about as
much time and was kept or accepted."""

Mode: TypeAlias = Literal["auto", "fast", "adaptive", "strict", "margin"]


@dataclass(frozen=True, slots=True)
class Case:
    """A candidate and what is known about it, for the judge to decide."""

    number: int
    measurements: Sequence[Measurement]
    axis: str | None = None
    lines_removed: int = 0
    refreshes: int = 0
    """Number of the incumbent's runs that were already made for this decision."""
    refreshed: Mapping[str, int] = field(default_factory=dict)
    """In a fleet, the number of runs of the incumbent that each machine already made for this decision."""
    tried: bool = False
    """Whether the incumbent was measured to see if the machine works (:mod:`faults`)."""
    audited: bool = False
    """Whether the candidate's files were audited, which is required for a gain that is too large to be believed at
    once."""
    auditable: bool = False
    """Whether the target can audit a run."""
    accepted: bool = False
    """Whether a person has accepted the candidate's gain despite its size."""
    added_bytes: int = 0
    """Number of compressed bytes that the candidate's edit adds; a large edit could contain knowledge of rows or of
    weights."""
    same_cost: bool = False
    """Whether a step of the candidate does the same work as a step of the incumbent."""
    removes: int | None = None
    """Number of the kept experiment whose change this candidate removes, or None when it removes none."""


@dataclass(frozen=True, slots=True)
class Judge:
    """The rules of a session, with the settings of ``[judge]``."""

    margin: float
    """Gain that a change must reach while sigma is unknown, in the metric's unit."""
    mode: Mode = "auto"
    floor: float | None = None
    """The smallest gain that the user wants kept, whatever sigma is; None means no such limit."""
    replicates: int = 3
    """Number of runs of the baseline, from which sigma is first estimated."""
    refresh_every: int = 10
    """Number of experiments after which the incumbent is measured again."""
    removal_every: int = 8
    """Number of keeps after which weakly supported keeps are removed as a trial."""
    limits: Sequence[Limit] = ()
    """Limits of figures besides the metric."""
    budget_seconds: float | None = None
    """Seconds of training, from which the number of steps of a repeat is calculated.

    If the time is None, the clock ends repeats too.
    """

    @property
    def rules(self) -> Rules:
        """The thresholds, with the session's margin."""
        return Rules(margin=self.margin)

    def decide(self, history: History, case: Case) -> Decision:
        """Return a verdict, or what to measure next.  A run that failed decides the case, unless the run was
        disturbed."""
        return self.checked(self._decide(history, case), history, case)

    def checked(self, decision: Decision, history: History, case: Case) -> Decision:
        """Return the decision, but hold a keep back if a condition besides the metric speaks against it."""
        decision = confirmed(decision, history, case.measurements)
        decision = self._within_limits(self._examined(decision, history, case), history, case)
        decision = side_conditions(decision, history, case.measurements)
        return _with_command(_uncounted(decision, history, case), case)

    def failed(self, history: History, case: Case) -> Decision | None:
        """Return the decision if a run failed or took too long before its first batch; otherwise return None.

        A disturbed run counts only if the machine has ended it, and has ended at least three runs in a row.
        """
        if (stuck := decide_faults(history, case.measurements, case.tried)) is not None:
            return stuck
        undisturbed = [m for m in case.measurements if not m.tainted]
        if (failure := next(filter(None, map(verdict_on_failure, undisturbed)), None)) is not None:
            return failure
        return padded(history, undisturbed)

    def _decide(self, history: History, case: Case) -> Decision:
        if (failure := self.failed(history, case)) is not None:
            return failure
        if self.mode == "margin":
            return self.believed(self._by_margin(history, case), history, case)
        if history.incumbent is None:
            taken = runs(case.measurements, 0)
            return stages.decide_baseline(taken, history.metric, self.replicates, len(case.measurements) - len(taken))
        evidence = self.evidence(history, case)
        if case.removes is not None:
            return removal.decide_removal(evidence, self.rules)
        return self.worth_keeping(stages.decide(evidence, _stage(self.mode), self.rules), history, case)

    def _by_margin(self, history: History, case: Case) -> Decision:
        """Decide without statistics.

        If the incumbent was kept in another regime, only its runs in the current regime count.
        """
        rule, best = Margin(self.margin), history.incumbent
        if best is None or (history.regime == 0 and all(m.regime == 0 for m in best.measurements)):
            return rule.decide(history, case.measurements)
        if any(m.value is not None for m in taken_now(history, best)):
            return rule.decide(history, case.measurements, standing(history, best))
        if case.refreshes < self.rules.refreshes:
            return Again("the incumbent has no run that counts in this regime", "incumbent")
        return Verdict("invalid", f"{case.refreshes} runs of the incumbent gave no value, so nothing can be compared")

    def believed(self, decision: Decision, history: History, case: Case) -> Decision:
        """Return the decision; if it keeps a gain that is too good to be believed, ask for an audit, or hold the keep
        for a person.

        Nothing is done if the target cannot audit runs.
        """
        kept = isinstance(decision, Verdict) and decision.status == "keep"
        if not kept or not case.auditable or case.accepted or history.incumbent is None:
            return decision
        now = counted(self.evidence(history, case))
        value = mean_value(case.measurements)
        assert value is not None  # a keep has a value
        before = standing(history, history.incumbent)
        found = Difference(history.gain(value, over=before), 0.0, 0, 0.0, before, len(now.candidate), 1)
        asked = stages.quarantine(found, len(now.candidate), now.audited, None, self.rules)
        return asked or stages.held(found, now, self.rules) or decision

    def _examined(self, decision: Decision, history: History, case: Case) -> Decision:
        """Ask for an audit of a keep whose edit is so large that it could contain knowledge of rows or weights.

        An audit shows whether the gain is real, because a real gain appears on hidden rows too, however large the edit
        is.
        """
        kept = isinstance(decision, Verdict) and decision.status == "keep"
        free = case.added_bytes < KNOWLEDGE_BYTES or case.removes is not None or case.accepted
        if not kept or free or not case.auditable:
            return decision
        value = mean_value(case.measurements)
        if history.incumbent is None or value is None:
            return decision
        said = f"the edit adds {case.added_bytes:,} compressed bytes, which could hold knowledge of the data"
        if not case.audited:
            if len(case.measurements) > MOST_RUNS_FOR_AUDIT:
                return Verdict("invalid", f"{said}, and none of its {len(case.measurements)} runs was audited")
            gain = history.gain(value, over=standing(history, history.incumbent))
            return Again(f"{said}, so it is audited first", "candidate", audit=True, gain=gain)
        doubt = next((str(m.extra["audit_doubt"]) for m in case.measurements if "audit_doubt" in m.extra), None)
        if doubt is None:
            return decision
        return Verdict("discard", f"{said}, and its audit found {doubt}: discard", held=True)

    def _within_limits(self, decision: Decision, history: History, case: Case) -> Decision:
        """Return the verdict ``limit`` if an edit breaks a limit, unless it has lost anyway or all its runs failed."""
        going_on = isinstance(decision, Again) or decision.status == "keep"
        measured = mean_value([m for m in case.measurements if not m.tainted]) is not None
        if not self.limits or not going_on or not measured:
            return decision
        broken = "; ".join(broken_limits(self.limits, history, case.measurements))
        if not broken:
            return decision
        gained = decision.reason.partition(": keep")[0] if isinstance(decision, Verdict) else ""
        return Verdict("limit", f"{gained}, but {broken}" if gained else broken)

    def worth_keeping(self, decision: Decision, history: History, case: Case) -> Decision:
        """Turn a keep into a discard if the gain is below what the user wants; shorter code is exempt."""
        kept = isinstance(decision, Verdict) and decision.status == "keep"
        if not kept or self.floor is None or case.lines_removed > 0 or history.incumbent is None:
            return decision
        value = mean_value(case.measurements)
        assert value is not None  # a keep has a value
        gain = history.gain(value, over=standing(history, history.incumbent))
        now = counted(self.evidence(history, case))
        if now.candidate and now.incumbent and (found := difference(now, self.rules.record)).of_other_speed:
            gain = found.gain
        if gain > self.floor:
            return decision
        return Verdict(
            "discard", f"gain {terms.amount(gain)}, under the margin of {self.floor:g} that lab.toml asks for: discard"
        )

    def effect(self, history: History, case: Case) -> Effect | None:
        """Return the gain to report; return None while sigma is unknown, or while candidate or incumbent has no
        runs."""
        if self.mode == "margin" or history.incumbent is None:
            return None
        now = counted(self.evidence(history, case))
        if not now.candidate or not now.incumbent:
            return None
        found = difference(now, self.rules.record)
        return effect_of(found, now.recent_effects) if found.error else None

    def first_seed(self, history: History, case: Case) -> int | None:
        """Return the seed of a candidate's first run: the seed of an incumbent's run with which it will be compared.

        Returns None in the mode ``margin``, and if the incumbent has no run that counts.
        """
        if self.mode == "margin" or history.incumbent is None:
            return None
        return next_seed((), newest_unselected(counted(self.evidence(history, case)).incumbent, self.rules.record))

    def evidence(self, history: History, case: Case, over: Experiment | None = None) -> Evidence:
        """Return the evidence for the decision; ``over`` is the version to compare with, by default the incumbent.

        The history must have an incumbent.
        """
        best = over or history.incumbent
        assert best is not None
        steep, noise = noise_of(history)
        sides = compared(runs(case.measurements, case.number), runs_of(history, best), steep, case.same_cost)
        return Evidence(
            candidate=sides[0],
            incumbent=sides[1],
            sigma=noise,
            direction=history.direction,
            recent_effects=tuple(e.effect.get("raw", e.gain) for e in _gained(history)[-RECENT:]),
            lines_removed=case.lines_removed,
            regime=history.regime,
            pair_sigma=pair_sigma(history, case.axis, steep.value),
            incumbent_age=age(history),
            refreshes=case.refreshes,
            audited=case.audited,
            examined=any(m.extra.get("audited") is True for m in case.measurements),
            doubt=next((str(m.extra["audit_doubt"]) for m in case.measurements if "audit_doubt" in m.extra), ""),
            accepted=case.accepted,
            lost=sum(m.tainted and m.value is None for m in case.measurements),
            steps=(self._steps(case.measurements), self._steps(taken_now(history, best))),
            slope=steep,
        )

    def _steps(self, measured: Sequence[Measurement]) -> int | None:
        if self.budget_seconds is None:
            return None
        ran = [(m, m.seconds.train) for m in measured if m.seconds.train and not m.tainted]
        paces = [(m.steps, seconds / m.stretch if m.stretch else seconds) for m, seconds in ran if m.steps]
        return steps_in_budget(paces, self.budget_seconds)

    @property
    def baseline_runs(self) -> int:
        """Number of runs of the baseline that a session makes."""
        return 1 if self.mode == "margin" else self.replicates

    def refresh_due(self, history: History) -> bool:
        """Return whether it is time to measure the incumbent again."""
        due = sigma.refresh_due(looked_at(history), self.refresh_every)
        return self.mode != "margin" and history.incumbent is not None and due

    def drifted(self, history: History, new: Sequence[Measurement]) -> bool:
        """Return whether the incumbent's new runs differ so much from its old runs that the machine must have
        changed."""
        assert history.incumbent is not None
        old = [run for run in runs_of(history, history.incumbent) if run.regime == history.regime]
        fresh = [replace(run, fresh=True) for run in runs(new, history.incumbent.number)]
        steep, noise = noise_of(history)
        return drifted(newest_unselected(old, self.rules.record), fresh, noise, steep)

    def suspects(self, history: History) -> tuple[int, ...]:
        """Return the numbers of the kept experiments to remove as a trial, weakest first; empty while no pass is due.

        A pass is a series of such trials; it goes on while the last experiment was a trial.
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


def _uncounted(decision: Decision, history: History, case: Case) -> Decision:
    """State in a keep's reason how much work the budget did not count; if that is much, the keep waits for a person.

    A budget of tokens or operations does not count several passes over a batch, or a layer used twice; both cost time.
    A person must say whether the script is better or only trains longer.
    """
    # The smallest value counts, because other programs on the machine can only add to this time.
    taken = min((float(m.extra["operation_time"]) for m in case.measurements if "operation_time" in m.extra), default=0)
    if not isinstance(decision, Verdict) or decision.status != "keep" or taken < UNCOUNTED_SAID:
        return decision
    said = f"a run took {taken:.1f} times the baseline's time for each token and matrix weight, {UNCOUNTED}"
    if taken < UNCOUNTED_HELD or taken < UNCOUNTED_MORE * _incumbents_time(history) or case.accepted:
        return replace(decision, reason=f"{decision.reason}; {said}")
    gained = decision.reason.partition(": keep")[0]
    return Verdict("discard", f"{gained}, but {said} (several passes over a batch?): discard", held=True)


def _incumbents_time(history: History) -> float:
    """Return the incumbent's least time for each token and matrix weight, as a multiple of the baseline's."""
    first, best = (_work(history, e) for e in (history.baseline, history.incumbent))
    return best / first if first and best else 1.0


def _work(history: History, experiment: Experiment | None) -> float | None:
    """Return the least time for each token and matrix weight over an experiment's runs: processor time if known."""
    runs = () if experiment is None else taken_now(history, experiment) or experiment.measurements
    spent = (
        (m.extra.get("train_cpu_seconds") or m.seconds.train, m.tokens, m.extra.get("matrix_params")) for m in runs
    )
    return min((s / tokens / matrix for s, tokens, matrix in spent if s and tokens and matrix), default=None)


def _with_command(decision: Decision, case: Case) -> Decision:
    """Say in the reason of a held verdict which command keeps the experiment."""
    if not isinstance(decision, Verdict) or not decision.held:
        return decision
    return replace(decision, reason=f"{decision.reason}; `autoresearch-mlx accept {case.number}` keeps it")


def padded(history: History, measured: Sequence[Measurement]) -> Verdict | None:
    """Return the verdict ``invalid`` if a run took too long before its first batch, else None.

    The budget's clock starts at the first batch, so a script could train before its first batch.
    """
    if history.baseline is None:
        return None
    usual = longest_usual(history).start or 0.0
    taken = max((m.seconds.start or 0.0 for m in measured), default=0.0)
    if taken <= PADDING_TIMES * usual + PADDING_SECONDS:
        return None
    said = f"a run took {taken:.1f} s before its first batch, and the baseline {usual:.1f} s; the budget counts neither"
    return Verdict("invalid", said)


def _gained(history: History) -> list[Experiment]:
    kept = (e for e in history.experiments if e.status == "keep" and e.number > 0 and removed(e) is None)
    return [e for e in kept if e.gain is not None]


def _stage(mode: Mode) -> StageMode:
    assert mode != "margin"
    return mode
