"""Handle a session's branch, refs and commits in git.  Nothing that the user owns is ever changed.

A session owns one branch ``autoresearch/<tag>``, the worktrees on it (``store/worktree.py``), and private refs
``refs/autoresearch/<tag>/<n>``, one for each experiment.  A commit is built from the tree of its base with the
editable files replaced, so nothing else can change.  The user's own checkout and index are never touched, and the
user's hooks do not run.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.store.git import IDENTITY, git, ignored, places_of, resolve
from autoresearch_mlx.store.laid_out import LINK, MODULE

_FILE_MODES = ("100644", "100755")

_COMMITS_KEPT = 16
"""Number of commits whose editable files stay in memory; an experiment often reads the files of its base."""

_FULL_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def branch_of(tag: str) -> str:
    return f"autoresearch/{tag}"


def ref_of(tag: str, number: int) -> str:
    return f"refs/autoresearch/{tag}/{number}"


def drop_locks(common: Path, tag: str, patience: float = 1.0) -> None:
    """Remove the locks that a killed git process left on a session's refs in the folder ``common``.

    The user's own git may lock a ref for an instant while it packs refs.  So a lock is removed only if it still exists
    after ``patience`` seconds.
    """
    refs = common / "refs"
    patterns = (f"heads/{branch_of(tag)}.lock", f"autoresearch/{tag}/*.lock")
    end = time.monotonic() + patience
    while (locks := [lock for pattern in patterns for lock in refs.glob(pattern)]) and time.monotonic() < end:
        time.sleep(0.05)
    for lock in locks:
        lock.unlink(missing_ok=True)


def matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether a whole path matches a glob pattern, in which ``**`` means any number of folders."""
    if not pattern or not parts:
        return not pattern and not parts
    if pattern[0] == "**":
        return len(pattern) == 1 or matches(parts, pattern[1:]) or matches(parts[1:], pattern)
    return fnmatchcase(parts[0], pattern[0]) and matches(parts[1:], pattern[1:])


@dataclass(frozen=True, slots=True)
class _File:
    """A regular file of a commit."""

    mode: str
    text: str


class Workspace:
    """The branch, refs and commits of one session.  ``root`` is the lab's directory in the user's checkout."""

    def __init__(self, root: Path, folder: Path, tag: str, editable: Sequence[str]) -> None:
        if (places := places_of(root)) is None:
            raise WorkspaceError(
                f"{root} is not in a git checkout", "run `git init` there and commit, or run `autoresearch-mlx init`"
            )
        self.tag = tag
        self.branch = branch_of(tag)
        self.editable = tuple(editable)
        self.top, self.common = places
        self.prefix = PurePosixPath(root.resolve().relative_to(self.top).as_posix())
        self.folder = folder
        self._read: dict[str, dict[str, _File]] = {}
        self.one_at_a_time = threading.RLock()
        """Lock for making or removing a worktree, because git keeps the records of all worktrees in one place."""

    # --- the branch

    def start(self, commit: str) -> None:
        """Make the branch at ``commit``.  Raises WorkspaceError if the branch exists already."""
        try:
            git(self.top, "update-ref", f"refs/heads/{self.branch}", commit, "")
        except WorkspaceError:
            if self.tip() is None:
                raise
            raise WorkspaceError(f"branch {self.branch} exists already", "choose another --tag") from None

    def tip(self) -> str | None:
        """Return the branch's commit, or None when there is no such branch."""
        return resolve(self.top, f"refs/heads/{self.branch}")

    def put_back(self, tip: str) -> None:
        """Move the branch back to ``tip`` when somebody has moved or removed it."""
        if (found := self.tip()) != tip:
            git(self.top, "update-ref", f"refs/heads/{self.branch}", tip, found or "")

    def clear(self, patience: float = 1.0) -> None:
        """Remove the unfinished commits, and the locks on refs, that a dead process of this session left.

        Only the process that has the session's lock may call this.
        """
        for left in self.folder.glob("tmp*"):  # folders of unfinished commits, named by tempfile
            shutil.rmtree(left, ignore_errors=True)
        drop_locks(self.common, self.tag, patience)

    def keep(self, commit: str, base: str, ours: Container[str] = ()) -> None:
        """Move the branch from ``base`` to ``commit``, even if a measured program has reset it to an earlier commit.

        Raises WorkspaceError when the branch has a commit that is neither among ``ours`` nor an ancestor of ``commit``.
        """
        try:
            git(self.top, "update-ref", f"refs/heads/{self.branch}", commit, base)
        except WorkspaceError:
            tip = self.tip()
            if tip == base:
                raise
            if tip is not None and self._is_foreign(tip, commit, ours):
                raise self._moved(tip, commit) from None
            git(self.top, "update-ref", f"refs/heads/{self.branch}", commit, tip or "")

    def settle(self, incumbent: str, ours: Container[str]) -> None:
        """Bring the branch to the ledger's incumbent after a process has died between two steps.

        Raises WorkspaceError when the branch has a commit that is not among ``ours``.
        """
        tip = self.tip()
        if tip == incumbent:
            return
        if tip is not None and self._is_foreign(tip, incumbent, ours):
            raise self._moved(tip, incumbent)
        git(self.top, "update-ref", f"refs/heads/{self.branch}", incumbent, tip or "")

    def _is_foreign(self, tip: str, commit: str, ours: Container[str]) -> bool:
        """Return whether a move of the branch from ``tip`` to ``commit`` would lose somebody's commit."""
        return tip not in ours and git(self.top, "rev-list", "--count", tip, f"^{commit}").strip() != "0"

    def _moved(self, tip: str, incumbent: str) -> WorkspaceError:
        said = f"{self.branch} is at {tip[:7]}, but the ledger's incumbent is {incumbent[:7]}: somebody committed to it"
        keep = f"git branch mine-{self.tag} {tip[:7]} && git update-ref refs/heads/{self.branch} {incumbent} {tip}"
        return WorkspaceError(said, f"keep that commit elsewhere and put the branch back: {keep}")

    # --- experiments

    def read(self, commit: str) -> dict[str, str]:
        """Return the editable files of a commit, by their path in the lab."""
        if (files := self._read.get(commit)) is None:
            listed = [(path, mode) for path, mode in self._listed(commit) if self.may_edit(path)]
            files = {path: _File(mode, self._text(commit, path)) for path, mode in listed}
            if _FULL_HASH.fullmatch(commit):  # only a full hash always names the same commit
                self._remember(commit, files)
        return {path: file.text for path, file in files.items()}

    def _remember(self, commit: str, files: dict[str, _File]) -> None:
        self._read[commit] = files
        for oldest in list(self._read)[:-_COMMITS_KEPT]:
            self._read.pop(oldest, None)

    def may_edit(self, path: str) -> bool:
        """Return whether experiments may change the file at ``path``, which is relative to the lab."""
        pure = PurePosixPath(path)
        if pure.as_posix() != path or pure.is_absolute() or ".." in pure.parts or not path.isprintable():
            return False
        return any(path == e or matches(pure.parts, PurePosixPath(e).parts) for e in self.editable)

    def commit(self, number: int, base: str, files: Mapping[str, str], message: str, earlier: str | None = None) -> str:
        """Commit these files on ``base``, with everything else unchanged, under the experiment's own ref.

        ``earlier`` is the commit to which this session has already set the ref, if any.  Raises WorkspaceError when the
        ref has another commit, which only another lab or program can have made.
        """
        sha = self.make(base, files, message)
        if (before := self._read.get(base)) is not None and files.keys() <= before.keys():
            self._remember(sha, {**before, **{path: _File(before[path].mode, text) for path, text in files.items()}})
        ref = ref_of(self.tag, number)
        try:
            git(self.top, "update-ref", ref, sha, earlier or "")
        except WorkspaceError:
            found = git(self.top, "for-each-ref", "--format=%(objectname)", ref).strip()
            if found not in ("", earlier, sha):
                said = f"{ref} is at {found[:7]}, a commit that this session did not make; it stays as it is"
                raise WorkspaceError(
                    said, "another lab may have the same tag: start another session with --tag NAME"
                ) from None
            git(self.top, "update-ref", ref, sha, found)
        return sha

    def make(self, base: str, files: Mapping[str, str], message: str, identity: bool = False) -> str:
        """Commit these files on ``base``, with everything else unchanged and without a ref, and return the commit.

        With ``identity``, the author is the user, if git has a name for the user.
        """
        who = {} if identity and self._has_identity() else IDENTITY
        with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
            index = {"GIT_INDEX_FILE": str(Path(temporary) / "index")}
            git(self.top, "read-tree", base, env=index)
            for path, text in files.items():
                self._add(path, text, base, Path(temporary), index)
            tree = git(self.top, "write-tree", env=index).strip()
            # The message goes into a file, because an argument has a maximum length.  Git refuses the character NUL.
            (words := Path(temporary) / "message").write_bytes(message.replace("\0", "").encode())
            return git(self.top, "commit-tree", tree, "-p", base, "-F", str(words), env=who).strip()

    def _has_identity(self) -> bool:
        return all(git(self.top, "config", "--default", "", f"user.{part}").strip() for part in ("name", "email"))

    def add_branch(self, name: str, commit: str) -> str:
        """Make the branch ``name`` at ``commit``; return the branch's commit.

        An existing branch of that name stays as it is if its commit has the same parent and files.  Otherwise
        WorkspaceError is raised.
        """
        ref = f"refs/heads/{name}"
        if (found := resolve(self.top, ref)) is None:
            git(self.top, "update-ref", ref, commit, "")
            return commit
        same = "--format=%P %T"
        if git(self.top, "log", "-1", same, found) != git(self.top, "log", "-1", same, commit):
            raise WorkspaceError(f"branch {name} exists already with other contents", "choose another --prefix")
        return found

    def refuse_prefix(self, prefix: str) -> None:
        """Raise WorkspaceError if git cannot make branches below ``prefix``, or if such branches are reserved for
        sessions.

        Git cannot have a branch ``wins`` and a branch ``wins/01`` at the same time.
        """
        try:
            git(self.top, "check-ref-format", "--branch", f"{prefix}/01-change")  # no name may begin with a dash
        except WorkspaceError:
            said = f"{prefix!r} cannot begin the name of a branch"
            raise WorkspaceError(said, "choose another --prefix, for example --prefix wins") from None
        if prefix == "autoresearch" or prefix.startswith("autoresearch/"):
            said = "branches below autoresearch/ belong to sessions"
            raise WorkspaceError(said, "choose another --prefix, for example --prefix wins")
        parents = PurePosixPath(prefix, "x").parents
        if there := next((p for p in map(str, parents) if resolve(self.top, f"refs/heads/{p}") is not None), None):
            said = f"git cannot make branches below {there}/, because there is a branch {there}"
            raise WorkspaceError(said, "choose another --prefix, for example --prefix wins")

    def branches(self, prefix: str) -> list[str]:
        """Return the names of the branches below ``prefix``, and ``prefix`` itself if there is such a branch."""
        pattern = f"refs/heads/{prefix}"
        return git(self.top, "for-each-ref", "--format=%(refname:short)", pattern).split()

    def _add(self, path: str, text: str, base: str, temporary: Path, index: Mapping[str, str]) -> None:
        blob = temporary / "blob"
        blob.write_bytes(text.encode())
        sha = git(self.top, "hash-object", "-w", "--no-filters", str(blob)).strip()
        if (known := self._read.get(base, {}).get(path)) is not None:
            mode = known.mode
        else:
            listed = git(self.top, "ls-tree", base, "--", self._full(path))
            mode = listed.split()[0] if listed.startswith(_FILE_MODES) else "100644"
        git(self.top, "update-index", "--add", "--cacheinfo", f"{mode},{sha},{self._full(path)}", env=index)

    def as_stored(self, checkout: Path, base: str, paths: Sequence[str]) -> dict[str, str]:
        """Return the texts that git would store for regular files of a checkout, by their path in the lab.

        Git may give the files on the disk line ends other than those in the commit (``core.autocrlf``, or ``eol=crlf``
        in .gitattributes).  ``checkout`` is the lab's folder in the user's checkout or in a worktree of the session;
        the index of that checkout is not touched.  ``base`` is the commit whose version of each file decides whether
        the file's line ends are converted.  Raises WorkspaceError when git cannot store a file, or when the file is not
        UTF-8 text.
        """
        if not paths:
            return {}
        with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
            index = {"GIT_INDEX_FILE": str(Path(temporary) / "index"), "GIT_LITERAL_PATHSPECS": "1"}
            git(checkout, "read-tree", base, env=index)
            git(checkout, "update-index", "--add", "--", *paths, env=index)
            listed = git(checkout, "ls-files", "--stage", "-z", "--", *paths, env=index)
        blobs = {entry.partition("\t")[2]: entry.split()[1] for entry in listed.split("\0") if entry}
        return {path: self._blob(blob, f"{path} in {checkout}") for path, blob in blobs.items()}

    def made_on(self, number: int, bases: Container[str]) -> tuple[str, str] | None:
        """Return (base, commit) of an experiment, or None if it has no commit on one of ``bases``."""
        sha = resolve(self.top, ref_of(self.tag, number))
        base = resolve(self.top, f"{sha}^") if sha is not None else None
        return (base, sha) if sha is not None and base is not None and base in bases else None

    def forget(self, number: int, commit: str) -> None:
        """Drop the ref of an experiment that did not take place, if the ref names this commit."""
        ref = ref_of(self.tag, number)
        if resolve(self.top, ref) == commit:
            git(self.top, "update-ref", "-d", ref, commit)

    def title(self, commit: str) -> str:
        return git(self.top, "log", "-1", "--format=%s", commit).strip()

    def _listed(self, commit: str) -> Iterator[tuple[str, str]]:
        """Yield path and mode of the lab's regular files in a commit; links and submodules are left out."""
        listed = git(self.top, "ls-tree", "-r", "-z", "--full-tree", commit)
        for entry in listed.split("\0"):
            path = PurePosixPath(entry.partition("\t")[2])
            if entry.startswith(_FILE_MODES) and path.is_relative_to(self.prefix):
                yield path.relative_to(self.prefix).as_posix(), entry.split(" ", 1)[0]

    def why_none(self, commit: str) -> tuple[str, str]:
        """Return why a commit has no editable file, and the remedy, both as text."""
        wanted = ", ".join(self.editable)
        for entry in git(self.top, "ls-tree", "-r", "-z", "--full-tree", commit).split("\0"):
            path = PurePosixPath(entry.partition("\t")[2])
            if entry.startswith(_FILE_MODES) or not path.is_relative_to(self.prefix):
                continue
            inside = path.relative_to(self.prefix)
            if entry.startswith(LINK) and self.may_edit(inside.as_posix()):
                said = f"{inside} is a symbolic link in commit {commit[:7]}, and a link cannot be edited"
                return said, "set `editable` in lab.toml to the file to which the link leads"
            if entry.startswith(MODULE) and any(PurePosixPath(each).is_relative_to(inside) for each in self.editable):
                return f"{inside} is a submodule, whose files cannot be edited", "make a lab inside the submodule"
        hidden = ignored(self.top / self.prefix, self.editable)
        add = f"-f {' '.join(hidden)}" if hidden else wanted
        remedy = f"`git add {add} && git commit` in the lab, or correct `editable` in lab.toml"
        return f"no file that matches {wanted} is in commit {commit[:7]}", remedy

    def _text(self, commit: str, path: str) -> str:
        return self._blob(f"{commit}:{self._full(path)}", f"{path} at {commit[:7]}")

    def _blob(self, name: str, where: str) -> str:
        text = git(self.top, "cat-file", "blob", name)
        if any("\udc80" <= c <= "\udcff" for c in text):
            raise WorkspaceError(f"{where} is not UTF-8 text", "save it as UTF-8, or take it out of `editable`")
        return text

    def _full(self, path: str) -> str:
        return (self.prefix / path).as_posix()
