"""Try the head without each weakly supported keep, and drop the keeps that the head does not need.

A rule that keeps 9 % of the changes without effect keeps a few such changes in a night.  So after every eight keeps,
the weakly supported keeps are tested one at a time.  The head is measured without the change, and if it is no worse,
the change is dropped (backward elimination).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch_mlx.experiment import Verdict
from autoresearch_mlx.judge.difference import counted, difference
from autoresearch_mlx.judge.evidence import Decision, Evidence, Rules, Sigma
from autoresearch_mlx.judge.next_run import OTHER_SPEED, effect_so_far, missing, refresh, thin, unlike

_WEAK = 2.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A kept experiment with the gain that was reported for it, in the metric's unit."""

    number: int
    gain: float
    tried: bool = False
    """True if an earlier trial removed the change, and the head was worse without it, so that the change stayed."""


def removal_due(keeps: int, at_last_pass: int = 0, every: int = 8) -> bool:
    """Return whether ``every`` changes or more were kept since the last pass, a series of trials of weak keeps.

    ``keeps`` is the number of all keeps so far, ``at_last_pass`` the number of keeps at the time of the last pass.
    Raises ValueError when ``every`` is under 1.
    """
    if every < 1:
        raise ValueError(f"a pass is due after 1 keep or more, not after {every}")
    return keeps - at_last_pass >= every


def suspects(kept: Sequence[Kept], sigma: Sigma) -> tuple[Kept, ...]:
    """Return the keeps that gained less than two sigma of one run and have had no trial yet, weakest first.

    The result is empty while sigma is unknown.
    """
    if sigma.value is None:
        return ()
    weak = [each for each in kept if not each.tried and each.gain < _WEAK * sigma.value]
    return tuple(sorted(weak, key=lambda each: each.gain))


def decide_removal(evidence: Evidence, rules: Rules | None = None) -> Decision:
    """Compare the head without a change, as the candidate, with the head; the verdict ``keep`` means that the change is
    dropped.

    One run of the candidate decides.  In simulations against an incumbent with three runs, a change that does nothing
    is dropped in six of ten trials.  A change that is worth two sigma of a run is dropped in about one trial of
    thirteen.
    """
    rules = rules or Rules()
    now = counted(evidence)
    if not now.candidate or not now.incumbent:
        return missing(evidence, now, rules)
    found = difference(now, rules.record)
    if not found.error:
        unmissed = now.sigma.value == 0 and found.gain >= 0
        said = "the head is as good without the change" if unmissed else "the effect cannot be judged without a sigma"
        if unmissed:
            return Verdict("keep", f"{said}: the change is dropped")
        return Verdict("discard", f"{said}: the change stays")
    if unlike(found, now, rules):
        return refresh(now, OTHER_SPEED)
    if found.score > rules.neutral and not found.blurred:
        return Verdict("keep", f"without the change, {effect_so_far(now, found)}: the change is dropped")
    if (reason := thin(now, rules)) and now.refreshes < rules.refreshes:
        return refresh(now, reason)
    return Verdict("discard", f"without the change, {effect_so_far(now, found)}: the change stays")
