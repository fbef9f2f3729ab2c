"""Define the errors that can stop the tool, as a tree of classes.

    AutoresearchError           base class; ``hint`` names the next step
      ConfigError               lab.toml or an option has a value that cannot be used
        UnconfinedError         a sandbox is required, and there is none
      LabError                  there is no lab here, or the lab's files do not fit together
        WorkspaceError          git refuses, or somebody else moved the session's branch
        LedgerError             the ledger cannot be read or written
        LockedError             another process uses this session, or measures on this machine
      CorpusError               the text cannot be fetched or turned into rows
      AgentError                the agent cannot be loaded or cannot go on
        AgentAway               the agent has no proposal now and can be asked again later
        AgentWaits              the agent's next proposal does not fit the files now, but may fit later
        EndpointError           a call to a model's server failed; ``kind`` says how
      TableError                a reference table or an imported log is malformed

A fault in an edited script or in a model's answer raises no error: the experiment gets a status
with a reason (see :mod:`autoresearch_mlx.experiment`).  Only the command line turns these errors
into text:

    try:
        ...
    except AutoresearchError as error:
        print(error, error.hint)
"""

from __future__ import annotations

import errno
from typing import Literal, TypeAlias


class AutoresearchError(Exception):
    """Base class of the errors that stop a command; ``hint`` names the next step."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(AutoresearchError):
    """A setting that cannot be used."""


class UnconfinedError(ConfigError):
    """A sandbox is required, and there is none."""

    def __init__(self, why: str, hint: str) -> None:
        super().__init__(f"a sandbox is required, and there is none: {why}", hint)
        self.why = why
        """Why there is no sandbox."""


class LabError(AutoresearchError):
    """The directory is not a lab, or the lab's files do not fit together."""


class WorkspaceError(LabError):
    """Git refused, or the session's branch was moved by somebody else."""


class LedgerError(LabError):
    """The ledger cannot be read or written."""


class LockedError(LabError):
    """Another live process uses this session, or measures on this machine."""


class CorpusError(AutoresearchError):
    """The text cannot be fetched, read or packed into rows."""


class AgentError(AutoresearchError):
    """The agent cannot be loaded, or has nothing left to propose."""


class AgentAway(AgentError):
    """The agent has no proposal now, because of a limit or an outage; the run waits and asks the agent again."""

    def __init__(self, message: str, hint: str = "", seconds: float | None = None) -> None:
        super().__init__(message, hint)
        self.seconds = seconds
        """Seconds until the agent should be asked again; None means unknown."""


class AgentWaits(AgentError):
    """The agent's next proposal does not fit the files now, but may fit when the running experiments have ended."""


EndpointKind: TypeAlias = Literal["unreachable", "busy", "hung", "dropped", "garbled", "refused", "overflow"]
"""The ways in which a call to a model's server can fail.

unreachable  nothing listens at the address, or the server that this tool started did not come up
busy         429, 503, a full queue, a model that is still loading
hung         the deadline of the call passed
dropped      the connection broke in the middle of the answer
garbled      the answer cannot be used: it is not JSON, or it is an error sent with a status of success
refused      the server rejected the model, the key or the request (4xx); asking again changes nothing
overflow     the prompt is longer than the context, or the server read only a part of the prompt
"""


class EndpointError(AgentError):
    """A call to a model's server failed.  ``partial`` holds the text that arrived before the failure."""

    def __init__(
        self,
        kind: EndpointKind,
        message: str,
        hint: str = "",
        retry_after: float | None = None,
        partial: str = "",
        context_tokens: int | None = None,
        prompt_tokens: int | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.kind = kind
        self.retry_after = retry_after
        """Seconds that the server asks its clients to wait; None when it names no time."""
        self.partial = partial
        self.context_tokens = context_tokens
        """Context length in tokens that the server named, for an ``overflow``; None when it named no length."""
        self.prompt_tokens = prompt_tokens
        """Length of the prompt in tokens that the server counted, for an ``overflow``; None when it named no length."""


class TableError(AutoresearchError):
    """A reference table or an imported log is malformed."""


READ_ONLY = (
    "the file system is read-only, perhaps because this is a coding agent's sandbox; "
    "`autoresearch-mlx drive AGENT` measures outside the sandbox"
)
"""Hint for a file system that is read-only."""
_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_RIGHTS = frozenset({errno.EACCES, errno.EPERM})


def refused_by_disk(error: OSError) -> LabError | None:
    """Turn the error of a disk that is full, failing or not writable into a LabError with a remedy.

    Returns None for any other error.
    """
    said = f"{error.filename}: {error.strerror}" if error.filename else f"{error.strerror}"
    if error.errno in _SPACE:
        return LabError(said, "free some space, then run the command again; nothing that was measured is lost")
    if error.errno == errno.EROFS:
        return LabError(said, READ_ONLY)
    if error.errno in _RIGHTS:
        return LabError(said, "correct the permissions of that file or its folder, then run again")
    if error.errno == errno.EIO:
        return LabError(said, "the disk is failing: copy .autoresearch and .git elsewhere before anything else")
    return None
