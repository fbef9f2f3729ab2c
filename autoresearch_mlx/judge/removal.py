"""Some keeps do nothing: a rule that keeps 8 % of what has no effect keeps a few in a night.

So every eight keeps the weakly supported ones are taken out on trial, one at a time: the head is
measured without the change, and a change that is not missed goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch_mlx.experiment import Verdict
from autoresearch_mlx.judge.difference import counted, difference
from autoresearch_mlx.judge.evidence import Decision, Evidence, Rules, Sigma
from autoresearch_mlx.judge.next_run import missing, refresh, thin, told

_WEAK = 2.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A kept experiment and what it was said to gain, shrunk, in the metric's unit."""

    number: int
    gain: float
    tried: bool = False
    """It was taken out on trial before, and stayed."""


def removal_due(keeps: int, at_last_pass: int = 0, every: int = 8) -> bool:
    """Were so many changes kept since the last pass, given all keeps and how many there were then?

    Raises ValueError when ``every`` is under 1.
    """
    if every < 1:
        raise ValueError(f"there is no pass every {every} keeps")
    return keeps - at_last_pass >= every


def suspects(kept: Sequence[Kept], sigma: Sigma) -> tuple[Kept, ...]:
    """The keeps with an effect under two sigma of a run that were not tried yet, weakest first; none without sigma."""
    if sigma.value is None:
        return ()
    weak = [each for each in kept if not each.tried and each.gain < _WEAK * sigma.value]
    return tuple(sorted(weak, key=lambda each: each.gain))


def decide_removal(evidence: Evidence, rules: Rules | None = None) -> Decision:
    """The head without a change (the candidate) against the head: ``keep`` drops the change.

    One run settles it.  What does nothing goes in six of ten trials, what is worth two sigma of a run
    in about one of thirteen, against an incumbent with three runs.
    """
    rules = rules or Rules()
    now = counted(evidence)
    if not now.candidate or not now.incumbent:
        return missing(evidence, now, rules)
    found = difference(now, rules.record)
    if not found.error:
        unmissed = now.sigma.value == 0 and found.gain >= 0
        said = "the same without it" if unmissed else "no sigma tells whether it is missed"
        return Verdict("keep", f"{said}: dropped") if unmissed else Verdict("discard", f"{said}: stays")
    if found.score > rules.neutral:
        return Verdict("keep", f"without it, {told(now, found)}: dropped")
    if (reason := thin(now, rules)) and now.refreshes < rules.refreshes:
        return refresh(now, reason)
    return Verdict("discard", f"without it, {told(now, found)}: stays")
