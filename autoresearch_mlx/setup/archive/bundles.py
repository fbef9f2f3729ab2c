"""Call git for a whole session: list its refs, pack and unpack its history, remove its worktree.

:mod:`autoresearch_mlx.store.workspace` calls git for one experiment.  Both modules change only the session's own
branch, refs and worktree.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.store.git import git, top_of
from autoresearch_mlx.store.workspace import branch_of


def refs_of(root: Path, tag: str) -> dict[str, str]:
    """Return the refs of a session and their commits: the branch, if it exists, and the refs of the experiments."""
    names = (f"refs/heads/{branch_of(tag)}", f"refs/autoresearch/{tag}")
    listed = git(root, "for-each-ref", "--format=%(refname) %(objectname)", *names)
    pairs = (line.split(" ") for line in listed.splitlines())
    # A pattern also matches every ref below it.
    return {ref: sha for ref, sha in pairs if ref == names[0] or PurePosixPath(ref).parent == PurePosixPath(names[1])}


def drop(root: Path, refs: Mapping[str, str]) -> None:
    """Remove each ref in ``refs``, except a ref that has got a new commit.  Git's own gc removes the commits later."""
    for ref, sha in refs.items():
        try:
            git(root, "update-ref", "-d", ref, sha)
        except WorkspaceError:
            continue  # somebody else has removed or moved the ref


def prefix_of(root: Path) -> str:
    """Return the lab's path inside its checkout; ``.`` for a lab at the top.

    Raises WorkspaceError for a lab outside of a checkout.
    """
    top = top_of(root)
    if top is None:
        raise WorkspaceError(f"{root} is not in a git checkout", "`git init` and commit there")
    return root.resolve().relative_to(top).as_posix()


def pack(root: Path, tag: str, bundle: Path) -> dict[str, str]:
    """Write the session's branch and refs, with their whole history, to the file ``bundle``; return the refs.

    Raises WorkspaceError when the clone lacks a part of the history, or when the session has no branch.
    """
    _refuse_part_of_a_history(root)
    refs = refs_of(root, tag)
    branch = f"refs/heads/{branch_of(tag)}"
    if branch not in refs:
        raise WorkspaceError(f"branch {branch_of(tag)} is gone", "`autoresearch-mlx run` makes the branch again")
    git(root, "bundle", "create", "--quiet", str(bundle.resolve()), branch, f"--glob=refs/autoresearch/{tag}/*")
    return refs


def _refuse_part_of_a_history(root: Path) -> None:
    if git(root, "rev-parse", "--is-shallow-repository").strip() == "true":
        said = "the clone is shallow: a part of the session's history is missing here"
        raise WorkspaceError(said, "`git fetch --unshallow` fetches the whole history; then archive again")
    try:
        promised = git(root, "config", "--get-regexp", r"^remote\..*\.promisor$")
    except WorkspaceError:
        return  # git fails when no remote is a partial clone
    name = promised.split(".")[1]
    whole = f"git config --unset remote.{name}.partialclonefilter && git fetch --refetch {name}"
    raise WorkspaceError(
        "the clone is partial: git fetches the files of older commits only when asked",
        f"make the clone complete, then archive again: {whole} && git config --unset remote.{name}.promisor",
    )


def heads_of(root: Path, bundle: Path) -> dict[str, str]:
    """Return the refs in a bundle and their commits.  Raises WorkspaceError for a file that is not a bundle."""
    pairs = (line.split(" ", 1) for line in git(root, "bundle", "list-heads", str(bundle.resolve())).splitlines())
    return {ref: sha for sha, ref in pairs}


def unpack(root: Path, bundle: Path, refs: Mapping[str, str]) -> None:
    """Fetch a bundle's commits and make its refs in this repository.

    ``refs`` maps each ref's name in the bundle to its name here.  If git fails, no ref is made, and a WorkspaceError
    with git's message is raised.
    """
    quiet = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance")
    pairs = [f"{theirs}:{ours}" for theirs, ours in refs.items()]
    git(root, "fetch", *quiet, "--atomic", str(bundle.resolve()), *pairs)


def drop_worktree(root: Path, worktree: Path) -> None:
    """Remove a session's worktree and git's record of the worktree; the next run makes a new one."""
    try:
        git(root, "worktree", "remove", "--force", str(worktree))
    except WorkspaceError:  # git does not know the worktree, or it is damaged; `ensure_worktree` repairs that
        shutil.rmtree(worktree, ignore_errors=True)
