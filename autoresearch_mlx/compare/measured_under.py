"""Describe the conditions of a log's values, and decide whether the values of two logs can be compared.

The conditions are parts of the comparability key (:mod:`comparability`), as far as a ledger or a table gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoresearch_mlx.lab.comparability import NAMES, budget_in_words, differing, key_of
from autoresearch_mlx.store.ledger import Journal
from autoresearch_mlx.store.regimes import newest_machine

FACTS = {name: NAMES[name] for name in ("data", "tokenizer", "rows", "seq_len", "budget", "machine")}
"""The parts of the comparability key that must be known and equal before the values of two logs are compared."""
FINER = {name: NAMES[name] for name in ("split", "device", "gpu_cores", "blas", "mlx")}
"""Parts that only a ledger has.  If both logs have such a part, its values must be equal; a part that one log lacks is
ignored."""


def comparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[bool, tuple[str, ...]]:
    """Return two values: whether values measured under ``a`` and ``b`` can be compared, and the reasons why not.

    All of :data:`FACTS` must be known in both logs and equal.
    """
    reasons = [reason for key, name in FACTS.items() if (reason := _reason(name, a.get(key), b.get(key)))]
    finer = [_reason(FINER[key], a[key], b[key]) for key in differing(a, b) if key in FINER]
    return not reasons and not finer, (*reasons, *finer)


def _reason(name: str, a: Any, b: Any) -> str:
    if a is None or b is None:
        return f"{name} not known on {'either side' if a is None and b is None else 'one side'}"
    return (
        "" if a == b else f"{name} differ{'' if name in ('data', 'validation rows', 'GPU cores') else 's'} ({a}; {b})"
    )


def of_session(record: Mapping[str, Any], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a session's comparability key.

    The parts come from the first line of the session's ledger, and from the machine that the measurements record.

    The result is empty for a session that does not train a model, because no table has such conditions.
    """
    conditions = record.get("conditions") or {}
    if conditions.get("data_sha256") is None:
        return {}
    seconds = {"budget_seconds": conditions.get("budget_seconds")}
    return {**key_of(record, machine).parts, **seconds}


def of_journal(journal: Journal) -> dict[str, Any]:
    """Return a ledger's parts of the comparability key.

    The parts come from the session's current regime, or else from the newest measurement.
    """
    found = of_session(journal.session, newest_machine(journal.history))
    return {**found, **(journal.comparability or {})} if found else {}


def of_table(facts: Mapping[str, str], hardware: str = "") -> dict[str, Any]:
    """Return the parts that the comment lines of a table give, and with ``hardware`` the part ``machine``.

    A text that can be read as a number becomes a number.
    """
    found = {key: _number(facts[key]) for key in (*FACTS, "budget_seconds") if key in facts and key != "budget"}
    seconds = found.get("budget_seconds")
    if isinstance(seconds, float):
        found["budget"] = budget_in_words(seconds)
    return {**found, **({"machine": hardware} if hardware else {})}


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
