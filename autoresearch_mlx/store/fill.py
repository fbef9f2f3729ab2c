"""Fill the parts of a worktree that git leaves empty: submodules, and files of Git LFS.  No network is used.

Submodules come from the user's checkout, or from the repository's own copies in ``.git/modules``.  For a file of Git
LFS, the commit has only a pointer.  The file's content comes from ``.git/lfs``, where git-lfs keeps it, or from the
user's checkout.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.store.git import NoAnswer, git
from autoresearch_mlx.store.laid_out import MODULE, Entry, entries_of, print_of

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:[^\n]+\n)*?oid sha256:([0-9a-f]{64})\nsize (\d+)\n"
)
_LARGEST_POINTER = 1024
"""Size in bytes of the longest pointer file (specification of Git LFS)."""


@dataclass(frozen=True, slots=True)
class Module:
    """A submodule of a commit."""

    path: str
    commit: str
    source: Path | None
    """Git directory on this machine that has the submodule's commit, or None if no directory has it."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """One file of a commit whose contents are in Git LFS."""

    path: str
    sha256: str
    size: int
    """Size of the file's content in bytes."""
    source: Path | None
    """A file on this machine with the pointer's content, or None if there is no such file."""


@dataclass(frozen=True, slots=True)
class Fillings:
    """Everything that a checkout of a commit leaves empty."""

    modules: tuple[Module, ...] = ()
    pointers: tuple[Pointer, ...] = ()

    def empty(self) -> Iterator[str]:
        """Yield the parts that cannot be filled here, each as text with the command that fetches it."""
        for module in self.modules:
            if module.source is None:
                yield f"submodule {module.path} (`git submodule update --init {module.path}` fills it)"
        for pointer in self.pointers:
            if pointer.source is None:
                yield f"Git LFS file {pointer.path} (`git lfs pull` fetches its content)"

    def has_filled(self, worktree: Path, path: str) -> bool:
        """Return whether a file of a worktree has the content that its pointer names."""
        pointer = next((each for each in self.pointers if each.path == path), None)
        return pointer is not None and _is(worktree / path, pointer.sha256, pointer.size)


def fillings_of(
    top: Path, common: Path, commit: str, entries: Mapping[str, Entry], known: Fillings = Fillings()
) -> Fillings:
    """Return what git leaves empty when it checks out ``commit``.

    ``common`` is the repository's git directory.  ``known`` has the parts that were found for another commit; their
    sources need not be searched for again.
    """
    modules = (
        next((each for each in known.modules if (each.path, each.commit) == (path, entry.blob)), None)
        or _module(top, common, path, entry.blob)
        for path, entry in entries.items()
        if entry.mode == MODULE
    )
    return Fillings(tuple(modules), tuple(_pointers(top, common, commit, entries, known)))


def files_of_modules(fillings: Fillings) -> dict[str, Entry]:
    """Return the files of the submodules that can be filled, by their path in the repository."""
    found: dict[str, Entry] = {}
    for module in fillings.modules:
        if module.source is not None:
            inner = entries_of(module.source, module.commit, _alone(module.source))
            found |= {f"{module.path}/{path}": entry for path, entry in inner.items()}
    return found


def fill(worktree: Path, fillings: Fillings) -> None:
    """Put the content of submodules and LFS files into a worktree, unless it is there already."""
    for module in fillings.modules:
        if module.source is not None:
            _fill_module(worktree / module.path, module.source, module.commit)
    for pointer in fillings.pointers:
        target = worktree / pointer.path
        if pointer.source is not None and _is_pointer(target):
            mode = target.stat().st_mode
            target.unlink()
            shutil.copyfile(pointer.source, target)
            target.chmod(mode)


# --- submodules


def _module(top: Path, common: Path, path: str, commit: str) -> Module:
    source = next((found for found in _git_directories(top, common, path) if _has(found, commit)), None)
    return Module(path, commit, source)


def _git_directories(top: Path, common: Path, path: str) -> Iterator[Path]:
    """Yield the git directories that may have a submodule's commits."""
    checkout = top / path
    if (checkout / ".git").exists() and (found := _answer(checkout, "rev-parse", "--absolute-git-dir")) is not None:
        yield Path(found.rstrip("\n"))
    listed = _answer(top, "config", "--file", ".gitmodules", "--get-regexp", r"^submodule\..*\.path$") or ""
    for key, _, named in (line.partition(" ") for line in listed.splitlines()):
        if named == path:
            yield common / "modules" / key.removeprefix("submodule.").removesuffix(".path")


def _has(source: Path, commit: str) -> bool:
    return source.is_dir() and _answer(source, "cat-file", "-e", f"{commit}^{{tree}}", env=_alone(source)) is not None


def _alone(source: Path) -> dict[str, str]:
    """Return environment variables that make git use a git directory without its checkout.

    The settings of the directory may name a checkout that no longer exists.
    """
    return {"GIT_DIR": str(source), "GIT_WORK_TREE": str(source)}


def _fill_module(target: Path, source: Path, commit: str) -> None:
    """Make a folder contain exactly the files of a submodule's commit."""
    entries = entries_of(source, commit, _alone(source))
    files = {path: entry for path, entry in entries.items() if entry.mode != MODULE}
    nested = [path for path, entry in entries.items() if entry.mode == MODULE]
    if target.is_symlink() or target.is_file():
        target.unlink()
    target.mkdir(parents=True, exist_ok=True)
    for path in _below(target):
        if path not in files and not any(path.startswith(f"{folder}/") for folder in nested):
            (target / path).unlink()
    if any(
        (found := print_of(target / path, blob=entry.blob)) is None or found.digest != entry.blob
        for path, entry in files.items()
    ):
        with tempfile.TemporaryDirectory() as temporary:
            own = {**_alone(source), "GIT_WORK_TREE": str(target), "GIT_INDEX_FILE": str(Path(temporary) / "index")}
            git(target, "read-tree", commit, env=own)
            git(target, "checkout-index", "--all", "--force", "--quiet", env=own)
    for path in nested:
        inner = next((d for d in _nested(source, path) if _has(d, entries[path].blob)), None)
        if inner is not None:
            _fill_module(target / path, inner, entries[path].blob)


def _nested(source: Path, path: str) -> Iterator[Path]:
    """Yield the git directories that may have the commits of a nested submodule; git names them by the submodule's
    path."""
    yield source / "modules" / path


def _below(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        yield from ((Path(place) / name).relative_to(folder).as_posix() for name in (*names, *links))


# --- Git LFS


def _pointers(top: Path, common: Path, commit: str, entries: Mapping[str, Entry], known: Fillings) -> Iterator[Pointer]:
    attributes = [path for path in entries if path.endswith(".gitattributes")]
    local = common / "info" / "attributes"
    if not attributes and not local.exists():
        return
    found = _answer(top, "grep", "-l", "-z", "-F", "version https://git-lfs.github.com/spec/v1", commit) or ""
    for path in (name.removeprefix(f"{commit}:") for name in found.split("\0") if name):
        match = _POINTER.match(git(top, "cat-file", "blob", f"{commit}:{path}").encode(errors="surrogateescape"))
        if match is None or not _is_filtered(top, path):
            continue
        sha256, size = match.group(1).decode(), int(match.group(2))
        before = next((each for each in known.pointers if (each.path, each.sha256) == (path, sha256)), None)
        yield before or Pointer(path, sha256, size, _content(top, common, path, sha256, size))


def _is_filtered(top: Path, path: str) -> bool:
    return git(top, "check-attr", "-z", "filter", "--", path).split("\0")[2:3] == ["lfs"]


def _is_pointer(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST_POINTER:
        return False
    return _POINTER.match(path.read_bytes()) is not None


def _content(top: Path, common: Path, path: str, sha256: str, size: int) -> Path | None:
    """Return a file on this machine with the content that a pointer names."""
    stores = [common / "lfs"]
    if (own := _answer(top, "config", "--type=path", "lfs.storage")) is not None:
        stores.insert(0, common / own.rstrip("\n"))
    places = (*(store / "objects" / sha256[:2] / sha256[2:4] / sha256 for store in stores), top / path)
    return next((place for place in places if _is(place, sha256, size)), None)


def _is(place: Path, sha256: str, size: int) -> bool:
    with suppress(OSError):
        if place.is_file() and not place.is_symlink() and place.stat().st_size == size:
            with place.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    return False


def _answer(where: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str | None:
    """Return the output of a git command, or None if it fails, as some commands do when they find nothing."""
    try:
        return git(where, *arguments, env=env)
    except NoAnswer:
        raise
    except WorkspaceError:
        return None
