"""Handle a worktree of a session: a folder with one commit's files, for a lane that measures or an agent that edits.

Every worktree of a session has the session's branch checked out.  With several lanes, each lane has its own worktree.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.store.fill import Fillings, files_of_modules, fill, fillings_of
from autoresearch_mlx.store.git import git
from autoresearch_mlx.store.laid_out import Entry, LaidOut, Print, differing, entries_of, named, prints_of
from autoresearch_mlx.store.workspace import Workspace
from autoresearch_mlx.trial.orphans import WORKS_IN, at_work, end_orphans

_PAUSES = (0.0, 0.1, 0.3, 1.0, 2.0, 4.0)
"""Seconds to wait before each new attempt to check out a commit while another program writes into the worktree."""
_ATTEMPTS_AT_GIT = 3
_LOOK_SECONDS = 1.0
_END_IT = "end the program that writes there, then `autoresearch-mlx run` continues"
_COMMITS_KNOWN = 8
FOLDER = "worktree"
"""Name of the folder of the session's first worktree; further worktrees are ``worktree-2``, ``worktree-3`` and so
on."""


class Worktree:
    """A git worktree on the session's branch, in a folder below the session's folder."""

    def __init__(self, workspace: Workspace, name: str = FOLDER, pauses: Sequence[float] = _PAUSES) -> None:
        self._workspace = workspace
        self._top, self._branch = workspace.top, workspace.branch
        self._head = f"ref: refs/heads/{self._branch}"
        self.path = workspace.folder / name
        self._pauses = pauses
        self._proven: Mapping[str, tuple[str, Print | None]] = {}
        """The files that were checked out last, each with git's name for the content and with the file's print."""
        self._known: dict[str, tuple[dict[str, Entry], Fillings]] = {}
        """Files of each commit, and the parts that git leaves empty; only the latest commits are kept."""

    @property
    def tree(self) -> Path:
        """The lab's directory inside the worktree."""
        return self.path / self._workspace.prefix

    def ensure(self) -> None:
        """Make sure that the worktree exists, is on the branch and is clean, whatever happened to it before."""
        with self._workspace.one_at_a_time:
            if self._record() is not None:
                try:
                    return self.restore()
                except WorkspaceError:
                    pass  # the worktree was moved, is incomplete or damaged: make it again
            self._remove()
            # --force, because the branch may be checked out elsewhere.
            git(self._top, "worktree", "add", "--quiet", "--force", str(self.path), self._branch)

    def drop(self) -> None:
        """Remove the worktree and git's record of it; do nothing if there is none."""
        with self._workspace.one_at_a_time:
            self._remove()

    def restore(self) -> None:
        """Put the files of the branch's tip into the worktree, and remove everything else there."""
        # This process holds the session's lock, so a process that locked our worktree or began a merge there is dead.
        ours = self._record() or Path(self._inside("rev-parse", "--absolute-git-dir").rstrip("\n"))
        for pattern in ("*.lock", "*_HEAD", "MERGE_*"):
            for left in ours.glob(pattern):
                left.unlink(missing_ok=True)
        head = ours / "HEAD"
        if head.is_symlink() or not head.is_file() or head.read_bytes() != f"{self._head}\n".encode():
            self._inside("symbolic-ref", "HEAD", f"refs/heads/{self._branch}")
        # `reset --hard` would also move the branch, and so undo what somebody commits to it meanwhile.
        self.checkout("HEAD")

    def checkout(self, commit: str) -> None:
        """Put the files of ``commit`` into the worktree; the branch stays where it is."""
        self._inside("read-tree", "-u", "--reset", commit)
        self._inside("clean", "-ffdxq")

    def lay_out(self, commit: str) -> LaidOut:
        """Put the files of ``commit`` into the worktree, and prove that the worktree then has exactly these files.

        The worktree is created anew when somebody has moved or deleted it.  This method ends programs that an earlier
        run left there.  Raises WorkspaceError when the files keep changing because somebody else writes them.
        """
        entries, fillings = self._holds(commit)
        wrong: tuple[str, ...] = ()
        for tried, pause in enumerate(self._pauses):
            time.sleep(pause)
            try:
                if self._record() is None or self.path.is_symlink():
                    self.ensure()
                self.checkout(commit)
                fill(self.path, fillings)
            except (WorkspaceError, OSError) as error:
                if tried < _ATTEMPTS_AT_GIT:
                    continue  # somebody moved, made or removed a file at this moment
                if others := self.others():
                    raise WorkspaceError(f"{error}{others}", _END_IT) from None
                raise
            prints = prints_of(self.path, entries, {path: found for path, (_, found) in self._proven.items()})
            now = {path: (entries[path].blob, found) for path, found in prints.items()}
            doubtful = {path: prints[path] for path in now if self._proven.get(path) != now[path]}
            odd = differing(self._inside, commit, entries, doubtful)
            wrong = tuple(path for path in odd if not fillings.has_filled(self.path, path))
            if not wrong:
                self._proven = now
                return LaidOut(self.path, prints)
            self._record_of_index().unlink(missing_ok=True)  # git's index may list a changed file as unchanged
            end_orphans(self.path, since=_began())
        said = f"{named(wrong) or 'the folder'} in {self.path} differs from commit {commit[:7]} after each checkout"
        raise WorkspaceError(f"{said}{self.others()}", _END_IT)

    def written_by_others(self, commit: str) -> tuple[str, ...]:
        """Wait a second while no run is in progress, and return the files of ``commit`` that somebody changes in
        that time."""
        laid_out = self.lay_out(commit)
        time.sleep(_LOOK_SECONDS)
        return laid_out.changed()

    def added(self, commit: str) -> tuple[str, ...]:
        """Return the files in the worktree that are not in ``commit``, except Python's caches.

        If a run has changed the worktree's link to its repository, git cannot list these files, and the worktree is
        made again.
        """
        if self._record() is None:
            self.ensure()
        entries = self._holds(commit)[0]
        listed = self._inside("ls-files", "--others", "-z").split("\0")
        return tuple(path for path in listed if path and path not in entries and "__pycache__" not in path.split("/"))

    def added_by_others(self, commit: str) -> tuple[str, ...]:
        """Wait a second while no run is in progress, and return the new files that somebody adds in that time."""
        self.lay_out(commit)
        time.sleep(_LOOK_SECONDS)
        return self.added(commit)

    def others(self) -> str:
        """Return text about programs in the worktree that this session did not start, or an empty string.

        An example is ``; vim (process 12) is at work there``.
        """
        found = at_work(self.path.resolve())
        return f"; {', '.join(found)} {'is' if len(found) == 1 else 'are'} at work there" if found else ""

    @contextmanager
    def lent(self, commit: str) -> Iterator[Path]:
        """Yield the lab's directory in the worktree, with the files of ``commit`` and a detached HEAD.

        An agent may edit there and use git.  Afterwards the branch has its old commit again, and the worktree has the
        branch's files again.  Raises WorkspaceError when the branch is gone.
        """
        tip = self._workspace.tip()
        if tip is None:
            raise WorkspaceError(f"branch {self._branch} is gone", "`autoresearch-mlx run` puts the branch back")
        self.ensure()
        self._inside("update-ref", "--no-deref", "HEAD", commit)
        self.checkout(commit)
        fill(self.path, self._holds(commit)[1])
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
        """Make git forget this worktree and no other.

        `git worktree prune` would also drop the user's own worktree on another disk. If git is killed while it makes
        the worktree, it leaves a record that is locked, or that makes every git command in the repository fail.  If git
        is killed while it removes the worktree, it leaves a record that names no worktree.
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
        """Return our repository's record of the worktree, or None if the record and the worktree do not name each
        other.

        An agent that works in the worktree can turn it into a repository, or point its link at the user's repository.
        """
        link = self.path / ".git"
        try:
            kept = (self.path / link.read_text().removeprefix("gitdir:").strip()).resolve()
            back = (kept / (kept / "gitdir").read_text().strip()).resolve()
        except (OSError, ValueError):
            return None
        return kept if kept.parent == self._workspace.common / "worktrees" and back == link.resolve() else None

    def _holds(self, commit: str) -> tuple[dict[str, Entry], Fillings]:
        """Return the files of a commit and of its submodules, and the parts that a checkout leaves empty."""
        if commit not in self._known:
            entries = entries_of(self._top, commit)
            known = next((fillings for _, fillings in reversed(self._known.values())), Fillings())
            fillings = fillings_of(self._top, self._workspace.common, commit, entries, known)
            self._known[commit] = {**entries, **files_of_modules(fillings)}, fillings
            for oldest in list(self._known)[:-_COMMITS_KNOWN]:
                del self._known[oldest]
        return self._known[commit]

    def _record_of_index(self) -> Path:
        return (self._record() or self.path / ".git") / "index"

    def _inside(self, *arguments: str) -> str:
        """Run git in the worktree.

        ``GIT_CEILING_DIRECTORIES`` stops git from looking further up when the worktree is damaged.  Otherwise git would
        find the user's checkout, which must never be reset or cleaned.
        """
        marks = {
            "GIT_CEILING_DIRECTORIES": str(self._workspace.folder.resolve()),
            WORKS_IN: str(self.path.resolve()),
        }
        return git(self.path, *arguments, env=marks)


def _began() -> float:
    """Return when this process began, in seconds since 1970.

    Any program that this process started in a worktree began later.
    """
    import psutil

    return psutil.Process(os.getpid()).create_time()
