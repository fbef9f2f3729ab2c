"""Decide in which stand a session measures: only runs of one stand are compared with each other.

A stand is one comparability key between two drifts of the machine.  Another key (another machine, another MLX) leads to
its own stand, or back to the newest stand of a key under which the session has measured before: its runs count
again.  A drift opens a new stand under the same key.  The ledger numbers stands in the order in which they appear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autoresearch_mlx.experiment import History
from autoresearch_mlx.lab.comparability import Key, changes_in_words, differing, key_of
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.ledger import Journal, Ledger


def settled(journal: Journal, here: Key) -> Key:
    """Return the key to measure under: as the matching stand has it, else ``here``.

    A part that the system did not tell this time counts as unchanged.
    """
    number = matching(journal, here)
    then = None if number is None else journal.stands[number].parts
    return here if then is None else Key(then)


def enter_stand(ledger: Ledger, here: Key, say: Callable[[str], None]) -> None:
    """Go to the stand of this key if it is not the current one; say what changed and what follows."""
    journal = ledger.read()
    current = journal.history.stand
    number = matching(journal, here)
    if number == current:
        return
    changed = changes_in_words(_parts(journal, current), here.parts)
    if number is None:
        reason = f"not comparable with the runs so far: {changed}"
        follows = "they stop counting, and the incumbent is measured again first"
    else:
        reason = f"comparable again with the runs of stand {number}: {changed}"
        follows = "those count again, and an incumbent without a run there is measured first"
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
    """Return the fields of the event ``epoch`` that opens a new stand under the same key.

    The last ``takes`` repeats of the ledger, which showed the drift, are its first runs.
    """
    return {"epoch": _next(journal), "takes": takes, "reason": reason, "time": now()}


def matching(journal: Journal, here: Key) -> int | None:
    """Return the number of the newest stand whose key differs in no known part from this one; None if there is none.

    The current stand is tried first.  A key with unknown parts may match several stands that differ from each other;
    then only a stand with exactly these parts is chosen, because any other choice would be a guess.
    """
    current = journal.history.stand
    if not differing(_parts(journal, current), here.parts):
        return current
    earlier = {number: _parts(journal, number) for number in sorted(journal.stands, reverse=True)}
    same = [number for number, parts in earlier.items() if parts == here.parts]
    like = [number for number, parts in earlier.items() if not differing(parts, here.parts)]
    if not same and any(differing(earlier[a], earlier[b]) for a in like for b in like):
        return None
    return next(iter(same or like), None)


def newest_machine(history: History, stands: Mapping[int, Any] | None = None) -> Mapping[str, Any]:
    """Return the newest description of a machine in a measurement; empty if no measurement has one.

    ``stands``: only measurements of these count; None: all.
    """
    taken = [m for e in history.experiments for m in e.measurements] + [r.measurement for r in history.repeats]
    return next((m.machine for m in reversed(taken) if m.machine and (stands is None or m.stand in stands)), {})


def _parts(journal: Journal, number: int) -> Mapping[str, Any]:
    """Return the parts of a stand's key; where the ledger names none, those that its measurements record."""
    parts = journal.stands[number].parts
    if parts is not None:
        return parts
    unnamed = {number: stand for number, stand in journal.stands.items() if stand.parts is None}
    return key_of(journal.session, newest_machine(journal.history, unnamed)).parts


def _next(journal: Journal) -> int:
    return max(journal.stands) + 1
