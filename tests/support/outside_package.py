"""Install a package outside this repository, for processes that have its folder on their PYTHONPATH."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class OutsidePackage:
    """With ``folder`` on its PYTHONPATH, a process finds the package installed."""

    folder: Path

    @property
    def environment(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(self.folder)}


def install(folder: Path, files: Mapping[str, str], entry_points: Mapping[str, Mapping[str, str]]) -> OutsidePackage:
    """Write the modules, and the metadata that an installer would write: entry points by group and name."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    about = folder / "outside-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    sections = (f"[{group}]\n{_lines(names)}" for group, names in entry_points.items())
    (about / "entry_points.txt").write_text("\n".join(sections))
    return OutsidePackage(folder)


def _lines(names: Mapping[str, str]) -> str:
    return "".join(f"{name} = {where}\n" for name, where in names.items())
