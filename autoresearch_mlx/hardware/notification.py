"""Notify a user who is away, by a desktop notification or by any command.

On macOS ``osascript`` shows the notification, on Linux ``notify-send``.  Title and text are passed as arguments, never
as code.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence

DESKTOP = "desktop"
_SECONDS = 20.0


def send(how: str, title: str, text: str, more: Mapping[str, str] | None = None) -> str | None:
    """Send a notification; return None, or a description of what went wrong.

    ``how`` is ``desktop`` or a shell command.  The shell command gets title and text on its standard input, and the
    variables in ``more`` in its environment.  Raises nothing, because a failed notification must not end the night.
    """
    if (why := missing(how)) is not None:
        return why
    try:
        command = desktop_command(platform.system(), title, text) if how == DESKTOP else ["/bin/sh", "-c", how]
        done = subprocess.run(
            command,
            input=f"{title}\n{text}\n".encode(errors="replace"),
            env={**os.environ, **(more or {})},
            capture_output=True,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {_SECONDS:g} s"
    except (OSError, ValueError) as error:
        return str(error)
    last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
    return None if done.returncode == 0 else " ".join([f"ended with {done.returncode}", *last])


def missing(how: str) -> str | None:
    """Return why this machine cannot show a desktop notification; None if it can, or if ``how`` is a shell command."""
    program = desktop_command(platform.system(), "", "")[0]
    return f"{program} is not installed" if how == DESKTOP and shutil.which(program) is None else None


def desktop_command(system: str, title: str, text: str) -> Sequence[str]:
    """Return the command that shows a notification on macOS or on a Linux desktop."""
    if system != "Darwin":
        return ["notify-send", "--app-name", "autoresearch-mlx", "--", title, text]
    script = ["on run argv", "display notification (item 2 of argv) with title (item 1 of argv)", "end run"]
    return ["osascript", *(part for line in script for part in ("-e", line)), title, text]
