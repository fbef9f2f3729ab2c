"""What can stop the tool, as one tree.

    AutoresearchError           base; carries a hint, the next thing to do
      ConfigError               lab.toml or an option says something that cannot be
      LabError                  no lab here, or its files do not fit together
        WorkspaceError          git refuses, or somebody else moved the session's branch
        LedgerError             the journal cannot be read or written
        LockedError             another process works on this session
      CorpusError               the text cannot be turned into rows
      AgentError                the agent cannot be loaded or cannot go on
      TableError                a reference table or an imported log is malformed

What an edited script or a model does wrong is no exception: it is a status with a reason
(see :mod:`autoresearch_mlx.experiment`).  Only the command line turns these into text:

    try:
        ...
    except AutoresearchError as error:
        print(error, error.hint)
"""

from __future__ import annotations


class AutoresearchError(Exception):
    """A fact that stops the command; ``hint`` names the next step."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(AutoresearchError):
    """A setting that cannot be used."""


class LabError(AutoresearchError):
    """The directory is no lab, or its files do not fit together."""


class WorkspaceError(LabError):
    """Git refused, or the session's branch was moved by somebody else."""


class LedgerError(LabError):
    """The journal cannot be read or written."""


class LockedError(LabError):
    """Another live process works on this session."""


class CorpusError(AutoresearchError):
    """Text that cannot be fetched, read or packed."""


class AgentError(AutoresearchError):
    """The agent cannot be loaded, or has nothing left to propose."""


class TableError(AutoresearchError):
    """A reference table or an imported log is malformed."""
