"""Define the budget of one experiment's training: a time, a number of tokens, or a number of operations.

    300                   seconds
    match-tokens:500M     the same number of tokens for every experiment, whatever time this takes
    match-tokens:h100     as many tokens as upstream's baseline saw in its five minutes
    match-flops:2e15      the same number of operations, counted as 6 per matrix parameter and token

A budget is written in three ways: one in lab.toml and on the command line, one in the ledger, and one in messages.
This module reads and writes all three.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from autoresearch_mlx.lab.assets import asset

Kind: TypeAlias = Literal["seconds", "match-tokens", "match-flops"]

EXAMPLES = "valid are 300, auto, match-tokens:500M, match-tokens:h100, match-flops:2e15"
_TABLE = "data/cuda_baseline.tsv"
_H100 = re.compile(r"^# tokens_each: ([0-9]+)$", re.MULTILINE)
_NUMBER = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?(?:e\+?[0-9]+)?)([kmbgtp]?)", re.IGNORECASE)
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12, "p": 1e15}
_KEYS: Mapping[Kind, str] = {
    "seconds": "budget_seconds",
    "match-tokens": "budget_tokens",
    "match-flops": "budget_flops",
}
"""Names of the budget's amount in a session's conditions, by the kind of budget."""
_MOST = 2.0**62


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget of a training run."""

    kind: Kind
    amount: float
    """Amount of the budget: seconds, tokens (a whole number) or floating-point operations."""

    def said(self) -> float | str:
        """Return the budget as lab.toml writes it: a number of seconds, or ``match-tokens:499646464``."""
        if self.kind == "seconds":
            return self.amount
        return f"{self.kind}:{self.amount:.0f}" if self.kind == "match-tokens" else f"{self.kind}:{self.amount!r}"

    def in_words(self) -> str:
        """Return the budget as people read it: ``300 s of training``, or ``499.6 M tokens of training``."""
        if self.kind == "seconds":
            return f"{self.amount:g} s of training"
        what = "tokens" if self.kind == "match-tokens" else "FLOPs"
        return f"{short(self.amount)} {what} of training"


def read(value: Any) -> Budget | None:
    """Return the budget that a user wrote; None for ``auto``.

    Raises ValueError for anything else; the message says what is valid.
    """
    if value == "auto":
        return None
    if isinstance(value, str) and ":" in value:
        kind, _, number = (part.strip() for part in value.partition(":"))
        if kind not in _KEYS or kind == "seconds":
            raise ValueError(f"{kind!r} is not a kind of budget: {EXAMPLES}")
        return Budget(kind, _amount(kind, number))  # type: ignore[arg-type]
    return Budget("seconds", _seconds(value))


def _seconds(value: Any) -> float:
    try:
        seconds = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        raise ValueError(f"should be a number of seconds, or another budget: {EXAMPLES}") from None
    if not math.isfinite(seconds):
        raise ValueError(f"should be a finite number of seconds: {EXAMPLES}")
    if seconds <= 0:
        raise ValueError("should be greater than 0")
    return seconds


def _amount(kind: str, text: str) -> float:
    if text.lower() == "h100":
        return _of_h100(kind)
    match = _NUMBER.fullmatch(text)
    found = float(match.group(1).replace("_", "")) * _UNITS[match.group(2).lower()] if match else 0.0
    if kind == "match-tokens":
        found = float(round(found)) if found < _MOST else found
    if not 1 <= found < (_MOST if kind == "match-tokens" else math.inf):
        raise ValueError(f"{text!r} is not a number of {'tokens' if kind == 'match-tokens' else 'FLOPs'}: {EXAMPLES}")
    return found


def _of_h100(kind: str) -> float:
    """Return the number of tokens that upstream's baseline saw on an H100, as a comment of the H100's table says."""
    if kind != "match-tokens":
        said = "match-flops has no figure for h100, because upstream also counts attention and this program does not"
        raise ValueError(f"{said}; use match-tokens:h100, or a number such as match-flops:2e15")
    match = _H100.search(asset(_TABLE).read_text(encoding="utf-8"))
    if match is None:
        raise ValueError(f"{_TABLE} does not give the tokens of h100: {EXAMPLES}")
    return float(match.group(1))


def normal(value: Any) -> float | str:
    """Return the standard form of a budget that a user wrote; ``500M`` and ``5e8`` have the same standard form.

    Raises the errors of :func:`read`.
    """
    budget = read(value)
    return "auto" if budget is None else budget.said()


def to_conditions(budget: Budget, most_seconds: float) -> dict[str, Any]:
    """Return the budget as entries of a session's conditions, which the ledger keeps.

    ``most_seconds`` is the longest training, in seconds, under a budget of tokens or operations.
    """
    amount = int(budget.amount) if budget.kind == "match-tokens" else float(budget.amount)
    found = {"budget_kind": budget.kind, "budget_seconds": None, _KEYS[budget.kind]: amount}
    return found if budget.kind == "seconds" else {**found, "max_seconds": most_seconds}


def of_conditions(conditions: Mapping[str, Any]) -> Budget | None:
    """Return the budget in a session's conditions; None if the budget is missing or of an unknown kind.

    If the conditions name no kind, the budget is in seconds.
    """
    kind = conditions.get("budget_kind", "seconds")
    amount = conditions.get(_KEYS.get(kind, ""))
    if kind not in get_args(Kind) or isinstance(amount, bool) or not isinstance(amount, int | float) or amount <= 0:
        return None
    return Budget(kind, float(amount))


def short(amount: float) -> str:
    """Return a count as text, such as ``65,536``, ``499.6 M`` or ``2.5 B``; from 1e12 on, use a power of ten."""
    for size, unit in ((1e12, ""), (1e9, "B"), (1e6, "M")):
        if amount >= size:
            return f"{amount / size:.4g} {unit}" if unit else f"{amount:.4g}"
    return f"{amount:,.0f}"
