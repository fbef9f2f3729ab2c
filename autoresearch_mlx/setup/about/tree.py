"""Read a repository's last commit: its files, their languages, and its build files."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.store.git import git, resolve, top_of
from autoresearch_mlx.store.left_out import is_environment

MOST_FILES = 20_000
"""Largest number of files that are read; a message names the number of files that are left out."""
_MOST_BYTES = 400_000
"""Size in bytes of the largest file that is read as text."""
_ELSEWHERES = frozenset(
    ("node_modules", "vendor", "third_party", ".venv", "venv", "site-packages", ".terraform", "measuring")
)
"""Folders with code that is not the repository's own."""
_LANGUAGES = {
    ".py": "Python",
    ".js": "JavaScript",
    ".mjs": "JavaScript",
    ".cjs": "JavaScript",
    ".ts": "TypeScript",
    ".c": "C",
    ".cc": "C++",
    ".cpp": "C++",
    ".rs": "Rust",
    ".go": "Go",
    ".html": "HTML",
    ".css": "CSS",
    ".tf": "Terraform",
    ".sh": "shell",
    ".rb": "Ruby",
    ".java": "Java",
}
_TEST = re.compile(
    r"(?:^|/)(?:tests?|__tests__|spec)/|(?:^|/)tests?[_.-][^/]*$|(?:^|/)tests?\.[a-z]+$"
    r"|[._-](?:test|spec)s?\.[a-z]+$|(?:^|/)conftest\.py$"
)
_TARGET = re.compile(r"^([A-Za-z_][\w.-]*)\s*:(?!=)", re.MULTILINE)


@dataclass(frozen=True)
class Tree:
    """The files of a repository's last commit in ``root``, the folder of the future lab."""

    root: Path
    head: str
    sizes: Mapping[str, int]
    """Size of each file in bytes, by its path relative to ``root``."""
    modules: tuple[str, ...]
    """Paths of submodules; files of submodules are not read."""
    left_out: int
    """Number of files that were not read, because there are more than :data:`MOST_FILES`."""
    changed: tuple[str, ...]
    """Files with uncommitted changes, and files that are not under git."""

    def text(self, path: str) -> str:
        """Return the text of a file; an empty string if the file is missing or larger than ``_MOST_BYTES``."""
        if self.sizes.get(path, _MOST_BYTES + 1) > _MOST_BYTES:
            return ""
        return git(self.root, "show", f"{self.head}:./{path}").encode(errors="surrogateescape").decode(errors="replace")

    def data(self, path: str) -> bytes:
        """Return the bytes of a file."""
        return git(self.root, "show", f"{self.head}:./{path}").encode(errors="surrogateescape")

    @cached_property
    def own(self) -> tuple[str, ...]:
        """Paths of the repository's own files, without other people's code."""
        return tuple(path for path in self.sizes if not _ELSEWHERES & set(PurePosixPath(path).parts))

    def of(self, *endings: str) -> tuple[str, ...]:
        """Return the repository's own files with these endings; tests come last."""
        found = [path for path in self.own if path.endswith(endings)]
        return tuple(sorted(found, key=is_test))

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Languages of the repository's own files; the most frequent comes first."""
        counts = Counter(_LANGUAGES.get(PurePosixPath(path).suffix) for path in self.own)
        return tuple(name for name, _ in counts.most_common() if name)

    @cached_property
    def package(self) -> Mapping[str, Any]:
        """The contents of package.json; empty if the file is missing or cannot be read."""
        try:
            found = json.loads(self.text("package.json") or "{}")
        except json.JSONDecodeError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def scripts(self) -> Mapping[str, str]:
        """The scripts of package.json, by name."""
        found = self.package.get("scripts", {})
        return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}

    @cached_property
    def make_targets(self) -> tuple[str, ...]:
        """The targets of the Makefile."""
        name = next((each for each in ("Makefile", "makefile", "GNUmakefile") if each in self.sizes), None)
        return tuple(dict.fromkeys(_TARGET.findall(self.text(name)))) if name else ()

    def words(self) -> str:
        """Describe the repository in one line."""
        said = [terms.plural(len(self.own), "file")]
        said += [", ".join(self.languages[:4])] if self.languages else []
        if tests := [path for path in self.own if is_test(path) and not path.endswith("__init__.py")]:
            said.append(terms.plural(len(tests), "file") + " of tests")
        if self.modules:
            said.append(f"{terms.plural(len(self.modules), 'submodule')}, whose files stay as they are")
        said += [f"{self.left_out} more files were not read"] if self.left_out else []
        return "; ".join(said)


def is_test(path: str) -> bool:
    """Return whether a file's path shows that the file belongs to the tests."""
    return _TEST.search(path) is not None


def read_tree(root: Path) -> Tree:
    """Return the files of the last commit in the folder ``root``.

    Raises LabError when ``root`` is not in a git repository, or when the last commit has no file in ``root``.
    """
    if not root.is_dir():
        raise LabError(f"{root} is not a folder", "name the folder of a repository")
    if top_of(root) is None:
        hint = "`git init && git add -A && git commit -m 'Begin'` there; a lab measures commits"
        raise LabError(f"{root} is not in a git repository", hint)
    if (head := resolve(root, "HEAD")) is None:
        raise LabError(f"the repository of {root} has no commit yet", "`git add -A && git commit` there")
    rows = git(root, "ls-tree", "-r", "-l", "-z", head).split("\0")[:-1]
    files, modules = {}, []
    for row in rows:
        facts, _, path = row.partition("\t")
        mode, _, _, size = facts.split()
        if mode == "160000":
            modules.append(path)
        elif mode in ("100644", "100755"):  # links are left out, because they may lead out of the repository
            files[path] = int(size)
    if not files:
        raise LabError(f"the last commit has no files in {root}", "commit files there, or name another folder")
    kept = dict(list(files.items())[:MOST_FILES])
    return Tree(root, head, kept, tuple(modules), len(files) - len(kept), tuple(_changed(root)))


def _changed(root: Path) -> Sequence[str]:
    rows = git(root, "status", "--porcelain", "-z", "--no-renames", "--", ".").split("\0")[:-1]
    inside = git(root, "rev-parse", "--show-prefix").rstrip("\n")
    paths = [row[3:].removeprefix(inside) for row in rows]
    return [path for path in paths if not is_environment(root / path)]
