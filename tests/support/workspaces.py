"""A workspace in a lab of its own, and the user's files that it must not touch."""

from __future__ import annotations

from collections.abc import Sequence

from conftest import git

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.workspace import Workspace
from autoresearch_mlx.store.worktree import Worktree

NEW = "X = 1.0\n"


class Owned(Workspace):
    """A session's workspace together with its first worktree."""

    @property
    def worktree(self) -> Worktree:
        return Worktree(self)


def workspace(lab: Lab, *editable: str, tag: str = "t") -> Owned:
    folder = lab.folder(tag)
    lab.make_state()
    folder.mkdir(exist_ok=True)
    return Owned(lab.root, folder, tag, editable or ("solver.py",))


def started(lab: Lab, *editable: str, tag: str = "t") -> Owned:
    """Start a session's branch at the user's commit, with its worktree."""
    ws = workspace(lab, *editable, tag=tag)
    ws.start(head(lab))
    ws.worktree.ensure()
    return ws


def head(lab: Lab) -> str:
    return git(lab.root, "rev-parse", "HEAD")


def checkout_of(lab: Lab) -> Sequence[object]:
    """Return everything of the user's that we must not touch."""
    files = {p for p in lab.root.rglob("*") if p.is_file() and not {".autoresearch", ".git"} & set(p.parts)}
    refs = git(lab.root, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    own = [(lab.root / ".git" / name) for name in ("HEAD", "index", "config")]
    return (
        {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in files},
        [ref for ref in refs if "autoresearch/" not in ref],
        [p.read_bytes() for p in own],
    )


def whole_life(ws: Owned, lab: Lab) -> str:
    """Do everything that a session does to git, in one go; return the kept commit."""
    ws.worktree.ensure()
    base = ws.tip()
    assert base is not None
    discarded = ws.commit(1, base, {"solver.py": "X = 0.0\n"}, "worse\n")
    ws.worktree.checkout(discarded)
    ws.worktree.ensure()
    sha = ws.commit(2, base, {"solver.py": NEW}, "better\n")
    ws.worktree.checkout(sha)
    ws.keep(sha, base)
    ws.worktree.ensure()
    assert (ws.worktree.tree / "solver.py").read_text() == NEW
    assert ws.read(sha) == {"solver.py": NEW}
    return sha
