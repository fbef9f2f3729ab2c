"""Choose the next run and its seed while the evidence does not decide yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from autoresearch_mlx.experiment import Verdict
from autoresearch_mlx.judge.difference import Difference, newest_unselected
from autoresearch_mlx.judge.evidence import Again, Decision, Evidence, Rules, Run
from autoresearch_mlx.judge.shrinkage import effect_of, in_words


def steps_in_budget(runs: Sequence[tuple[int, float]], budget_seconds: float) -> int | None:
    """Return the number of steps that fit into the budget at the median pace of ``runs``, which are given as (steps,
    seconds of training).

    Returns None when no run has both numbers.  Each file is timed by its own runs, so a faster file still gets more
    steps.
    """
    paces = [seconds / steps for steps, seconds in runs if steps > 0 and seconds > 0]
    return max(1, math.floor(budget_seconds / median(paces))) if paces else None


def missing(evidence: Evidence, now: Evidence, rules: Rules) -> Decision:
    """Return the next run if the candidate or the incumbent has no run that counts.

    After too many attempts, the verdict is ``invalid``.
    """
    if now.candidate:
        if evidence.refreshes < rules.refreshes:
            return refresh(now, "the incumbent has no run that counts in this regime")
        return Verdict(
            "invalid", f"{evidence.refreshes} runs of the incumbent were disturbed, so nothing can be compared"
        )
    spoiled = disturbed(evidence)
    if spoiled >= rules.spoiled:
        return Verdict("invalid", f"all {spoiled} runs were disturbed, so nothing can be compared")
    reason = "disturbed: measured again" if spoiled else "not measured yet"
    return Again(reason, "candidate", next_seed((), newest_unselected(now.incumbent, rules.record)))


def disturbed(evidence: Evidence) -> int:
    """Return the number of the candidate's runs in this regime that were disturbed."""
    return evidence.lost + sum(run.tainted for run in evidence.candidate if run.regime == evidence.regime)


def thin(now: Evidence, rules: Rules) -> str:
    """Return why the incumbent should be measured before a close call, or an empty string when no such run is
    needed."""
    if sum(run.fresh for run in now.incumbent) < rules.record_least:
        return "close, and the incumbent has too few runs that were not selected"
    if now.incumbent_age > rules.record_age:
        return f"close, and the incumbent was last measured {now.incumbent_age} experiments ago"
    return ""


OTHER_SPEED = "the machine was not as fast as when the incumbent ran"
"""Reason for measuring the incumbent again, at the speed that the machine has now."""


def unlike(found: Difference, now: Evidence, rules: Rules) -> bool:
    """Return whether a candidate is undecided only because the machine's speed differed, so that a new run of the
    incumbent may decide.

    A loss larger than the gain that a keep needs is clear at any speed.
    """
    clear = found.error > 0 and found.score <= -rules.adaptive.upper[0]
    return found.blurred and not clear and now.refreshes < rules.refreshes


def repeat(now: Evidence, found: Difference, rules: Rules) -> Again:
    """Ask for one more run of the candidate, if possible on a seed on which the incumbent has run."""
    seed = next_seed(now.candidate, newest_unselected(now.incumbent, rules.record))
    return Again(f"{effect_so_far(now, found)}: measure again", "candidate", seed, now.steps[0])


def refresh(now: Evidence, reason: str) -> Again:
    """Ask for one more run of the incumbent, if possible on a seed on which the candidate has run."""
    return Again(reason, "incumbent", next_seed(now.incumbent, now.candidate), now.steps[1])


def effect_so_far(now: Evidence, found: Difference) -> str:
    """Return the estimated effect so far, as text."""
    words = in_words(effect_of(found, now.recent_effects))
    return f"{words}, {found.by_case.words}" if found.by_case is not None else words


def next_seed(taken: Sequence[Run], other: Sequence[Run]) -> int | None:
    """Return a seed on which only ``other`` has run, so that a run on this seed makes a pair.

    If there is no such seed, return a new seed.  Return None if ``taken`` and ``other`` are empty.
    """
    mine, theirs = {run.seed for run in taken}, [run.seed for run in other]
    free = [seed for seed in theirs if seed not in mine]
    if free:
        return free[0]
    return max((*mine, *theirs)) + 1 if mine or theirs else None
