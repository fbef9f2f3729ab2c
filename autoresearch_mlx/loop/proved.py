"""Decide whether a run still counts when a file of the measured commit was written during the run.

Such a run counts as disturbed and is repeated, with one exception: the run counts if the incumbent's runs write the
same files.  Then the measured program itself updates files that should not be under git.

If an edit's runs write a file that the incumbent's runs do not write, the edit is invalid, because its runs could
change the program that measures them.  A run is also disturbed if another program adds files during the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from autoresearch_mlx.experiment import History, Measurement
from autoresearch_mlx.store.laid_out import named
from autoresearch_mlx.store.worktree import Worktree

WRITTEN = "files_written"
"""Key in a run's record for the list of the commit's files that were written during the run."""


def proved(
    measured: Measurement,
    written: Sequence[str],
    worktree: Worktree,
    commit: str,
    number: int,
    history: History,
    earlier: Sequence[Measurement],
) -> Measurement:
    """Return the record of a run of experiment ``number``, marked as disturbed or invalid if ``written`` requires it.

    ``written`` has the files of ``commit`` that were written during the run.  ``earlier`` has the runs of the same
    commit that are not in the ledger yet.
    """
    if not written:
        return _without_additions(measured, worktree, commit)
    noted = replace(measured, extra={**measured.extra, WRITTEN: list(written)})
    if set(written) <= _usually_written(history):
        return noted
    if worktree.written_by_others(commit):
        return _disturbed(measured, f"{named(written)}: written during the run by another program{worktree.others()}")
    before = [m for m in (*earlier, *_runs(history, number)) if set(m.extra.get(WRITTEN, ())) >= set(written)]
    if before and number == 0:
        return noted
    if before and (history.incumbent is None or number != history.incumbent.number):
        reason = f"the edit's runs write {named(written)}, which is in the commit and which "
        reason += "the incumbent's runs do not write"
        return replace(noted, value=None, failure="invalid", reason=reason)
    return _disturbed(noted, f"{named(written)}: written during the run")


def _without_additions(measured: Measurement, worktree: Worktree, commit: str) -> Measurement:
    """Return the run, marked as disturbed if another program added files, such as a module that the run could import.

    Most measured programs add files themselves, so new files matter only if another program works in the worktree.
    """
    if measured.tainted or not worktree.added(commit) or not (others := worktree.others()):
        return measured
    added = worktree.added_by_others(commit)
    return (
        _disturbed(measured, f"{named(added)}: added during the run by another program{others}") if added else measured
    )


def _disturbed(measured: Measurement, words: str) -> Measurement:
    return replace(measured, tainted=True, extra={**measured.extra, "tainted": words})


def _usually_written(history: History) -> set[str]:
    """Return the files that runs of the baseline and of the incumbent write; writing these files is no disturbance."""
    numbers = {0} | ({history.incumbent.number} if history.incumbent is not None else set())
    runs = (m for number in numbers for m in _runs(history, number) if not m.tainted)
    return {path for m in runs for path in m.extra.get(WRITTEN, ())}


def _runs(history: History, number: int) -> Iterator[Measurement]:
    yield from (m for e in history.experiments if e.number == number for m in e.measurements)
    yield from (r.measurement for r in history.repeats if r.number == number)
