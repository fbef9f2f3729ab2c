"""Work in a copy of a repository.  Commands in the copy run with the user's rights and without a sandbox."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from autoresearch_mlx import terms
from autoresearch_mlx.errors import AutoresearchError, LabError
from autoresearch_mlx.lab.tool_settings import ToolSettings
from autoresearch_mlx.setup.about.tree import Tree
from autoresearch_mlx.store.fill import fill, fillings_of
from autoresearch_mlx.store.git import commit_all, common_of, git, top_of
from autoresearch_mlx.store.laid_out import entries_of
from autoresearch_mlx.targets.tools import Tools
from autoresearch_mlx.terms import without_codes
from autoresearch_mlx.trial.orphans import end_orphans
from autoresearch_mlx.trial.runner import Log, child_process_environment, run_child
from autoresearch_mlx.trial.sandbox.limits import MARKER, Limits, Watch

_TAIL = 4000
PACKAGES = "node_modules"
"""Folder with installed packages, which is not under git; Node also looks for this folder in all parent folders."""


@dataclass(frozen=True, slots=True)
class Ran:
    """The result of a shell line that was run in the copy."""

    line: str
    code: int
    said: str
    """The end of the line's output."""
    seconds: float
    hung: bool = False

    @property
    def passed(self) -> bool:
        return self.code == 0 and not self.hung

    def words(self) -> str:
        """Return a sentence that says how the line ended and quotes the end of its output."""
        if self.hung:
            return f"`{self.line}` did not end within {terms.took(self.seconds)}"
        last = [line.strip() for line in self.said.splitlines() if line.strip()]
        ending = f": {terms.cut(terms.one_line(' / '.join(last[-3:])), 240)}" if last else ""
        return f"`{self.line}` ended with exit code {self.code}{ending}"


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the last commit, under git, in a temporary folder."""

    root: Path
    """The lab's folder in the copy."""
    folder: Path
    """The temporary folder that contains the copy."""
    tools: ToolSettings
    """The settings [tools] of the lab: where to look for its programs besides PATH."""

    def run(self, line: str, seconds: float) -> Ran:
        """Run a shell line for at most ``seconds``, then end all processes that the line started."""
        began, marker, said = time.monotonic(), uuid.uuid4().hex, bytearray()

        def keep(data: bytes) -> None:
            said.extend(data)
            del said[:-_TAIL]

        def over() -> str | None:
            return "too long" if time.monotonic() - began > seconds else None

        with Log(self.folder / "log.txt") as log:
            ended = run_child(
                ["/bin/sh", "-c", line],
                cwd=self.root,
                environment=child_process_environment({**self._environment(), MARKER: marker}),
                log=log,
                allowed=over,
                on_output=keep,
                watch=Watch(Limits(), marker),
            )
        text = without_codes(said.decode(errors="replace"))
        return Ran(line, ended.returncode, text, ended.seconds, ended.killed is not None)

    def _environment(self) -> dict[str, str]:
        return Tools(self.tools_folder, self.tools).environment()

    @property
    def tools_folder(self) -> Path:
        return self.root / self.tools.folder

    def reset(self) -> None:
        """Restore all files as they are in the last commit of the copy."""
        git(self.root, "reset", "--quiet", "--hard")
        git(self.root, "clean", "-ffdxq", "-e", self.tools.folder)

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write ``files``, which maps paths to contents."""
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def commit(self, paths: list[str]) -> None:
        """Commit files in the copy."""
        commit_all(self.root, paths, "A lab")

    def undo_commit(self) -> None:
        """Undo the last commit of the copy."""
        git(self.root, "reset", "--quiet", "--hard", "HEAD~1")


@contextmanager
def copied(tree: Tree) -> Iterator[Copy]:
    """Yield a copy of the last commit, with its submodules and LFS files; remove the copy at the end of the block."""
    top = top_of(tree.root)
    assert top is not None
    with TemporaryDirectory(prefix="autoresearch-about-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary).resolve()
        try:
            there = folder / "copy"
            git(folder, "clone", "--quiet", "--shared", "--no-checkout", str(top), str(there))
            git(there, "checkout", "--quiet", "--detach", tree.head)
            fillings = fillings_of(top, common_of(top), tree.head, entries_of(top, tree.head))
            if lacking := list(fillings.empty()):
                raise LabError(
                    f"a copy of the repository would lack the {lacking[0]}", "fetch the missing part, then init again"
                )
            fill(there, fillings)
            copy = Copy(there / tree.root.resolve().relative_to(top), folder, tools_in(tree.root))
            above = (tree.root.resolve(), *tree.root.resolve().parents)
            if modules := next((each / PACKAGES for each in above if (each / PACKAGES).is_dir()), None):
                (folder / PACKAGES).symlink_to(modules.resolve())
            if (tree.root / copy.tools.folder).is_dir() and not copy.tools_folder.exists():
                copy.tools_folder.symlink_to((tree.root / copy.tools.folder).resolve())
            yield copy
        finally:
            end_orphans(folder)


def tools_in(root: Path) -> ToolSettings:
    """Return the [tools] settings with which the lab's shell lines find the repository's own virtual environment."""
    found = next((name for name in (".tools", ".venv", "venv") if (root / name / "bin").is_dir()), None)
    return ToolSettings(folder=found) if found else ToolSettings()


def failure(error: AutoresearchError) -> str:
    """Return an error's message and its hint as one text."""
    return f"{error}; {error.hint}" if error.hint else str(error)
