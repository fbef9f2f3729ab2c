"""Run git, and answer the questions about a repository that need no session."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoresearch_mlx.errors import READ_ONLY, WorkspaceError
from autoresearch_mlx.trial.runner import GIT_PLACES

IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "autoresearch-mlx"), ("EMAIL", "autoresearch-mlx@localhost"))
}

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",  # otherwise git would start a file watcher, the user's or its own, in our worktree
    "core.quotePath=off",
    "core.safecrlf=false",
    # Commits and refs must be on the disk before the ledger names them; otherwise a power cut could lose them.
    "core.fsync=objects,reference",
)

_OUTPUT = {"GIT_LFS_SKIP_SMUDGE": "1", "LC_ALL": "C", "LANGUAGE": "C"}
"""Environment variables with which git-lfs downloads nothing and git writes its messages in English.  Git-lfs still
checks out the files that it has stored."""


class NoAnswer(WorkspaceError):
    """Raised if git did not start, or was killed before it could answer; the answer is then unknown."""


def git(cwd: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run one git command; return its output, byte for byte.  Raises WorkspaceError, which quotes git's message."""
    try:
        from git import Git, GitCommandError, GitCommandNotFound  # imported here, because the import runs git
    except ImportError as error:
        said = str(error).split("\n", 1)[0]
        raise NoAnswer(f"git does not answer: {said}", "`git --version` shows why") from None
    # -C, because GitPython would expand `$` and `~` in `cwd`, and use the current folder if `cwd` does not exist.
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    # GitPython can only add variables, so the program `env` removes the variables that name another repository.
    inherited = [name for name in GIT_PLACES if name in os.environ and name not in (env or {})]
    without = ["env", *(word for name in inherited for word in ("-u", name))] if inherited else []
    command = [*without, "git", "-C", str(cwd), *settings, *arguments]
    try:
        out = Git().execute(
            command, env={**_OUTPUT, **(env or {})}, stdout_as_string=False, strip_newline_in_stdout=False
        )
    except GitCommandNotFound:
        raise NoAnswer(f"git cannot be started in {cwd}", "`git --version` shows why") from None
    except GitCommandError as error:
        said = str(error.stderr).strip().removeprefix("stderr: ").strip("'\n ") or f"exit code {error.status}"
        kind = NoAnswer if isinstance(error.status, int) and error.status < 0 else WorkspaceError
        hint = f"git ran in {cwd}; correct the fault, or free some space, and `autoresearch-mlx run` continues"
        raise kind(f"git {arguments[0]}: {said}", READ_ONLY if "Read-only file system" in said else hint) from None
    return bytes(out).decode(errors="surrogateescape")


def places_of(path: Path) -> tuple[Path, Path] | None:
    """Return the top of the checkout around ``path``, and the folder where the checkout's repository keeps its refs.

    Returns None if there is no checkout.  The checkout may itself be a worktree.  Raises WorkspaceError if git
    distrusts the owner of the checkout.
    """
    try:
        told = git(path, "rev-parse", "--show-toplevel", "--git-common-dir").rstrip("\n")
    except NoAnswer:
        raise
    except WorkspaceError as error:
        if "dubious ownership" in str(error):
            raise  # git's own message names the remedy
        return None
    top, _, common = told.rpartition("\n")
    return Path(top).resolve(), (path / common).resolve()


def top_of(path: Path) -> Path | None:
    """Return the top of the checkout around ``path``, or None without a checkout.

    Raises WorkspaceError if git distrusts the checkout's owner.
    """
    places = places_of(path)
    return None if places is None else places[0]


def resolve(path: Path, revision: str) -> str | None:
    """Return the commit that a revision names, or None when the revision names none."""
    try:
        return git(path, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
    except NoAnswer:
        raise
    except WorkspaceError:
        return None


def common_of(top: Path) -> Path:
    """Return the folder in which a repository keeps its refs, even if the checkout is itself a worktree."""
    return (top / git(top, "rev-parse", "--git-common-dir").rstrip("\n")).resolve()


def diff(path: Path, before: str, after: str) -> str:
    """Return the unified diff between two commits."""
    return git(path, "diff", "--no-color", "--no-ext-diff", "--relative", before, after)


def init_repository(directory: Path) -> None:
    git(directory, "init", "--quiet")


def commit_all(directory: Path, paths: Sequence[str], message: str) -> None:
    """Commit these files in a repository that this tool has just made; the user need not have set a name in git."""
    # --force, because the user's ignore files may name one of these paths.
    git(directory, "add", "--force", "--", *paths)
    git(directory, "commit", "--quiet", "--no-gpg-sign", "-m", message, env=IDENTITY)


def ignored(directory: Path, patterns: Sequence[str]) -> list[str]:
    """Return the files below ``directory`` that match ``patterns`` and that git ignores."""
    return git(directory, "ls-files", "-z", "-o", "-i", "--exclude-standard", "--", *patterns).split("\0")[:-1]
