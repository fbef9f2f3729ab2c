"""Find the held-out text on this machine, so that the sandbox can keep the edited code from reading it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.targets.corpus import stdlib
from autoresearch_mlx.targets.corpus.rows import Corpus
from autoresearch_mlx.targets.corpus.sources import folder_files
from autoresearch_mlx.trial.sandbox.permissions import python_paths, real, spared

_LIBRARIES = (
    "/usr",
    "/usr/local",
    "/usr/local/Cellar/*/*",
    "/opt/homebrew",
    "/opt/homebrew/Cellar/*/*",
    "/nix/store/*",
    "/Library/Developer/CommandLineTools",
)
"""Folders of the system's Python installations, which a confined process could read."""
_INSIDE = (
    "lib*/python*",
    "lib*/pypy*",
    "lib*/pypy*/lib-python/3",
    "lib*/python*/site-packages",
    "lib*/python*/dist-packages",
    "Frameworks/Python.framework/Versions/*/lib/python*",
    "Library/Frameworks/Python3.framework/Versions/*/lib/python*",
)
_UNCLOSED = (
    "held-out rows come from text of Python's library that training can read; `prepare stdlib` may make better rows"
)


@dataclass(frozen=True, slots=True)
class Secrecy:
    """The paths that the sandbox must keep closed, and the reason if the edited code can read the text anyway."""

    closed: tuple[Path, ...] = ()
    in_tree: tuple[str, ...] = ()
    """Copies of the held-out text in the worktree, as paths relative to the worktree."""
    open_because: str | None = None
    """Why the edited code can read the held-out text, or None if it cannot read the text."""


def secrecy_of(corpus: Corpus, lab: Lab) -> Secrecy:
    """Return where the text of a corpus lies, and whether the edited code can read it.

    The search takes milliseconds, except for the source ``folder``, for which the whole folder is listed.
    """
    manifest = corpus.manifest
    if manifest.source == "stdlib":
        return Secrecy(tuple(_copies()), open_because=None if _held_apart(manifest.source_detail) else _UNCLOSED)
    if manifest.source == "folder" and "path" in manifest.source_detail:
        return _of_folder(Path(manifest.source_detail["path"]), lab, corpus.folder)
    return Secrecy()  # downloads lie where no confined process may read


def _held_apart(detail: Mapping[str, Any]) -> bool:
    return bool(detail.get("closed"))


def _copies() -> Iterator[Path]:
    """Yield the closed packages and zipped libraries of each Python installation that a confined process may read."""
    places = {stdlib.root()}
    roots = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)}
    for pattern in _LIBRARIES:
        roots.update(Path("/").glob(pattern[1:]))
    for root in sorted(roots):
        for inside in _INSIDE:
            places.update(root.glob(inside))
        yield from real(root.glob("lib*/python*.zip"))
    yield from real(place / name for place in places for name in stdlib.CLOSED if not _other(place, name))


def _other(place: Path, name: str) -> bool:
    """Return whether ``name`` in ``place`` is an installed package that only shares its name with a closed package."""
    return name == "test" and place.name in stdlib.INSTALLED


def _of_folder(folder: Path, lab: Lab, rows: Path) -> Secrecy:
    if not folder.is_dir():
        return Secrecy()  # the corpus was prepared on another machine
    root = lab.root.resolve()
    inside = folder != root and folder.is_relative_to(root)
    needed = real([*python_paths(), rows, *(() if inside else (root,))])
    if list(spared(folder, needed)) != [(folder, True)]:
        why = "so the sandbox cannot close this folder"
        return Secrecy(open_because=f"Python, the rows or the lab lie in {folder}, the folder of the text, {why}")
    linked = real(file for file in _files(folder) if file.is_symlink())
    if any(file.is_relative_to(place) for file in linked for place in needed):
        return Secrecy(open_because=f"a link in {folder} leads to files of Python or of the lab, which a run needs")
    return Secrecy((folder, *linked), (str(folder.relative_to(root)),) if inside else ())


def _files(folder: Path) -> list[Path]:
    try:
        return folder_files(folder)
    except CorpusError:
        return []  # the texts are gone
