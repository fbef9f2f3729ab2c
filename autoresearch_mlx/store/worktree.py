"""A worktree that a session owns: the files of one commit at a time, for one lane to measure or for an agent to edit.

Every worktree of a session has the session's branch checked out; with several lanes, each has its own worktree.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.store.workspace import Workspace, git
from autoresearch_mlx.trial.orphans import WORKS_IN

FOLDER = "worktree"
"""The session's first worktree, by its folder's name; further ones are ``worktree-2``, ``worktree-3`` and so on."""


class Worktree:
    """One folder below the session's, kept by git as a worktree on the session's branch."""

    def __init__(self, workspace: Workspace, name: str = FOLDER) -> None:
        self._workspace = workspace
        self._top, self._branch = workspace.top, workspace.branch
        self._head = f"ref: refs/heads/{self._branch}"
        self.path = workspace.folder / name

    @property
    def tree(self) -> Path:
        """The lab's directory inside the worktree."""
        return self.path / self._workspace.prefix

    def ensure(self) -> None:
        """Make sure that the worktree exists and is clean on the branch, whatever happened to it meanwhile."""
        with self._workspace.one_at_a_time:
            if self._record() is not None:
                try:
                    return self.restore()
                except WorkspaceError:
                    pass  # moved, half made or damaged: make it again
            self._remove()
            # --force: the branch may be checked out elsewhere.
            git(self._top, "worktree", "add", "--quiet", "--force", str(self.path), self._branch)

    def drop(self) -> None:
        """Remove the worktree and git's record of it; nothing happens where there is none."""
        with self._workspace.one_at_a_time:
            self._remove()

    def restore(self) -> None:
        """Put the files of the branch's tip into the worktree, and remove everything else there."""
        # The session is locked by us: whoever made a lock in our own worktree, or began a merge, is gone.
        ours = self._record() or Path(self._inside("rev-parse", "--absolute-git-dir").rstrip("\n"))
        for pattern in ("*.lock", "*_HEAD", "MERGE_*"):
            for left in ours.glob(pattern):
                left.unlink(missing_ok=True)
        head = ours / "HEAD"
        if head.is_symlink() or not head.is_file() or head.read_bytes() != f"{self._head}\n".encode():
            self._inside("symbolic-ref", "HEAD", f"refs/heads/{self._branch}")
        # Not `reset --hard`: it writes the branch too, and would undo what somebody commits to it meanwhile.
        self.checkout("HEAD")

    def checkout(self, commit: str) -> None:
        """Put the files of ``commit`` into the worktree; the branch stays where it is."""
        self._inside("read-tree", "-u", "--reset", commit)
        self._inside("clean", "-ffdxq")

    def lay_out(self, commit: str) -> None:
        """Put the files of ``commit`` into the worktree, which is made again when somebody has deleted it."""
        if not self.tree.exists():
            self.ensure()
        self.checkout(commit)

    @contextmanager
    def lent(self, commit: str) -> Iterator[Path]:
        """Yield the lab's directory in the worktree, with the files of ``commit`` and HEAD on no branch.

        It is meant for an agent that edits there and may use git.  Afterwards the branch is where it was, and
        the worktree is clean on it.  Raises WorkspaceError when the branch is gone.
        """
        tip = self._workspace.tip()
        if tip is None:
            raise WorkspaceError(f"branch {self._branch} is gone", "`autoresearch-mlx run` puts it back")
        self.ensure()
        self._inside("update-ref", "--no-deref", "HEAD", commit)
        self.checkout(commit)
        try:
            yield self.tree
        finally:
            self._workspace.put_back(tip)
            self.ensure()

    def _remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self.path.is_symlink() or self.path.is_file():
            self.path.unlink()
        self._drop_record()

    def _drop_record(self) -> None:
        """Make git forget this worktree and no other: `prune` would also drop the user's own on an unplugged disk.

        A git that was killed while it made the worktree leaves a record that is locked, or one that stops every git
        in the repository; a git that was killed while it removed the worktree leaves a record that names no worktree.
        """
        for kept in (self._workspace.common / "worktrees").glob("*"):
            with suppress(OSError, ValueError):
                if self._is_record(kept):
                    shutil.rmtree(kept)

    def _is_record(self, kept: Path) -> bool:
        place = kept / "gitdir"
        if place.exists() and (named := place.read_text().strip()):
            return (kept / named).resolve() == (self.path / ".git").resolve()
        return (kept / "HEAD").read_text().strip() == self._head

    def _record(self) -> Path | None:
        """Return our repository's record of the worktree; None unless the record and the worktree name each other.

        An agent that works in the worktree can turn it into a repository, or point the link at the user's.
        """
        link = self.path / ".git"
        try:
            kept = (self.path / link.read_text().removeprefix("gitdir:").strip()).resolve()
            back = (kept / (kept / "gitdir").read_text().strip()).resolve()
        except (OSError, ValueError):
            return None
        return kept if kept.parent == self._workspace.common / "worktrees" and back == link.resolve() else None

    def _inside(self, *arguments: str) -> str:
        """Run git in the worktree.

        The ceiling stops git from looking further up when the worktree is damaged: it would find the user's checkout,
        which must never be reset or cleaned.
        """
        marks = {
            "GIT_CEILING_DIRECTORIES": str(self._workspace.folder.resolve()),
            WORKS_IN: str(self.path.resolve()),
        }
        return git(self.path, *arguments, env=marks)
