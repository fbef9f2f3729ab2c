"""Read the user's edit from the user's checkout, without writing into the checkout."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import History, Proposal
from autoresearch_mlx.loop.carry import merged
from autoresearch_mlx.loop.session import Session

AGENT = "manual"


def edited_now(session: Session, root: Path) -> dict[str, str]:
    """Return the text of each editable file of the checkout that differs from the incumbent's file, by path.

    The texts are as git would store them.  Raises LabError when no file differs, or when a file is not UTF-8 text.
    """
    return read_checkout(root, session.workspace.read(session.incumbent(session.journal().history)), session)


def edit_from_checkout(session: Session, mine: Mapping[str, str], message: str, say: Callable[[str], None]) -> Proposal:
    """Return the files ``mine``, read from the checkout, as a proposal on the incumbent.

    The user may have edited an older version of a file, from a commit of their own or from an earlier keep.  Such a
    file would silently undo the changes that were kept later, so only the user's change is carried over to the
    incumbent.  For the same reason, an unedited older version of a file usually does not count as an edit.  Such a
    version counts only if no file was edited and the files together are not an earlier version.

    Raises LabError when the change overlaps with a change that was kept later, or when there is no change.
    """
    history = session.journal().history
    incumbent = session.workspace.read(session.incumbent(history))
    files: dict[str, str] = {}
    older: dict[str, str] = {}
    for path, text in mine.items():
        if text == incumbent.get(path):
            continue  # the baseline was measured meanwhile, and its preset gave the file this text
        label, base = nearest(path, text, bases(session, history))
        if base == incumbent.get(path) or path not in incumbent:
            files[path] = text
        elif text == base:
            older[path] = text
        else:
            files[path] = _merge(path, text, base, incumbent[path], session.workspace.branch)
            say(f"{path} was edited on {label}; your change is carried over to the incumbent")
    if not files and not older:
        raise _nothing(session)
    if not files and (known := _version_of({**incumbent, **older}, bases(session, history))):
        raise LabError(
            f"there is nothing to try: your checkout has the unedited version of {known}",
            f"edit {' or '.join(older)}; `git restore --source {session.workspace.branch} -- {shlex.join(older)}` "
            "gets the incumbent's version",
        )
    return Proposal(message, files or older, rationale="", agent=AGENT)


def _nothing(session: Session) -> LabError:
    editable = ", ".join(session.workspace.editable)
    return LabError("your file equals the incumbent's: there is nothing to try", f"edit {editable} first")


def _version_of(files: Mapping[str, str], candidates: list[tuple[str, dict[str, str]]]) -> str | None:
    """Return the label of the version that has exactly these files, or None if there is no such version."""
    return next((label for label, known in candidates if known == files), None)


def read_checkout(root: Path, incumbent: Mapping[str, str], session: Session) -> dict[str, str]:
    """Return the text of each editable file of the checkout that differs from ``incumbent``, by path.

    The texts are as git would store them.  Raises LabError when no file differs, or when a file is not UTF-8 text.
    """
    found: dict[str, str] = {}
    for pattern in session.workspace.editable:
        for file in root.glob(f"{pattern}/*" if pattern.endswith("**") else pattern):
            path = file.relative_to(root).as_posix()
            if file.is_file() and not path.startswith(".autoresearch/"):
                found[path] = _text(file)
    changed = {path: text for path, text in found.items() if text != incumbent.get(path)}
    # Git's filters matter only if the bytes differ.  For a link we read the file to which it points; git itself would
    # store the link.
    here = root.resolve()
    differing = [path for path in changed if (here / path).resolve() == here / path]
    changed |= session.workspace.as_stored(root, session.incumbent(session.journal().history), differing)
    changed = {path: text for path, text in changed.items() if text != incumbent.get(path)}
    if not changed:
        raise _nothing(session)
    return changed


def _text(file: Path) -> str:
    """Return the text of a file with unchanged line ends.  Raises LabError when the file is not UTF-8 text."""
    try:
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(
            f"{file} cannot be read as UTF-8 text: {error}", "save it as UTF-8, or take it out of `editable`"
        ) from None


def bases(session: Session, history: History) -> list[tuple[str, dict[str, str]]]:
    """Return the versions from which the user may have started, each as a label and the texts by path.

    These versions are the incumbent, the earlier keeps from new to old, and the start commit.
    """
    kept = [e for e in reversed(history.experiments) if e.status == "keep" and e.commit]
    named = [(f"experiment {e.number}", session.workspace.read(e.commit)) for e in kept if e.commit]
    return [*named, (f"commit {session.start[:7]}", session.workspace.read(session.start))]


def nearest(path: str, text: str, candidates: list[tuple[str, dict[str, str]]]) -> tuple[str, str]:
    """Return the label and the text of the version of ``path`` that differs from ``text`` in the fewest lines.

    If several versions differ in the same number of lines, the newest of them is returned.
    """
    present = [(label, files[path]) for label, files in candidates if path in files]
    if not present:
        return "nothing", text
    return min(present, key=lambda candidate: distance(candidate[1], text))


def distance(a: str, b: str) -> int:
    """Return the number of lines added or removed between two texts."""
    return sum(line[0] in "+-" for line in difflib.ndiff(a.splitlines(), b.splitlines()))


def _merge(path: str, mine: str, base: str, incumbent: str, branch: str) -> str:
    found = merged(mine, base, incumbent)
    if found is None:
        said = f"your change to {path} overlaps with a change that was kept after you began"
        restore = f"git restore --source {branch} -- {shlex.quote(path)}"
        hint = f"save a copy of {path}, run `{restore}`, and make your change again"
        raise LabError(said, hint)
    return found
