"""Tell the person who is away: the system's own notification, or any command.

macOS is asked through ``osascript``, Linux through ``notify-send``; the words are arguments, never code.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence

DESKTOP = "desktop"
_SECONDS = 20.0


def send(how: str, title: str, text: str, more: Mapping[str, str] | None = None) -> str | None:
    """Have it told; what went wrong, in words, or None.

    ``how``: ``desktop``, or a shell line that gets title and text on its standard input and ``more`` in its
    environment.  Raises nothing: a notification that fails must not take the night with it.
    """
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


def desktop_command(system: str, title: str, text: str) -> Sequence[str]:
    """The command that shows a notification on macOS or on a Linux desktop."""
    if system != "Darwin":
        return ["notify-send", "--app-name", "autoresearch-mlx", "--", title, text]
    script = ["on run argv", "display notification (item 2 of argv) with title (item 1 of argv)", "end run"]
    return ["osascript", *(part for line in script for part in ("-e", line)), title, text]
