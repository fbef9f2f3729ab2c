"""Decide in which regime a session measures: only runs of one regime are compared with each other.

A regime is a span of unchanged measuring conditions: one comparability key, between two drifts of the machine.  When
the key changes (another machine, another MLX), the session enters a new regime.  When an earlier key returns, the
session goes back to the newest regime of that key, whose runs count again.  A drift opens a new regime under the same
key.  The ledger numbers regimes in the order in which they appear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autoresearch_mlx.experiment import History
from autoresearch_mlx.lab.comparability import Key, changes_in_words, differing, key_of
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.ledger import Journal, Ledger


def settled(journal: Journal, here: Key) -> Key:
    """Return the key to measure under: the key of the matching regime if there is one, else ``here``.

    A part of the key that the system did not report this time counts as unchanged.
    """
    number = matching(journal, here)
    then = None if number is None else journal.regimes[number].parts
    return here if then is None else Key(then)


def enter_regime(ledger: Ledger, here: Key, say: Callable[[str], None]) -> None:
    """Enter the regime of this key if it is not the current one; say what changed and what follows from that."""
    journal = ledger.read()
    current = journal.history.regime
    number = matching(journal, here)
    if number == current:
        return
    changed = changes_in_words(_parts(journal, current), here.parts)
    if number is None:
        reason = f"not comparable with the runs so far: {changed}"
        follows = "these runs no longer count, and the incumbent is measured again first"
    else:
        reason = f"comparable again with the runs of regime {number}: {changed}"
        follows = "those runs count again, and an incumbent without a run among them is measured first"
    ledger.append(
        "epoch",
        epoch=_next(journal) if number is None else number,
        takes=0,
        reason=reason,
        time=now(),
        key=here.mark,
        comparability=here.parts,
    )
    say(f"{reason}; {follows}")


def after_drift(journal: Journal, takes: int, reason: str) -> dict[str, Any]:
    """Return the fields of the event ``epoch`` that opens a new regime under the same key.

    The last ``takes`` repeats in the ledger showed the drift; they become the first runs of the new regime.
    """
    return {"epoch": _next(journal), "takes": takes, "reason": reason, "time": now()}


def matching(journal: Journal, here: Key) -> int | None:
    """Return the number of the newest regime whose key agrees with this one in every known part; None if none does.

    The current regime is tried first.  A key with unknown parts may match several regimes that differ from each other;
    then only a regime with exactly these parts is chosen, because any other choice would be a guess.
    """
    current = journal.history.regime
    if not differing(_parts(journal, current), here.parts):
        return current
    earlier = {number: _parts(journal, number) for number in sorted(journal.regimes, reverse=True)}
    same = [number for number, parts in earlier.items() if parts == here.parts]
    like = [number for number, parts in earlier.items() if not differing(parts, here.parts)]
    if not same and any(differing(earlier[a], earlier[b]) for a in like for b in like):
        return None
    return next(iter(same or like), None)


def newest_machine(history: History, regimes: Mapping[int, Any] | None = None) -> Mapping[str, Any]:
    """Return the newest description of a machine in a measurement; empty if no measurement has one.

    ``regimes`` limits the search to measurements of these regimes; None means all.
    """
    taken = [m for e in history.experiments for m in e.measurements] + [r.measurement for r in history.repeats]
    return next((m.machine for m in reversed(taken) if m.machine and (regimes is None or m.regime in regimes)), {})


def _parts(journal: Journal, number: int) -> Mapping[str, Any]:
    """Return the parts of a regime's key; if the ledger has none, the parts that its measurements record."""
    parts = journal.regimes[number].parts
    if parts is not None:
        return parts
    unnamed = {number: regime for number, regime in journal.regimes.items() if regime.parts is None}
    return key_of(journal.session, newest_machine(journal.history, unnamed)).parts


def _next(journal: Journal) -> int:
    return max(journal.regimes) + 1
