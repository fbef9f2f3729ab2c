"""Fetch diffs from git and the ends of logs, and cut these texts so that the page stays under 5 MB."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.store import freed
from autoresearch_mlx.store.git import diff, git
from autoresearch_mlx.terms import printable

_DIFFS, _LOGS, _WORDS = (1_600_000, 24_000), (900_000, 8_000), (1_200_000, 8_000)
"""Limits in bytes: one for all experiments of the page together, one for a single experiment."""
_MARKUP = re.compile(r"<(?=[A-Za-z/!?])")
_AT_ONCE = 200
"""Maximum number of commits in one call of git, because their names must fit into a command line."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and whether it was cut; ``text`` is None if nothing is left to show."""

    text: str | None
    cut: bool = False


def diffs_of(root: Path, experiments: Sequence[Experiment]) -> Mapping[str, str]:
    """Return the diff of each commit against its parent, which is its base.

    Commits that git no longer has are left out. Raises WorkspaceError when git fails.
    """
    commits = [e.commit for e in experiments if e.commit and e.base]
    found: dict[str, str] = {}
    for start in range(0, len(commits), _AT_ONCE):
        found.update(_diffs(root, commits[start : start + _AT_ONCE]))
    return found


def _diffs(root: Path, commits: Sequence[str]) -> Iterator[tuple[str, str]]:
    shown = ("log", "--no-walk=unsorted", "--ignore-missing", "--format=%x00%H", "-p", "--no-color", "--no-ext-diff")
    names = [name for name in commits if name.isalnum()]  # git could take any other name for an option
    if not names:
        return
    for part in git(root, *shown, "--relative", *names, "--").split("\0")[1:]:
        sha, _, text = part.partition("\n")
        yield sha, text.strip("\n")


def between(root: Path, before: str | None, after: str | None) -> str | None:
    """Return the diff of two commits, or None if git does not have both commits."""
    if before is None or after is None or before == after:
        return None
    try:
        return diff(root, before, after).strip("\n")
    except WorkspaceError:
        return None


def log_of(folder: Path, e: Experiment) -> str | None:
    """Return the end of the last run's log, or the reason why the log is gone.

    Only files inside the session's folder are read.
    """
    return freed.log_of(folder, e) or None


@dataclass(frozen=True, slots=True)
class Room:
    """Number of bytes that one experiment may take in the page."""

    diff: int
    log: int
    words: int
    """Bytes of title, knobs, reason and rationale together."""


def room_for(count: int) -> Room:
    """Return the room for each experiment if the page has ``count`` experiments."""
    return Room(*(min(most, total // max(count, 1)) for total, most in (_DIFFS, _LOGS, _WORDS)))


def words(text: str, most: int) -> str:
    """Return a text, cut with an ellipsis if it takes more than ``most`` bytes as JSON in the page."""
    kept = text
    while in_page(kept) > most:
        kept = kept[: len(kept) * 4 // 5]
    return kept if kept == text else f"{kept}…"


def head(text: str | None, most: int) -> Text:
    """Return the first lines of a text, as many as take at most ``most`` bytes as JSON in the page."""
    return _fitted(text, most, first=True)


def tail(text: str | None, most: int) -> Text:
    return _fitted(text, most, first=False)


def _fitted(text: str | None, most: int, first: bool) -> Text:
    if text is None:
        return Text(None)
    lines = printable(text).split("\n")
    taken: list[str] = []
    size = 0
    for line in lines if first else reversed(lines):
        size += in_page(line)
        if size > most:
            break
        taken.append(line)
    kept = taken if first else taken[::-1]
    return Text("\n".join(kept), len(taken) < len(lines))


def embedded(value: object) -> str:
    """Write JSON that is safe inside an HTML element: the JSON cannot end the element, and cannot begin a new one."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _MARKUP.sub(r"\\u003c", text)


def in_page(line: str) -> int:
    """Count the bytes that a line takes in the page."""
    return len(embedded(line).encode(errors="replace"))
