"""Decide whether a run still counts when a file of the measured commit was written during the run.

Such a run is disturbed and is repeated.  There is one exception: if the runs of the incumbent write the same files, the
run counts, because the measured program itself updates files that should not be under git.  An edit whose runs write a
file that the incumbent's runs do not write is invalid, because it could change the program that measures it.  Files
that another program adds during a run disturb it too.
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
    """Return the record of a run of experiment ``number``, marked if the files of ``commit`` changed during the run.

    ``written`` has the commit's files that were written during the run, ``earlier`` the runs of the same commit that
    are not in the ledger yet.
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
        reason = f"its runs write {named(written)}, which is in the commit and which the incumbent's runs do not write"
        return replace(noted, value=None, failure="invalid", reason=reason)
    return _disturbed(noted, f"{named(written)}: written during the run")


def _without_additions(measured: Measurement, worktree: Worktree, commit: str) -> Measurement:
    """Mark a run if another program adds files to the commit's own, such as a module that Python finds first.

    Most measured programs add files themselves, so new files matter only if another program is at work in the worktree.
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
    """Return the files that runs of the baseline and of the incumbent write, so that writing them is no disturbance."""
    numbers = {0} | ({history.incumbent.number} if history.incumbent is not None else set())
    runs = (m for number in numbers for m in _runs(history, number) if not m.tainted)
    return {path for m in runs for path in m.extra.get(WRITTEN, ())}


def _runs(history: History, number: int) -> Iterator[Measurement]:
    yield from (m for e in history.experiments if e.number == number for m in e.measurements)
    yield from (r.measurement for r in history.repeats if r.number == number)
