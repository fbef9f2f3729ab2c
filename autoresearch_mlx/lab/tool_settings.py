"""Define the settings of two sorts of programs: tools that a lab needs to measure, and hooks around each experiment."""

from __future__ import annotations

from pathlib import PurePosixPath

from pydantic import field_validator, model_validator

from autoresearch_mlx.lab.setting_types import Frozen


class ToolSettings(Frozen):
    """The programs with which a lab measures, and the shell line that installs them into a folder of the lab."""

    folder: str = ".tools"
    """Folder of the lab's tools, relative to the lab.  Its ``bin`` and ``node_modules/.bin`` come first on PATH."""
    needs: tuple[str, ...] = ()
    """Tools that must be installed before anything is measured.  An entry names a program, or a file below ``folder``.
    A ``|`` separates alternatives, such as ``chromium | google-chrome``.  An alternative may also be an absolute path,
    or a variable with an absolute path (``$CHROME_PATH``)."""
    system: tuple[str, ...] = ()
    """Programs that the user must install on the system, such as node or a browser, because ``install`` does not
    install them.  The entries are written as in ``needs``."""
    install: str | None = None
    """Shell line that installs the missing tools in the lab's folder.  It is shown to the user; this program never
    runs it."""

    @model_validator(mode="after")
    def _possible(self) -> ToolSettings:
        path = PurePosixPath(self.folder)
        if not path.parts or path.is_absolute() or ".." in path.parts:
            raise ValueError(f"folder: {self.folder!r} is not a folder inside the lab")
        if any(not each.strip() for need in self.all for each in need.split("|")):
            raise ValueError("needs and system: each entry, and each alternative in it, must name a program or a file")
        return self

    @property
    def all(self) -> tuple[str, ...]:
        """The entries of ``system``, followed by the entries of ``needs``."""
        return (*self.system, *self.needs)


class HookSettings(Frozen):
    """The user's own shell lines, which run before and after each experiment of `run` (docs/hooks.md)."""

    before: str | None = None
    """Shell line that runs before an agent is asked for a proposal; the agent gets the output."""
    after: str | None = None
    """Shell line that runs after each experiment; the agent that makes the next proposal gets the output."""

    @field_validator("before", "after")
    @classmethod
    def _said(cls, line: str | None) -> str | None:
        if line is not None and (not line.strip() or "\0" in line):
            raise ValueError("write a shell line, or leave it out")
        return line
