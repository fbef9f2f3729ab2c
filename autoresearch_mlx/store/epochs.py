"""A session that goes on elsewhere: runs of another key are kept apart, in an epoch of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autoresearch_mlx.experiment import History
from autoresearch_mlx.lab.comparability import Key, changes_in_words, differing, key_of
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.ledger import Journal, Ledger


def settled(journal: Journal, here: Key) -> Key:
    """The key of the session where nothing that is known has changed, else the one of now.

    A figure that the system did not tell this time makes no other machine.
    """
    then = journal.comparability
    return here if then is None or differing(then, here.parts) else Key(then)


def keep_apart(ledger: Ledger, here: Key, say: Callable[[str], None]) -> None:
    """Open an epoch when what values depend on has changed since the last one; say what, and what follows.

    A ledger that names no key is known by what its measurements say of their machine.
    """
    journal = ledger.read()
    then = _of_old(journal) if journal.comparability is None else journal.comparability
    changed = changes_in_words(then, here.parts)
    if not changed:
        return
    reason = f"not comparable with the runs so far: {changed}"
    ledger.append(
        "epoch",
        epoch=journal.history.epoch + 1,
        takes=0,
        reason=reason,
        time=now(),
        key=here.mark,
        comparability=here.parts,
    )
    say(f"{reason}; they stop counting, and the incumbent is measured again first")


def _of_old(journal: Journal) -> Mapping[str, Any]:
    return key_of(journal.session, newest_machine(journal.history)).parts


def newest_machine(history: History) -> Mapping[str, Any]:
    """What the newest measurement that tells says of its machine; empty when none does."""
    taken = [m for e in history.experiments for m in e.measurements] + [r.measurement for r in history.repeats]
    return next((m.machine for m in reversed(taken) if m.machine), {})
