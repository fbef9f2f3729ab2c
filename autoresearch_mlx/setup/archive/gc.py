"""Space given back: what a session at rest can spare, and how it goes.

Never: the ledger and the other journals, results.tsv, a kept commit, what a kept one was made on, and
anything of a session in use.  What goes is written down first (:mod:`autoresearch_mlx.store.removed`).
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.setup.archive.bundles import drop, drop_worktree, refs_of
from autoresearch_mlx.store.ledger import FILE, Journal, locked, read
from autoresearch_mlx.store.removed import Item, Kind, note
from autoresearch_mlx.store.talks import FOLDER as TALKS
from autoresearch_mlx.store.workspace import ref_of
from autoresearch_mlx.trial.spec import WEIGHTS

_RUN = re.compile(r"(\d{4,})-.+")
_TALK = re.compile(r"(\d{4,})-.+\.(json|log)")


@dataclass(frozen=True, slots=True)
class Wish:
    """What may go.  Everything is at least ``age`` old."""

    age: timedelta
    refs: bool = False
    talks: bool = False
    weights: bool = False
    """The incumbent's, too."""


def tidy(lab: Lab, tag: str, wish: Wish, now: datetime, only_look: bool) -> list[Item]:
    """Free what a session can spare; returns what went, or would go.

    Raises LockedError when the session is in use, LedgerError, LabError when the disk refuses.
    """
    folder = lab.folder(tag)
    with locked(folder):
        items = list(spare(lab, tag, read(folder / FILE), wish, now))
        if items and not only_look:
            note(folder, items)
            _free(lab, tag, items)
    return items


def spare(lab: Lab, tag: str, journal: Journal, wish: Wish, now: datetime) -> Iterator[Item]:
    """What may go of a session that nobody works on."""
    folder, before = lab.folder(tag), (now - wish.age).timestamp()
    best = journal.history.incumbent
    busy = {e.number for e in (best, journal.open) if e is not None}
    for run in _numbered(folder / "runs", _RUN):
        yield from _of_run(folder, run, busy, before)
    if wish.weights and best is not None:
        for path in sorted((folder / "runs").glob(f"{best.number:04d}-*/{WEIGHTS}")):
            yield from _if_old(folder, path, "weights", before)
    if wish.talks:
        for path in _numbered(folder / TALKS, _TALK):
            if _number(path) not in busy:
                yield from _if_old(folder, path, "talks", before)
    if wish.refs:
        yield from _spare_refs(lab, tag, journal, before)
    if (worktree := folder / "worktree").is_dir() and _newest(folder / FILE) <= before:
        yield Item("worktree", worktree.name, _size(worktree))
    for scratch in sorted(folder.glob(f"{tempfile.gettempprefix()}*")):  # whoever made it is dead: the lock is ours
        if scratch.is_dir():
            yield Item("leftovers", scratch.name, _size(scratch))


def _of_run(folder: Path, run: Path, busy: set[int], before: float) -> Iterator[Item]:
    """A run's weights, then the rest of its folder; of the incumbent and of what was left open, nothing."""
    if _number(run) in busy or _newest(run) > before:
        return
    weights = run / WEIGHTS
    held = _size(weights)
    if held:
        yield Item("weights", weights.relative_to(folder).as_posix(), held)
    yield Item("runs", run.relative_to(folder).as_posix(), _size(run) - held)


def _if_old(folder: Path, path: Path, kind: Kind, before: float) -> Iterator[Item]:
    if _newest(path) <= before:
        yield Item(kind, path.relative_to(folder).as_posix(), _size(path))


def _spare_refs(lab: Lab, tag: str, journal: Journal, before: float) -> Iterator[Item]:
    """Refs of experiments that were not kept and that no kept one was made on."""
    experiments = journal.history.experiments
    needed = {e.base for e in experiments if e.status == "keep"}
    if journal.open is not None:
        needed.add(journal.open.base)
    there = refs_of(lab.root, tag)
    for e in experiments:
        ref = ref_of(tag, e.number)
        ours = ref in there and there[ref] == e.commit  # another commit under its ref is somebody else's
        if e.status != "keep" and ours and e.commit not in needed and _finished(e) <= before:
            yield Item("refs", ref, None)


def _finished(experiment: Experiment) -> float:
    """Seconds since 1970; unknown is never old."""
    try:
        return datetime.fromisoformat(experiment.finished).timestamp()
    except ValueError:
        return float("inf")


def _free(lab: Lab, tag: str, items: Sequence[Item]) -> None:
    folder = lab.folder(tag)
    there = refs_of(lab.root, tag) if any(item.kind == "refs" for item in items) else {}
    drop(lab.root, {item.name: there[item.name] for item in items if item.kind == "refs"})
    for item in items:
        if item.kind == "worktree":
            drop_worktree(lab.root, folder / item.name)
        elif item.kind != "refs":
            _remove(folder / item.name)


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        said = f"{path} cannot be removed: {error.strerror}"
        raise LabError(said, "mend its rights, then `autoresearch-mlx gc` again") from None


def _numbered(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    """What bears the number of an experiment in a folder of ours; the rest is somebody else's."""
    return sorted(p for p in folder.glob("*") if pattern.fullmatch(p.name)) if folder.is_dir() else []


def _number(path: Path) -> int:
    return int(path.name.partition("-")[0])


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links count as nothing, and so does what is not there."""
    return sum(p.lstat().st_size for p in _within(path) if p.is_file() and not p.is_symlink())


def _newest(path: Path) -> float:
    return max((p.lstat().st_mtime for p in _within(path)), default=0.0)


def _within(path: Path) -> list[Path]:
    return [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path] * path.exists()
