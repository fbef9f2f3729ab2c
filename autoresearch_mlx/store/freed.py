"""Record what `gc` has removed from a session, so that a command that needs a removed file can say why it is gone.

The events ``freed`` in the session's ``gc.jsonl`` name the removed files and refs, by kind.  These events are written
before the first file is removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias

from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.store.git import diff, resolve
from autoresearch_mlx.store.journal import read_events, writing
from autoresearch_mlx.store.workspace import ref_of
from autoresearch_mlx.trial.autopsy import tail_of

FILE = "gc.jsonl"
Kind: TypeAlias = Literal["weights", "runs", "talks", "refs", "worktree", "leftovers"]
KINDS: tuple[Kind, ...] = ("weights", "runs", "talks", "refs", "worktree", "leftovers")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that can be removed: a file or folder of the session, or a ref."""

    kind: Kind
    name: str
    """Path relative to the session's folder, or the full name of a ref."""
    bytes: int | None
    """Bytes on the disk, or None for a ref, because the objects of its commit are shared with other commits."""


def note(folder: Path, items: Sequence[Item]) -> None:
    """Record the items that are about to be removed.  Raises LedgerError."""
    names = {kind: [item.name for item in items if item.kind == kind] for kind in KINDS}
    with writing(folder / FILE) as journal:
        journal.append("freed", **{kind: found for kind, found in names.items() if found})


def log_of(folder: Path, experiment: Experiment) -> str:
    """Return the end of an experiment's last log.

    If gc removed the log, the text is a note in brackets; if there is no log, the text is empty.  A ledger from
    elsewhere may name any file of this machine, so only files of the session are read.
    """
    name = next((m.log for m in reversed(experiment.measurements) if m.log), None)
    if name is None:
        return ""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        return ""
    if path.exists():
        return tail_of(path)
    gone = _gone(folder, "runs", PurePosixPath(name).parent.as_posix())
    return f"({gone})" if gone else ""


def changes_of(root: Path, folder: Path, experiment: Experiment) -> str:
    """Return an experiment's diff against its base.

    If the diff is gone, the text is the reason in brackets; if nothing was committed, the text is empty. Raises
    WorkspaceError when git has both commits but cannot compare them.
    """
    e = experiment
    if not e.base or not e.commit:
        return ""
    try:
        return diff(root, e.base, e.commit)
    except WorkspaceError:
        if (words := commit_gone(root, folder, e)) is None:
            raise
        return f"({words})"


def commit_gone(root: Path, folder: Path, experiment: Experiment) -> str | None:
    """Return why an experiment's commit or its base cannot be shown, or None when both are in the repository."""
    for sha in (experiment.commit, experiment.base):
        if sha is not None and resolve(root, sha) is None:
            dropped = _gone(folder, "refs", ref_of(folder.name, experiment.number))
            return f"commit {sha[:7]} is no longer in the repository" + (f": its ref was {dropped}" if dropped else "")
    return None


def talk_gone(folder: Path, number: int) -> str | None:
    """Return why the calls of an experiment cannot be shown, or None when gc did not remove them."""
    return _gone(folder, "talks", f"talks/{number:04d}")


def _gone(folder: Path, kind: Kind, name: str) -> str | None:
    """Return text such as ``removed by gc on 2026-11-25``, or None when gc did not remove the item.

    A file called ``name-...`` belongs to the item ``name``.
    """
    for event in reversed(read_events(folder / FILE).events):
        if any(known == name or known.startswith(f"{name}-") for known in _names(event, kind)):
            return f"removed by gc on {str(event.get('time'))[:10]}"
    return None


def _names(event: Mapping[str, Any], kind: Kind) -> list[str]:
    names = event.get(kind)
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
