"""What can stop the tool, as one tree.

    AutoresearchError           base; carries a hint, the next thing to do
      ConfigError               lab.toml or an option says something that cannot be
      LabError                  no lab here, or its files do not fit together
        WorkspaceError          git refuses, or somebody else moved the session's branch
        LedgerError             the journal cannot be read or written
        LockedError             another process works on this session, or measures on this machine
      CorpusError               the text cannot be turned into rows
      AgentError                the agent cannot be loaded or cannot go on
        EndpointError           a model's server does not answer as it should; carries its kind
      TableError                a reference table or an imported log is malformed

What an edited script or a model does wrong is no exception: it is a status with a reason
(see :mod:`autoresearch_mlx.experiment`).  Only the command line turns these into text:

    try:
        ...
    except AutoresearchError as error:
        print(error, error.hint)
"""

from __future__ import annotations

import errno
from typing import Literal, TypeAlias


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
    """Another live process works on this session, or measures on this machine."""


class CorpusError(AutoresearchError):
    """Text that cannot be fetched, read or packed."""


class AgentError(AutoresearchError):
    """The agent cannot be loaded, or has nothing left to propose."""


EndpointKind: TypeAlias = Literal["unreachable", "busy", "hung", "dropped", "garbled", "refused", "overflow"]
"""How a call to a model's server failed.

unreachable  nobody listens, or the server's child would not start
busy         429, 503, a full queue, a model that is still loading
hung         the call's own deadline passed
dropped      the answer broke off in its middle
garbled      an answer that is none: no JSON, an error object inside a good status
refused      the server understood and said no: model, key, request (4xx); asking again changes nothing
overflow     the prompt is longer than the context, or was not read to its end
"""


class EndpointError(AgentError):
    """A call to a model's server failed.  ``partial``: what had come before it broke off."""

    def __init__(
        self, kind: EndpointKind, message: str, hint: str = "", retry_after: float | None = None, partial: str = ""
    ) -> None:
        super().__init__(message, hint)
        self.kind = kind
        self.retry_after = retry_after
        """Seconds that the server asks to wait, when it says so."""
        self.partial = partial


class TableError(AutoresearchError):
    """A reference table or an imported log is malformed."""


_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_RIGHTS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def refused_by_disk(error: OSError) -> LabError | None:
    """What a disk that is full, closed to us or broken means, with the remedy; None for any other error."""
    said = f"{error.filename}: {error.strerror}" if error.filename else f"{error.strerror}"
    if error.errno in _SPACE:
        return LabError(said, "free some space, then run again: nothing that was measured is lost")
    if error.errno in _RIGHTS:
        return LabError(said, "mend the rights of that file or its folder, then run again")
    if error.errno == errno.EIO:
        return LabError(said, "the disk fails: copy .autoresearch and .git elsewhere before anything else")
    return None
