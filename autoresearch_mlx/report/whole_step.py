"""Say how much a kernel speeds up the whole training step; every summary of a kernel's session begins with this figure.

A kernel that is faster when it runs alone may not make a training step faster, so its own speed-up is never shown
first.
"""

from __future__ import annotations

from autoresearch_mlx import terms
from autoresearch_mlx.store.ledger import Journal

NOT_YET = "not measured yet"
"""First words of the text while nothing has been measured."""
_KERNEL = "kernel"
"""Name of the target that measures only a part of the training step."""


def whole_step(journal: Journal) -> str:
    """Return text about the speed-up of the whole step by kernels, or an empty string for other targets."""
    best = journal.history.incumbent
    if journal.session.get("target") != _KERNEL or best is None:
        return ""
    measured = journal.in_step[-1] if journal.in_step else None
    ask = "`autoresearch-mlx kernel verify` measures the whole step"
    if measured is None:
        return f"{NOT_YET}, and {journal.history.metric} is about the function alone; {ask}"
    said = terms.one_line(str(measured.get("words", "")))
    number = measured.get("number")
    if number == best.number:
        return said
    return f"with the kernel of experiment {number}, {said}; experiment {best.number} was kept since then, and {ask}"
