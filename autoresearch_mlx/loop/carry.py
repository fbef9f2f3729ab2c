"""Carry a change over from the version on which it was made to a newer version.

With several lanes, one lane may keep an edit while the other lanes still measure edits of the older version.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.experiment import History, Running, Verdict
from autoresearch_mlx.judge import Again, Decision
from autoresearch_mlx.lab.source import changed_knobs, fingerprint, only_knobs_differ, read_knobs, set_knobs
from autoresearch_mlx.loop.attempt import Attempt
from autoresearch_mlx.store.git import NoAnswer, git
from autoresearch_mlx.store.records import measurement_to


def onto_incumbent(attempt: Attempt, decision: Decision, running: Sequence[Running] = ()) -> Decision:
    """Return the decision if the incumbent is still the same, or carry the change over and decide again.

    A change that lost to the version on which it was made is discarded.  A change that won, or is undecided, is
    combined with the changes that were kept in the meantime.  Then the combination is measured, because runs of other
    files never decide on an edit.  If both changes set the same knob, the combination may have the same files as the
    change alone; then the runs of the change still count.

    The caller must have the lock ``session.deciding``.  ``running`` has the experiments that the lanes measure now.
    """
    newest = attempt.session.history(attempt.worker)
    onto = attempt.session.incumbent(newest)
    if onto == attempt.incumbent:
        return decision
    if isinstance(decision, Verdict) and decision.status != "keep":
        attempt.against = attempt.incumbent
        return decision
    if attempt.base != attempt.incumbent:  # the proposal builds on an older version on purpose
        attempt.incumbent, attempt.history = onto, newest
        return attempt.decide() if attempt.measurements else decision
    return _onto(attempt, newest, onto, running)


def _onto(attempt: Attempt, newest: History, onto: str, running: Sequence[Running]) -> Decision:
    session = attempt.session
    theirs = session.workspace.read(onto)
    assert newest.incumbent is not None  # another lane has kept an experiment, so there is an incumbent
    meanwhile = f"experiment {newest.incumbent.number} was kept in the meantime"
    files = carried(attempt.proposal.files, attempt.files, theirs)
    problem = files.words if isinstance(files, Overlap) else session.target.refuse(files)
    if isinstance(files, Overlap) or problem is not None:
        attempt.against = attempt.incumbent
        return Verdict("conflict", f"{meanwhile}, and the two changes cannot be combined: {problem}")
    same = {**theirs, **files} == {**attempt.files, **attempt.proposal.files}
    session.append(
        "carried",
        number=attempt.number,
        base=attempt.base,
        commit=attempt.sha,
        onto=onto,
        measurements=[] if same else [measurement_to(m) for m in attempt.measurements],
    )
    attempt.start_over(newest, onto, theirs, files, measured=same)
    mark = fingerprint({**theirs, **files})
    if mark == fingerprint(theirs):
        return Verdict("duplicate", f"{meanwhile}, and already contains this change")
    still = {each.number for each in session.journal().running} - {attempt.number}
    for other in running:
        if other.number in still and fingerprint(other.files) == mark:
            words = f"the two changes together are the same as experiment {other.number}, which is being measured"
            return Verdict("duplicate", f"{meanwhile}, and {words}")
    return attempt.decide() if attempt.measurements else Again(f"{meanwhile}: the two changes are measured together")


def with_words(verdict: Verdict, attempt: Attempt) -> Verdict:
    """Return the verdict; if the change was carried over to a newer keep, the reason in the verdict names this keep."""
    best = attempt.history.incumbent
    if not attempt.carried or not attempt.measurements or best is None:
        return verdict
    said = f"the change was carried over to experiment {best.number}, which was kept in the meantime"
    return replace(verdict, reason=f"{verdict.reason}; {said}")


@dataclass(frozen=True, slots=True)
class Overlap:
    """The reason why two changes cannot be combined."""

    words: str


def carried(mine: Mapping[str, str], base: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str] | Overlap:
    """Apply to ``theirs`` the edit that turned ``base`` into ``mine``; return the files that change.

    All three arguments map paths to complete texts; ``mine`` has only the changed files.  If an edit changes only
    values of knobs, these values are set by name; any other edit is merged line by line.  Returns an Overlap if
    ``theirs`` has other changes in the same lines.
    """
    found: dict[str, str] = {}
    for path, text in mine.items():
        both = _carried(text, base.get(path), theirs.get(path))
        if both is None:
            return Overlap(f"both changes edit the same lines of {path}")
        found[path] = both
    return found


def _carried(mine: str, base: str | None, theirs: str | None) -> str | None:
    if base == theirs or mine == theirs:
        return mine
    if base is None or theirs is None:
        return None  # both added the file, or one removed it and the other changed it
    if only_knobs_differ(base, mine):
        values = {name: now for name, (_, now) in changed_knobs(base, mine).items()}
        if values and set(values) <= set(read_knobs(theirs)):
            return set_knobs(theirs, values)
    return merged(mine, base, theirs)


def merged(mine: str, base: str, theirs: str) -> str | None:
    """Return ``base`` with both changes, merged line by line as git does, or None if the changes overlap."""
    with tempfile.TemporaryDirectory() as folder:
        return merge_texts(Path(folder), mine, base, theirs)


def merge_texts(folder: Path, mine: str, base: str, theirs: str) -> str | None:
    """Return ``base`` with both changes, or None if the changes overlap.

    Git works in ``folder``, which must be empty.
    """
    for name, text in (("mine", mine), ("base", base), ("theirs", theirs)):
        (folder / name).write_bytes(text.encode())
    try:
        return git(folder, "merge-file", "-p", "--quiet", "mine", "base", "theirs")
    except NoAnswer:
        raise
    except WorkspaceError:
        return None
