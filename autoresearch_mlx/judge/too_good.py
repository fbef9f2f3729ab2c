"""A gain that is too good to be true is looked at twice, never turned down for being good.

Early in a night a real change may gain more than any cheat would dare; so a second seed and the audits
decide, and then the gain counts like any other.
"""

from __future__ import annotations

from autoresearch_mlx.experiment import Verdict
from autoresearch_mlx.judge.compare import Comparison
from autoresearch_mlx.judge.values import Again, Decision, Rules

_PATIENCE = 3
"""So many runs are taken while the audit that was asked for is not made."""


def incredible(comparison: Comparison, rules: Rules) -> bool:
    """Over 5 sigma and over 8 % of the incumbent's value; the latter alone while sigma is unknown."""
    least = max(rules.incredible_sigma * comparison.sigma, rules.incredible_share * abs(comparison.before))
    return comparison.gain > least > 0


def quarantine(comparison: Comparison, runs: int, audited: bool, seed: int | None, rules: Rules) -> Decision | None:
    """What is still asked for before such a gain may count, of a candidate with ``runs`` runs; None: nothing."""
    if not incredible(comparison, rules) or (audited and runs > 1):
        return None
    if runs >= _PATIENCE:
        return Verdict("invalid", f"{_size(comparison)}, and in {runs} runs nobody audited it")
    needs = "an audit" if runs > 1 else "a second seed" if audited else "a second seed and an audit"
    return Again(f"{_size(comparison)}: {needs} first", "candidate", seed, audit=not audited)


def _size(comparison: Comparison) -> str:
    share = f", {comparison.gain / abs(comparison.before):.0%} of {comparison.before:.6f}" if comparison.before else ""
    return f"gain {comparison.gain:.6f}{share}: too good to be believed at once"
