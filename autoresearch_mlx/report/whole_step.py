"""Say what a kernel brings to the whole training step: the first thing that a summary of its session says.

A kernel that is faster alone may bring nothing to a training step, so its own speed-up is never the headline.
"""

from __future__ import annotations

from autoresearch_mlx import terms
from autoresearch_mlx.store.ledger import Journal

NOT_YET = "not measured yet"
"""First words while nothing has been measured."""
_KERNEL = "kernel"
"""Name of the target whose value is only a part of a whole."""


def whole_step(journal: Journal) -> str:
    """Return the gain of the whole step by the kernels of a session, in words; empty for other targets."""
    best = journal.history.incumbent
    if journal.session.get("target") != _KERNEL or best is None:
        return ""
    measured = journal.in_step[-1] if journal.in_step else None
    ask = "`autoresearch-mlx kernel verify` measures it"
    if measured is None:
        return f"{NOT_YET}, and {journal.history.metric} is about the function alone; {ask}"
    said = terms.one_line(str(measured.get("words", "")))
    number = measured.get("number")
    if number == best.number:
        return said
    return f"with the kernel of experiment {number}, {said}; the head is experiment {best.number}: {ask}"
