"""Decide in which regime a session measures: only runs of one regime are compared with each other.

A regime is a span of unchanged measuring conditions: one comparability key, between two drifts of the machine.  When
the key changes (another machine, another MLX), the session enters a new regime.  When an earlier key returns, the
session goes back to the newest regime of that key, whose runs count again.  A drift opens a new regime under the same
key.  The ledger numbers regimes in the order in which they appear.  Each machine of a fleet has regimes of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

from autoresearch_mlx.experiment import History
from autoresearch_mlx.lab.comparability import Key, changes_in_words, differing, key_of
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.ledger import Journal, Ledger


def settled(journal: Journal, here: Key) -> Key:
    """Return the key under which the session measures: the key of the matching regime if there is one, else ``here``.

    A part of the key that the system did not report this time counts as unchanged.
    """
    number = matching(journal, here)
    then = None if number is None else journal.regimes[number].parts
    return here if then is None else Key(then)


def enter_regime(ledger: Ledger, here: Key, say: Callable[[str], None]) -> None:
    """Enter the regime of this key if it is not the current one; tell the user what has changed, and the
    consequences."""
    journal = ledger.read()
    current = journal.history.regime
    number = matching(journal, here)
    if number == current:
        return
    changed = changes_in_words(_parts(journal, current), here.parts)
    if machine := journal.regimes[current].machine:
        changed = f"this machine now measures instead of {machine}"
    if number is None:
        reason = f"not comparable with the runs so far: {changed}"
        follows = "these runs no longer count, and the incumbent is measured again first"
    else:
        reason = f"comparable again with the runs of regime {number}: {changed}"
        follows = "those runs count again; if the incumbent has no run among them, it is measured first"
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


def enter_machine(ledger: Ledger, machine: str, here: Key, present: Container[str]) -> int:
    """Enter the regime of a fleet's machine under this key if necessary, and return the regime's number.

    The first machine's regime becomes the session's own.  If no machine in ``present`` measures in the session's regime
    any more, the regime of this machine becomes the session's.
    """
    journal = ledger.read()
    number, newest = matching(journal, here, machine), journal.newest.get(machine)
    leading = journal.regimes[journal.history.regime].machine
    leads = machine == leading or not leading or leading not in present
    if number is None or number != newest or (leads and number != journal.history.regime):
        reason = f"{machine} begins to measure" if newest is None else f"{machine} has changed"
        if newest is not None and number == newest:
            reason = f"the session now has the regime of {machine}"
        number = _next(journal) if number is None else number
        ledger.append(
            "epoch",
            epoch=number,
            takes=0,
            reason=reason,
            time=now(),
            key=of_machine(here, machine).mark,
            comparability=here.parts,
            machine=machine,
            **({} if leads else {"beside": True}),
        )
    return number


def of_machine(here: Key, machine: str) -> Key:
    """Return the key of one machine of a fleet.

    The key contains the machine's name, because values of two machines are never compared, even if the machines are
    alike.
    """
    return Key({**here.parts, "fleet": machine})


def after_drift(journal: Journal, takes: int, reason: str, machine: str = "") -> dict[str, Any]:
    """Return the fields of the event ``epoch`` that opens a new regime under the same key.

    The last ``takes`` repeats in the ledger showed the drift; for a machine of a fleet, these are the last repeats of
    ``machine``.  These repeats become the first runs of the new regime.
    """
    found = {"epoch": _next(journal), "takes": takes, "reason": reason, "time": now()}
    if machine:
        leads = journal.regimes[journal.history.regime].machine == machine
        found |= {"machine": machine, **({} if leads else {"beside": True})}
    return found


def matching(journal: Journal, here: Key, machine: str = "") -> int | None:
    """Return the number of the newest regime whose key agrees with ``here`` in every known part, or None.

    Only the regimes of ``machine`` are searched, the current one first.  A key with unknown parts may match several
    regimes that differ from each other.  Then only a regime with exactly these parts is chosen, because any other
    choice would be a guess.
    """
    current = journal.newest.get(machine, -1) if machine else journal.history.regime
    numbers = [number for number, regime in journal.regimes.items() if regime.machine == machine]
    if current in numbers and not differing(_parts(journal, current), here.parts):
        return current
    earlier = {number: _parts(journal, number) for number in sorted(numbers, reverse=True)}
    same = [number for number, parts in earlier.items() if parts == here.parts]
    like = [number for number, parts in earlier.items() if not differing(parts, here.parts)]
    if not same and any(differing(earlier[a], earlier[b]) for a in like for b in like):
        return None
    return next(iter(same or like), None)


def newest_machine(history: History, regimes: Mapping[int, Any] | None = None) -> Mapping[str, Any]:
    """Return the machine's description in the newest measurement that has one; empty if no measurement has a
    description.

    ``regimes`` limits the search to measurements of these regimes; None means all regimes.
    """
    taken = [m for e in history.experiments for m in e.measurements] + [r.measurement for r in history.repeats]
    return next((m.machine for m in reversed(taken) if m.machine and (regimes is None or m.regime in regimes)), {})


def _parts(journal: Journal, number: int) -> Mapping[str, Any]:
    """Return the parts of a regime's key.  If the ledger has no key, return the parts that its measurements record."""
    parts = journal.regimes[number].parts
    if parts is not None:
        return parts
    unnamed = {number: regime for number, regime in journal.regimes.items() if regime.parts is None}
    return key_of(journal.session, newest_machine(journal.history, unnamed)).parts


def _next(journal: Journal) -> int:
    return max(journal.regimes) + 1
