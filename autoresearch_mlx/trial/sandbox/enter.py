"""Confine this process, then replace it with a command:

    python -P -m autoresearch_mlx.trial.sandbox.enter PERMISSIONS -- COMMAND...

PERMISSIONS is a Permissions object as JSON.  If the process cannot be confined, the command does not run.  Then one
line that begins with ``sandbox:`` goes to standard error, and the exit code is 71.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from typing import NoReturn

from autoresearch_mlx.trial.sandbox.permissions import Permissions, permissions_from_json

_AT_START = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
"""Environment variables that start the test tool coverage in every Python process; a confined command gets none.

Coverage writes a file at the end of a process.  A confined command may not write this file.  The error message would
then be the last line of the log, after the command's own last line.
"""
ENTER = "autoresearch_mlx.trial.sandbox.enter"
"""Name of this module, with which ``python -m`` starts it."""
EXIT_NO_SANDBOX = 71
"""Exit code if the process cannot be confined: EX_OSERR of sysexits.h, which sandbox-exec uses too."""


def main(arguments: Sequence[str]) -> NoReturn:
    text, dashes, *command = arguments
    if dashes != "--" or not command:
        raise SystemExit("usage: enter PERMISSIONS -- COMMAND...")
    permissions = permissions_from_json(text)
    try:
        limit(permissions)
        if sys.platform == "darwin":
            from autoresearch_mlx.trial.sandbox.seatbelt import confined

            command = confined(command, permissions)
        else:
            from autoresearch_mlx.trial.sandbox.linux_sandbox import confine

            confine(permissions)
        for name in _AT_START:
            os.environ.pop(name, None)
        os.execvp(command[0], command)
    except OSError as error:
        _refuse(f"{error.strerror or error} ({error.filename or command[0]})")


def limit(permissions: Permissions) -> None:
    """Set the kernel's limits for this process: file size, memory, no core dump.  Raises OSError.

    The limit on memory is RLIMIT_DATA, setrlimit(2), which counts private writable pages.  RLIMIT_AS would also count
    mapped files and libraries.
    """
    _set(resource.RLIMIT_CORE, 0)
    if permissions.file_bytes is not None:
        _set(resource.RLIMIT_FSIZE, permissions.file_bytes)
    if permissions.memory_bytes is not None and sys.platform == "linux":  # macOS does not count mapped memory
        _set(resource.RLIMIT_DATA, permissions.memory_bytes)


def _set(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (most, most))


def _refuse(why: str) -> NoReturn:
    print(f"sandbox: {why}", file=sys.stderr, flush=True)
    raise SystemExit(EXIT_NO_SANDBOX)


if __name__ == "__main__":
    main(sys.argv[1:])
