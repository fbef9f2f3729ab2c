"""Define a lab: a folder in a git checkout with a file that may be edited, and the sessions in ``.autoresearch/``."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from itertools import chain, count
from pathlib import Path

from autoresearch_mlx.errors import ConfigError, LabError

STATE = ".autoresearch"
SCRIPT = "train_mlx.py"
PROGRAM = "program.md"
SETTINGS = "lab.toml"
CURRENT, CORPUS = "current", "corpus"
"""Two files beside the sessions' folders: one has the tag of the session that was used last, the other names the corpus
that `prepare` made last."""
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Pattern of a valid tag, which names a folder, a branch and refs."""
_LONGEST_TAG = 100
"""Longest tag in characters.  A file name may have 255 characters, and git adds ``.lock`` to the tag."""


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
        """Return the tag of the session that was used last, or None if there is no session."""
        try:
            tag = (self.state / CURRENT).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            tag = ""
        tags = self.tags()
        return tag if tag in tags else tags[-1] if tags else None

    def set_current(self, tag: str) -> None:
        """Write the tag of the session that is being used into the file ``current``.

        Raises LabError when ``current`` is a folder, because earlier versions allowed a session of this name.
        """
        self.make_state()
        note = self.state / CURRENT
        if note.is_dir():
            said = f"{note} is a folder, but the lab needs a file of that name to note which session was used last"
            raise LabError(said, f"give the folder another name: mv {note} {self.state / 'session-current'}")
        write_whole(note, tag + "\n")

    def make_state(self) -> None:
        """Make the folder of the sessions.

        The folder contains a .gitignore of its own, so the user's .gitignore needs no line for the folder.
        """
        self.state.mkdir(exist_ok=True)
        ignore = self.state / ".gitignore"
        if not ignore.exists():
            write_whole(ignore, "*\n")

    def program(self) -> str:
        """Return the text of ``program.md``, the research brief; empty when there is none."""
        path = self.root / PROGRAM
        return path.read_text(encoding="utf-8-sig", errors="replace") if path.exists() else ""


def write_whole(path: Path, text: str) -> None:
    """Write a file.  If this process is killed, the file has its old text or the whole new text.  Raises OSError."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def find_lab(start: Path) -> Lab:
    """Return the lab of the nearest folder, from ``start`` upwards, that has a lab.toml or a train_mlx.py.

    Raises LabError when no folder has one.
    """
    for directory in (start.resolve(), *start.resolve().parents):
        if _is_worktree(directory):
            continue  # a worktree looks like a lab; the real lab is in a folder above it
        if (directory / SETTINGS).is_file() or (directory / SCRIPT).is_file():
            return Lab(directory)
    hint = "`autoresearch-mlx init mylab && cd mylab` makes a lab"
    raise LabError(f"no lab here: neither {start.resolve()} nor a folder above it has a {SETTINGS} or a {SCRIPT}", hint)


def _is_worktree(directory: Path) -> bool:
    """Return whether a folder is inside a worktree of a session (``worktree``; with lanes also ``worktree-2``)."""
    places = (directory, *directory.parents)
    return any(p.name.startswith("worktree") and p.parent.parent.name == STATE for p in places)


def find_session(lab: Lab, tag: str | None) -> Path:
    """Return the folder of the session ``tag``, or of the session used last if ``tag`` is None.

    Raises LabError when there is no such session.
    """
    tags = lab.tags()
    if tag is not None and tag not in tags:
        known = f"sessions here: {', '.join(tags)}" if tags else "`autoresearch-mlx run` starts one"
        raise LabError(f"there is no session {tag} in {lab.root}", known)
    chosen = tag or lab.current()
    if chosen is None:
        raise LabError(f"no session yet in {lab.root}", "`autoresearch-mlx run` starts one")
    return lab.folder(chosen)


_EXAMPLE = "letters, digits, - and _; for example --tag batch-2"


def refuse_form(tag: str) -> None:
    """Raise ConfigError for a tag that is not a valid name for a folder and a branch."""
    if not _TAG.fullmatch(tag) or ".." in tag or tag.endswith(".") or tag.casefold().endswith(".lock"):
        raise ConfigError(f"{tag[:_LONGEST_TAG]!r} cannot name a session", _EXAMPLE)
    if len(tag) > _LONGEST_TAG:
        raise ConfigError(f"a tag has at most {_LONGEST_TAG} characters, and {tag[:20]}... has {len(tag)}", _EXAMPLE)


def refuse_tag(lab: Lab, tag: str) -> None:
    """Raise ConfigError for a tag that is not valid, or is already the name of a file or another session of the lab.

    Names that differ only in case count as equal, because most disks of Macs do not tell such names apart.
    """
    refuse_form(tag)
    known = lab.tags()
    if tag in known:
        return
    if tag.casefold().removesuffix(".tmp") in (CURRENT, CORPUS):
        raise ConfigError(f"{tag!r} cannot name a session: the lab has a file of that name in {STATE}", _EXAMPLE)
    twin = next((each for each in known if each.casefold() == tag.casefold()), None)
    if twin is not None and lab.folder(tag).exists():
        said = (
            f"{tag!r} cannot name another session: on this disk, {tag} is the same name as {twin}, an existing session"
        )
        raise ConfigError(said, f"--tag {twin} continues that session; choose another name for a new one")
    if lab.folder(tag).exists() and not lab.folder(tag).is_dir():
        raise ConfigError(f"{tag!r} cannot name a session: {lab.folder(tag)} is a file", _EXAMPLE)


def new_tag(lab: Lab, taken: Collection[str] = ()) -> str:
    """Return an unused tag made from today's date, in upstream's style: ``nov23``, then ``nov23-2``.

    ``taken`` has further tags that are in use, such as the tags of other labs in the same repository.
    """
    today = date.today().strftime("%b%d").lower()
    gone = {tag.casefold() for tag in (*lab.tags(), *taken)}
    return next(t for t in chain((today,), (f"{today}-{n}" for n in count(2))) if t not in gone)
