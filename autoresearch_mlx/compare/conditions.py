"""Whether the values of two logs may be compared at all, and if not, why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FACTS = {
    "data": "data",
    "tokenizer": "tokenizer",
    "rows": "validation rows",
    "seq_len": "length of a row",
    "budget_seconds": "time budget",
}
"""What a value depends on besides the machine and the edited file."""


def comparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[bool, tuple[str, ...]]:
    """Whether absolute values under two conditions compare; the reasons why not, in words.

    All of :data:`FACTS` must be known on both sides and equal: what nobody says does not match.
    """
    reasons = [reason for key, name in FACTS.items() if (reason := _reason(name, a.get(key), b.get(key)))]
    return not reasons, tuple(reasons)


def _reason(name: str, a: Any, b: Any) -> str:
    if a is None or b is None:
        return f"{name} not known on {'either side' if a is None and b is None else 'one side'}"
    return "" if a == b else f"{name} differ{'' if name in ('data', 'validation rows') else 's'} ({a}; {b})"


def of_session(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """From the record of a session.  The hash of its corpus stands for rows and tokenizer as well."""
    corpus = conditions.get("data_sha256")
    if corpus is None:
        return {}
    mark = f"corpus {str(corpus)[:12]}"
    return {
        "data": f"{conditions.get('source')}, {mark}",
        "tokenizer": f"{conditions.get('vocab_size')} tokens, {mark}",
        "rows": f"{conditions.get('eval_rows')} rows, {mark}",
        "seq_len": conditions.get("seq_len"),
        "budget_seconds": conditions.get("budget_seconds"),
    }


def of_table(facts: Mapping[str, str]) -> dict[str, Any]:
    """From the comment lines of a table; numbers are read as numbers."""
    return {key: _number(facts[key]) for key in FACTS if key in facts}


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
