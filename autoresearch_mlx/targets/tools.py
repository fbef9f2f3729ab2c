"""Find the programs with which a lab measures, in the lab's own folder of tools or on PATH."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.lab.tool_settings import ToolSettings
from autoresearch_mlx.targets.contract import Finding, Place

_BIN = ("bin", "node_modules/.bin")
"""Subfolders that have the programs: ``bin`` in a Python environment, ``node_modules/.bin`` if npm installs them."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs that one lab needs for measuring, and the folder in which the lab may have them."""

    folder: Path
    """The lab's own folder of tools; it need not exist."""
    wanted: ToolSettings

    def environment(self) -> dict[str, str]:
        """Return the environment variables with which a shell command finds the lab's tools; empty if the lab has no
        tools.

        ``AUTORESEARCH_TOOLS`` is the folder, for a script that reads files in it.
        """
        if not self.folder.is_dir():
            return {}
        path = os.pathsep.join((*self._bin(), os.environ.get("PATH", os.defpath)))
        return {"PATH": path, "AUTORESEARCH_TOOLS": str(self.folder)}

    def found(self, need: str) -> str | None:
        """Return the path of a program, or None if the program is not installed.

        ``need`` may name alternatives, as in ``node|bun``; the first one that is installed is returned.
        """
        return next(filter(None, map(self._one, need.split("|"))), None)

    def _one(self, name: str) -> str | None:
        name = os.path.expandvars(name.strip())
        if name.startswith("$"):
            return None  # the variable is not set
        if "/" in name:
            path = self.folder / name  # an absolute path stays as it is
            return str(path) if path.exists() else None
        there = self.folder.is_dir()
        return (shutil.which(name, path=os.pathsep.join(self._bin())) if there else None) or shutil.which(name)

    def _bin(self) -> list[str]:
        return [str(self.folder / name) for name in _BIN]

    def missing(self) -> tuple[str, ...]:
        """Return each entry of ``wanted.all`` for which none of the alternative programs is installed."""
        return tuple(need for need in self.wanted.all if self.found(need) is None)

    def refuse_missing(self) -> None:
        """Raise LabError if a tool is missing; the error's hint says how to install the tool."""
        if missing := self.missing():
            one = f"{_in_words(missing[0])}, which is" if len(missing) == 1 else f"{_named(missing)}, which are"
            said = f"this lab measures with {one} neither in {self.folder} nor on PATH"
            raise LabError(said, self._remedy(missing))

    def _remedy(self, missing: tuple[str, ...]) -> str:
        by_hand = tuple(need for need in missing if need in self.wanted.system or self.wanted.install is None)
        steps = [f"install {_named(by_hand)} on this machine"] if by_hand else []
        if len(by_hand) < len(missing):
            return "; then ".join([*steps, f"in {self.folder.parent}: {self.wanted.install}"])
        return f"{steps[0]}, or correct [tools] in lab.toml"

    def rows(self) -> Iterator[Finding]:
        """Yield a line of `doctor` for each tool."""
        for need in self.wanted.all:
            if (path := self.found(need)) is not None:
                yield Finding("tools", names_of(need)[0], path)
            else:
                yield Finding("tools", names_of(need)[0], "missing", "fail", self._remedy((need,)))


def tools_of(place: Place) -> Tools:
    """Return the tools of a lab."""
    wanted = place.settings.tools
    return Tools(place.lab.root.resolve() / wanted.folder, wanted)


def names_of(need: str) -> list[str]:
    """Return the names of a tool's alternatives for messages: axe-core for ``node_modules/axe-core/package.json``."""
    paths = (each.strip() for each in need.split("|"))
    names = (Path(path).parent.name if path.endswith("/package.json") else Path(path).name for path in paths)
    return [f"the program that {name[1:]} names" if name.startswith("$") else name for name in names]


def _in_words(need: str) -> str:
    return " or ".join(names_of(need))


def _named(needs: tuple[str, ...]) -> str:
    return ", ".join(map(_in_words, needs))
