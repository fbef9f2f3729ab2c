"""Decide in stages: return a verdict from the evidence, or ask for one more measurement.

After one run, a clear loser is discarded and a clear winner is kept.  Any other candidate runs again on further seeds,
and all its runs count.  The procedure is a group sequential test: the bounds narrow with the number of runs.  The
bounds were chosen by simulating whole decisions (`bench/judge.py`), so that checking after each run adds no false
keeps.

This module also decides on the baseline, which only has to be repeated, and asks for an audit of gains that are too
large to be believed at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Verdict
from autoresearch_mlx.judge.difference import Difference, counted, difference, newest_unselected
from autoresearch_mlx.judge.evidence import Again, Decision, Evidence, Mode, Rules, Run, Sigma, Stages
from autoresearch_mlx.judge.margin import by_margin
from autoresearch_mlx.judge.next_run import (
    OTHER_SPEED,
    disturbed,
    effect_so_far,
    missing,
    next_seed,
    refresh,
    repeat,
    thin,
    unlike,
)
from autoresearch_mlx.judge.sigma import pooled

TOO_GOOD = "too good to be believed"
"""Words that mark the reason of an experiment whose gain needs an audit; ledgers hold them, so they stay."""
_PATIENCE = 3
"""Number of runs after which a candidate is invalid if an audit was asked for and none of the runs was audited."""


def decide(evidence: Evidence, mode: Mode = "auto", rules: Rules | None = None) -> Decision:
    """Return a keep, a discard, or what to measure next; the number of runs is bounded, whatever their values are."""
    rules = rules or Rules()
    now = counted(evidence)
    if not now.candidate or not now.incumbent:
        return missing(evidence, now, rules)
    found = difference(now, rules.record)
    if unlike(found, now, rules):
        return refresh(now, OTHER_SPEED)
    decision = (None if found.by_case else _quarantined(now, found, rules)) or _decided(now, found, mode, rules)
    if isinstance(decision, Again) and decision.whom == "candidate" and disturbed(evidence) >= rules.spoiled:
        return _given_up(now, found, disturbed(evidence))
    return decision


def settled_mode(recent_effects: Sequence[float], sigma: Sigma, rules: Rules) -> Mode:
    """Return the mode that ``auto`` means now.

    The mode is ``fast`` while the last keeps gained much more than sigma, else ``adaptive``.
    """
    last = [abs(effect) for effect in recent_effects[-rules.fast_window :]]
    if len(last) < rules.fast_proof or sigma.value is None:
        return "adaptive"
    return "fast" if median(last) >= rules.fast_from * sigma.value else "adaptive"


def decide_baseline(runs: Sequence[Run], metric: str, replicates: int = 3, lost: int = 0) -> Decision:
    """Return what to measure until the baseline has ``replicates`` undisturbed runs, from which sigma is first
    estimated.

    After twice as many runs, the baseline is kept if it has at least one undisturbed run, and is invalid otherwise.
    ``lost`` counts the runs that were disturbed and ended without a value; these are not among ``runs``.
    """
    values = [run.value for run in runs if not run.tainted]
    if len(values) < replicates and len(runs) + lost < 2 * replicates:
        return Again(f"run {len(values) + 1} of {replicates} of the baseline", "incumbent", next_seed(runs, ()))
    if not values:
        return Verdict(
            "invalid", f"all {len(runs) + lost} runs of the baseline were disturbed; close other programs and run again"
        )
    sigma = pooled([values]).value
    spread = f", sigma {terms.amount(sigma)} of {len(values)} runs" if sigma is not None else ""
    return Verdict("keep", f"baseline: {metric} {terms.value(fmean(values))}{spread}")


def _quarantined(now: Evidence, found: Difference, rules: Rules) -> Decision | None:
    seed = next_seed(now.candidate, newest_unselected(now.incumbent, rules.record))
    if now.accepted:
        return None
    return quarantine(found, len(now.candidate), now.audited, seed, rules) or held(found, now, rules)


def _decided(now: Evidence, found: Difference, mode: Mode, rules: Rules) -> Decision:
    if not found.error:
        return _without_sigma(now, found, rules)
    if mode == "auto":
        mode = settled_mode(now.recent_effects, now.sigma, rules)
    if mode == "fast" and not found.by_case:
        return _fast(now, found, rules)
    return _staged(now, found, rules.strict if mode == "strict" else rules.adaptive, rules)


def _given_up(now: Evidence, found: Difference, spoiled: int) -> Verdict:
    size = f"{effect_so_far(now, found)}: " if found.error else ""
    return Verdict("invalid", f"{size}undecided, and {spoiled} further runs were disturbed")


def _without_sigma(now: Evidence, found: Difference, rules: Rules) -> Verdict:
    if now.sigma.value == 0 and found.gain == 0 and now.lines_removed > 0:
        return Verdict("keep", f"equal to the last digit with {_lines(now.lines_removed)}: keep")
    return by_margin(found.gain, found.before, rules.margin)


def _fast(now: Evidence, found: Difference, rules: Rules) -> Decision:
    if found.gain > math.hypot(rules.fast_margin * found.sigma, found.speed_error):
        return _keep(now, found, "fast" if len(now.candidate) == 1 else "")
    return _shorter(now, found, rules) or _discard(now, found)


def _staged(now: Evidence, found: Difference, stages: Stages, rules: Rules) -> Decision:
    settled = found.by_case is not None and found.by_case.settled  # another run would give the same answers
    runs, score = stages.limit if settled else len(now.candidate), found.score
    lower, upper = stages.at(runs)
    if score >= upper:
        return _keep(now, found, "fast" if runs == 1 else "")
    if score < lower:
        return _shorter(now, found, rules) or _discard(now, found)
    if (reason := thin(now, rules)) and now.refreshes < rules.refreshes:
        return refresh(now, reason)
    return _shorter(now, found, rules) or repeat(now, found, rules)


def _shorter(now: Evidence, found: Difference, rules: Rules) -> Decision | None:
    """Return a keep, or a request for a second run, for shorter code that is no worse than the incumbent; else None."""
    if now.lines_removed <= 0 or found.score <= rules.neutral or found.blurred:
        return None
    if len(now.candidate) < 2:
        return repeat(now, found, rules)
    return _keep(now, found, f"equal with {_lines(now.lines_removed)}")


def _keep(now: Evidence, found: Difference, note: str) -> Verdict:
    return Verdict("keep", f"{effect_so_far(now, found)}: keep{', ' if note else ''}{note}")


def _discard(now: Evidence, found: Difference) -> Verdict:
    return Verdict("discard", f"{effect_so_far(now, found)}: discard")


def _lines(removed: int) -> str:
    return f"{removed} fewer line{'' if removed == 1 else 's'}"


def incredible(comparison: Difference, rules: Rules) -> bool:
    """Return whether a gain exceeds 5 sigma (if sigma is known) and 8 % of the incumbent's value."""
    least = max(rules.incredible_sigma * comparison.sigma, rules.incredible_share * abs(comparison.before))
    return comparison.gain > least > 0


def quarantine(comparison: Difference, runs: int, audited: bool, seed: int | None, rules: Rules) -> Decision | None:
    """Return what a candidate with ``runs`` runs still needs before a gain that seems too large may count.

    Returns None if the candidate needs nothing more.
    """
    if not incredible(comparison, rules) or (audited and runs > 1):
        return None
    if runs >= _PATIENCE:
        return Verdict("invalid", f"{_size(comparison)}, and none of its {runs} runs was audited")
    needs = "an audit" if runs > 1 else "a second seed" if audited else "a second seed and an audit"
    return Again(f"{_size(comparison)}: {needs} first", "candidate", seed, audit=not audited, gain=comparison.gain)


def held(comparison: Difference, now: Evidence, rules: Rules) -> Verdict | None:
    """Return the verdict on an audited gain that only a person may accept; return None if the gain may be kept.

    When the target cannot audit a run, a second measurement is enough.
    """
    beyond = comparison.gain > rules.unbelievable_share * abs(comparison.before)
    if not now.examined or not incredible(comparison, rules) or not (beyond or now.doubt):
        return None
    doubt = f" ({now.doubt})" if now.doubt else ""
    size = _size(comparison).removesuffix(" at once")
    return Verdict("discard", f"{size}, though an audit found nothing against it{doubt}: discard", held=True)


def _size(comparison: Difference) -> str:
    share = (
        f", {comparison.gain / abs(comparison.before):.0%} of {terms.value(comparison.before)}"
        if comparison.before
        else ""
    )
    return f"gain {terms.amount(comparison.gain)}{share}: {TOO_GOOD} at once"
