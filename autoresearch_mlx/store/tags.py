"""Find out which tags (names of sessions) are free.

A tag belongs to one lab, but its branch and refs belong to the whole repository.  Other labs in the same repository,
and the same lab in another worktree, share this branch and these refs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from autoresearch_mlx.errors import LabError, LockedError, WorkspaceError
from autoresearch_mlx.lab.lab import STATE
from autoresearch_mlx.store.git import git, top_of
from autoresearch_mlx.store.locks import take_lock
from autoresearch_mlx.store.workspace import branch_of, ref_of

_BRANCHES, _REFS = "refs/heads/autoresearch", "refs/autoresearch"
_LOCK, _LOCK_SECONDS = "autoresearch-mlx.claims", 20.0  # git takes a name that ends in .lock for a lock of its own


class TagTaken(LabError):
    """Raised when the branch or the refs of a tag already exist and no session of this lab made them."""


def tags_taken(root: Path) -> frozenset[str]:
    """Return the tags that have a branch or a ref in the repository around ``root``.

    Outside a repository, the result is empty.
    """
    if top_of(root) is None:
        return frozenset()
    return frozenset(tag for tag, _ in _named(root) if tag is not None)


def refuse_taken(root: Path, tag: str) -> None:
    """Raise LabError when the branch or the refs of a new session with this tag already exist or cannot be made.

    If only this tag is taken, the error is a TagTaken, and the caller can try another tag.  If an existing ref makes
    every tag impossible, the error is a plain LabError.
    """
    ignores_case = git(root, "config", "--type=bool", "--default=false", "core.ignorecase").strip() == "true"
    for other, ref in _named(root):
        if other is None:
            said = f"git cannot make the branch {branch_of(tag)} and its refs, because {ref} exists"
            raise LabError(said, _rename(ref))
        if other == tag or (ignores_case and other.casefold() == tag.casefold()):
            said = f"the tag {tag} is taken in this repository: {ref} exists, and no session of this lab made it"
            raise TagTaken(said, "start a session with another --tag")


def refuse_copy(common: Path, folder: Path) -> None:
    """Raise LabError when another folder has the same session, because the lab or its ``.autoresearch`` was copied.

    ``common`` is the folder of the repository's refs, which both copies would move.
    """
    for record in (common / "worktrees").glob("*"):
        with suppress(OSError, ValueError):
            link = Path((record / "gitdir").read_text().strip())
            home = link.parent.parent
            alike = home.name == folder.name and home.parent.name == STATE and link.is_file()
            if alike and home.resolve() != folder.resolve() and (home / "ledger.jsonl").is_file():
                said = f"session {folder.name} belongs to {home.parent.parent}; {folder} is a copy of it"
                hint = f"continue the session in {home.parent.parent}, or start another session with --tag NAME"
                raise LabError(said, hint)


@contextmanager
def claiming(common: Path) -> Iterator[None]:
    """Hold the lock that a lab needs while it claims a tag of a repository.

    Raises LockedError when another lab holds the lock for too long.
    """
    with (common / _LOCK).open("a") as file:
        if not take_lock(file, _LOCK_SECONDS):
            raise LockedError("another lab of this repository is starting a session", "try again in a moment")
        yield


def _named(root: Path) -> Iterator[tuple[str | None, str]]:
    """Yield (tag, ref) for each ref of a session.

    The tag is None for a ref whose name is also the name of a folder in which git keeps the refs of sessions.
    """
    for ref in git(root, "for-each-ref", "--format=%(refname)", _BRANCHES, _REFS).splitlines():
        if ref in (_BRANCHES, _REFS):
            yield None, ref
            continue
        for start in (_BRANCHES, _REFS):
            if PurePosixPath(ref).is_relative_to(start):
                yield PurePosixPath(ref).relative_to(start).parts[0], ref


def _rename(ref: str) -> str:
    if ref == _BRANCHES:
        return "give that branch another name: git branch -m autoresearch autoresearch-old"
    return f"keep its commit under another name: git update-ref refs/kept-autoresearch {ref} && git update-ref -d {ref}"


def drop_broken(root: Path, tag: str, number: int) -> None:
    """Drop an experiment's ref if parts of its commit are missing.

    Git's garbage collection can remove parts of a commit that is just being made.
    """
    ref = ref_of(tag, number)
    if not git(root, "for-each-ref", "--format=%(refname)", ref):
        return
    try:  # with --quiet, git checks that each file of the commit exists (git-rev-list)
        git(root, "rev-list", "--objects", "--quiet", "-1", ref)
    except WorkspaceError:
        git(root, "update-ref", "-d", ref)
