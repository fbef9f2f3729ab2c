"""A lab: a directory in a git checkout that holds an editable file, and our state in ``.autoresearch/``."""

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
"""A tag names a folder, a branch and refs."""


@dataclass(frozen=True, slots=True)
class Lab:
    root: Path

    @property
    def state(self) -> Path:
        return self.root / STATE

    def folder(self, tag: str) -> Path:
        """Where one session keeps its ledger, its worktree and its logs."""
        return self.state / tag

    def tags(self) -> list[str]:
        """Sessions that have a ledger, oldest first."""
        ledgers = sorted(self.state.glob("*/ledger.jsonl"), key=lambda p: p.stat().st_ctime)
        return [ledger.parent.name for ledger in ledgers]

    def current(self) -> str | None:
        """The session that was worked on last."""
        try:
            tag = (self.state / "current").read_text(encoding="utf-8").strip()
        except OSError:
            tag = ""
        tags = self.tags()
        return tag if tag in tags else tags[-1] if tags else None

    def set_current(self, tag: str) -> None:
        self.make_state()
        _write(self.state / "current", tag + "\n")

    def make_state(self) -> None:
        """Our folder ignores itself, so the checkout stays clean without a line in the user's .gitignore."""
        self.state.mkdir(exist_ok=True)
        ignore = self.state / ".gitignore"
        if not ignore.exists():
            _write(ignore, "*\n")

    def program(self) -> str:
        """The research brief, empty when there is none."""
        path = self.root / PROGRAM
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _write(path: Path, text: str) -> None:
    """Whole or not at all, whatever ends us."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def find_lab(start: Path) -> Lab:
    """The nearest directory upwards that has a lab.toml or a train_mlx.py.

    Raises LabError when there is none.
    """
    for directory in (start.resolve(), *start.resolve().parents):
        if _is_worktree(directory):
            continue  # it looks like a lab; the lab is the one around it
        if (directory / SETTINGS).is_file() or (directory / SCRIPT).is_file():
            return Lab(directory)
    hint = "`autoresearch-mlx init mylab && cd mylab` makes a lab"
    raise LabError(f"{start.resolve()} is no lab: there is no {SETTINGS} and no {SCRIPT} here or above", hint)


def _is_worktree(directory: Path) -> bool:
    """Whether a directory lies in the worktree of a session."""
    return any(p.name == "worktree" and p.parent.parent.name == STATE for p in (directory, *directory.parents))


def find_session(lab: Lab, tag: str | None) -> Path:
    """The folder of a session, the last one worked on by default.  Raises LabError when there is none."""
    tags = lab.tags()
    if tag is not None and tag not in tags:
        known = f"sessions here: {', '.join(tags)}" if tags else "`autoresearch-mlx run` starts one"
        raise LabError(f"there is no session {tag} in {lab.root}", known)
    chosen = tag or lab.current()
    if chosen is None:
        raise LabError(f"no session yet in {lab.root}", "`autoresearch-mlx run` starts one")
    return lab.folder(chosen)


def refuse_tag(tag: str) -> None:
    """Raises ConfigError for what cannot name a session."""
    if not _TAG.fullmatch(tag) or ".." in tag or tag.endswith((".", ".lock")):
        raise ConfigError(f"{tag!r} cannot name a session", "letters, digits, - and _; for example --tag batch-2")


def new_tag(lab: Lab) -> str:
    """Today's tag, as upstream writes it: ``nov23``, then ``nov23-2``."""
    today = date.today().strftime("%b%d").lower()
    taken = set(lab.tags())
    return next(t for t in (today, *(f"{today}-{n}" for n in range(2, 10_000))) if t not in taken)
