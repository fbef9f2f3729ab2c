"""Free disk space: find the files that a session no longer needs, and remove them.

The following is never removed: the ledger and the other journals, results.tsv, kept commits and their bases, and
anything of a session that a command is using.  The names of all files to remove are recorded before the first file is
removed (:mod:`autoresearch_mlx.store.freed`).
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.setup.archive.bundles import drop, drop_worktree, refs_of
from autoresearch_mlx.setup.archive.pack import Packed
from autoresearch_mlx.store.freed import KINDS, Item, Kind, note
from autoresearch_mlx.store.ledger import FILE, Journal, read
from autoresearch_mlx.store.locks import locked
from autoresearch_mlx.store.talks import FOLDER as TALKS
from autoresearch_mlx.store.workspace import ref_of
from autoresearch_mlx.trial.spec import WEIGHTS

_WORDS = {
    "weights": "weights",
    "runs": "folders of runs, logs included",
    "talks": "talks with models",
    "refs": "refs of experiments that were not kept",
    "worktree": "the worktree; the next run makes it again",
    "leftovers": "left by killed processes",
}


def size(count: int) -> str:
    """Return a number of bytes as text, such as ``812 B`` or ``1.2 MB``."""
    for unit, one in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count} B"


def gc_json(found: Mapping[str, Sequence[Item]], dry_run: bool) -> dict[str, Any]:
    """Return the document of `gc --json`: the items by session."""
    sessions = [
        {"session": tag, "bytes": _bytes(items), "items": [asdict(item) for item in items]}
        for tag, items in found.items()
    ]
    return {"dry_run": dry_run, "bytes": sum(_bytes(items) for items in found.values()), "sessions": sessions}


def gc_lines(found: Mapping[str, Sequence[Item]], dry_run: bool, age: timedelta) -> str:
    """Return the output of `gc`: a line for each session, followed by a line for each kind of removed item.

    ``age`` is the value of the option --older-than.
    """
    verb = "would free" if dry_run else "freed"
    lines: list[str] = []
    for tag, items in found.items():
        if not items:
            lines.append(f"session {tag}: {_nothing(age)}")
            continue
        lines.append(f"session {tag}: {verb} {terms.plural(len(items), 'item')}, {size(_bytes(items))}")
        kinds = {kind: [item for item in items if item.kind == kind] for kind in KINDS}
        rows = [(str(len(some)), _size_of(some), _WORDS[kind]) for kind, some in kinds.items() if some]
        lines += [f"  {line}" for line in terms.table(rows, left=(2,))]
    return "\n".join(lines) or "nothing to free"


def _nothing(age: timedelta) -> str:
    if not age:
        return "nothing to free"
    days = age / timedelta(days=1)
    old = terms.plural(int(days), "day") if days == int(days) else terms.plural(round(24 * days), "hour")
    return f"nothing older than {old} to free; --older-than 0 ignores the age"


def _bytes(items: Sequence[Item]) -> int:
    return sum(item.bytes or 0 for item in items)


def _size_of(items: Sequence[Item]) -> str:
    """Return the total size of the items as text, such as ``1.2 GB``; "unknown" if the size of no item is known."""
    return size(_bytes(items)) if any(item.bytes is not None for item in items) else terms.UNKNOWN


def packed_json(packed: Packed) -> dict[str, Any]:
    """Return the document of `archive --json`."""
    return {**asdict(packed), "file": str(packed.file)}


def packed_lines(tag: str, packed: Packed) -> str:
    """Return the output of `archive`: a line about the archive, then a line for each file that was left out."""
    head = f"{packed.file}: session {tag}, {terms.plural(packed.experiments, 'experiment')}"
    lines = [f"{head}, {terms.plural(packed.refs, 'ref')}, {size(packed.bytes)}"]
    lines += [f"left out: {left.name} ({size(left.bytes)}): {left.why}" for left in packed.left_out]
    return "\n".join(lines)


_RUN = re.compile(r"(\d{4,})-.+")
_TALK = re.compile(r"(\d{4,})-.+\.(json|log)")


@dataclass(frozen=True, slots=True)
class Wish:
    """What `gc` may remove besides folders of runs and worktrees; whatever is younger than ``age`` stays."""

    age: timedelta
    refs: bool = False
    talks: bool = False
    weights: bool = False
    """True if the incumbent's weights may be removed too."""


def tidy(lab: Lab, tag: str, wish: Wish, now: datetime, only_look: bool) -> list[Item]:
    """Remove what a session no longer needs, and return the removed items; with ``only_look``, remove nothing.

    Raises LockedError when the session is in use, LedgerError when its ledger cannot be read, and LabError when a file
    cannot be removed.
    """
    folder = lab.folder(tag)
    with locked(folder):
        items = list(spare(lab, tag, read(folder / FILE), wish, now))
        if items and not only_look:
            note(folder, items)
            _free(lab, tag, items)
    return items


def spare(lab: Lab, tag: str, journal: Journal, wish: Wish, now: datetime) -> Iterator[Item]:
    """Yield the files and refs that may be removed from a session; the caller has locked the session."""
    folder, before = lab.folder(tag), (now - wish.age).timestamp()
    best = journal.history.incumbent
    busy = {e.number for e in (best, *journal.running) if e is not None}
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
    for worktree in sorted(folder.glob("worktree*")):  # each lane has a worktree of its own
        if worktree.is_dir() and _newest(folder / FILE) <= before:
            yield Item("worktree", worktree.name, _size(worktree))
    # We hold the session's lock, so a process that made a temporary folder here is dead.
    for scratch in sorted(folder.glob(f"{tempfile.gettempprefix()}*")):
        if scratch.is_dir():
            yield Item("leftovers", scratch.name, _size(scratch))


def _of_run(folder: Path, run: Path, busy: set[int], before: float) -> Iterator[Item]:
    """Yield a run's weights, then the rest of the run's folder, if every file in the folder is old enough.

    Yields nothing for the experiments in ``busy``: the incumbent, and experiments that are not finished.
    """
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
    """Yield the refs of old experiments that were not kept.

    The base of a kept experiment, or of an experiment that is not finished, is left out.
    """
    experiments = journal.history.experiments
    needed = {e.base for e in experiments if e.status == "keep"}
    needed |= {each.base for each in journal.running}
    there = refs_of(lab.root, tag)
    for e in experiments:
        ref = ref_of(tag, e.number)
        ours = ref in there and there[ref] == e.commit  # a ref with another commit is not ours
        if e.status != "keep" and ours and e.commit not in needed and _finished(e) <= before:
            yield Item("refs", ref, None)


def _finished(experiment: Experiment) -> float:
    """Return when an experiment ended, in seconds since 1970.

    If the time is unknown, return infinity, so that the experiment never counts as old.
    """
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
        raise LabError(said, "correct its permissions, then `autoresearch-mlx gc` again") from None


def _numbered(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    """Return the entries of a folder whose names begin with an experiment's number; `gc` ignores other entries."""
    return sorted(p for p in folder.glob("*") if pattern.fullmatch(p.name)) if folder.is_dir() else []


def _number(path: Path) -> int:
    return int(path.name.partition("-")[0])


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; links and missing files count as 0."""
    return sum(p.lstat().st_size for p in _within(path) if p.is_file() and not p.is_symlink())


def _newest(path: Path) -> float:
    return max((p.lstat().st_mtime for p in _within(path)), default=0.0)


def _within(path: Path) -> list[Path]:
    return [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path] * path.exists()
