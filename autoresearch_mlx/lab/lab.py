"""A lab: a folder in a git checkout with a file that may be edited, and the sessions in ``.autoresearch/``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from autoresearch_mlx.errors import ConfigError, LabError

STATE = ".autoresearch"
SCRIPT = "train_mlx.py"
PROGRAM = "program.md"
SETTINGS = "lab.toml"
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Pattern of a valid tag, which names a folder, a branch and refs."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab in a folder."""

    root: Path

    @property
    def state(self) -> Path:
        """Folder of the sessions."""
        return self.root / STATE

    def folder(self, tag: str) -> Path:
        """Return the folder where one session keeps its ledger, its worktrees and its logs."""
        return self.state / tag

    def tags(self) -> list[str]:
        """Return the tags of the sessions that have a ledger, oldest first."""
        ledgers = sorted(self.state.glob("*/ledger.jsonl"), key=lambda p: p.stat().st_ctime)
        return [ledger.parent.name for ledger in ledgers]

    def current(self) -> str | None:
        """Return the tag of the session that was used last; None when there is none."""
        try:
            tag = (self.state / "current").read_text(encoding="utf-8").strip()
        except OSError:
            tag = ""
        tags = self.tags()
        return tag if tag in tags else tags[-1] if tags else None

    def set_current(self, tag: str) -> None:
        """Remember the tag of the session that is being used."""
        self.make_state()
        _write(self.state / "current", tag + "\n")

    def make_state(self) -> None:
        """Make the folder of the sessions; it ignores itself, so the user's .gitignore needs no line for it."""
        self.state.mkdir(exist_ok=True)
        ignore = self.state / ".gitignore"
        if not ignore.exists():
            _write(ignore, "*\n")

    def program(self) -> str:
        """Return the text of ``program.md``, the research brief; empty when there is none."""
        path = self.root / PROGRAM
        return path.read_text(encoding="utf-8-sig", errors="replace") if path.exists() else ""


def _write(path: Path, text: str) -> None:
    """Write the whole file or nothing, even when this process is killed."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def find_lab(start: Path) -> Lab:
    """Return the lab of the nearest folder, from ``start`` upwards, that has a lab.toml or a train_mlx.py.

    Raises LabError when there is none.
    """
    for directory in (start.resolve(), *start.resolve().parents):
        if _is_worktree(directory):
            continue  # a checkout of the lab's files looks like a lab; the real one is above it
        if (directory / SETTINGS).is_file() or (directory / SCRIPT).is_file():
            return Lab(directory)
    hint = "`autoresearch-mlx init mylab && cd mylab` makes a lab"
    raise LabError(f"no lab here: neither {start.resolve()} nor a folder above it has a {SETTINGS} or a {SCRIPT}", hint)


def _is_worktree(directory: Path) -> bool:
    """Tell whether a folder lies in a session's worktree."""
    return any(p.name == "worktree" and p.parent.parent.name == STATE for p in (directory, *directory.parents))


def find_session(lab: Lab, tag: str | None) -> Path:
    """Return the folder of a session, by default of the one used last.  Raises LabError when there is none."""
    tags = lab.tags()
    if tag is not None and tag not in tags:
        known = f"sessions here: {', '.join(tags)}" if tags else "`autoresearch-mlx run` starts one"
        raise LabError(f"there is no session {tag} in {lab.root}", known)
    chosen = tag or lab.current()
    if chosen is None:
        raise LabError(f"no session yet in {lab.root}", "`autoresearch-mlx run` starts one")
    return lab.folder(chosen)


def refuse_tag(tag: str) -> None:
    """Raise ConfigError for a tag that cannot name a session."""
    if not _TAG.fullmatch(tag) or ".." in tag or tag.endswith((".", ".lock")):
        raise ConfigError(f"{tag!r} cannot name a session", "letters, digits, - and _; for example --tag batch-2")


def new_tag(lab: Lab) -> str:
    """Return an unused tag made from today's date, in upstream's style: ``nov23``, then ``nov23-2``."""
    today = date.today().strftime("%b%d").lower()
    taken = set(lab.tags())
    return next(t for t in (today, *(f"{today}-{n}" for n in range(2, 10_000))) if t not in taken)
