"""Run ``mlx_lm.server`` as a child process that never outlives this program.

A server that runs on after a ``kill -9`` of its parent takes memory from the next session.  So the child runs this
module, whose standard input is a pipe from the parent.  When the parent ends, the pipe closes, and this module ends its
own process group.

    python -P -m autoresearch_mlx.models.mlx_child --model PATH --port 8080
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

LOG_LIMIT = 2**20
"""If a log is larger than this, in bytes, the next start of a server replaces the log."""
_GENTLE_SECONDS = 5.0
"""Seconds between SIGTERM and SIGKILL."""
_TAIL_BYTES = 65536


class Child:
    """One running server.  The server's output is appended to a log; :meth:`output` returns the server's own part."""

    def __init__(self, arguments: Sequence[str], log: Path | None) -> None:
        """Start the server on a free port of 127.0.0.1; without a log, the output is written to a temporary file.

        Raises OSError when the log cannot be written or the process cannot be started.
        """
        self.port = _free_port()
        self._log = _opened(log)
        self._began_at = self._log.seek(0, os.SEEK_END)
        command = [sys.executable, "-P", "-m", __name__, *arguments, "--host", "127.0.0.1", "--port", str(self.port)]
        try:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except BaseException:
            self._log.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self, within: float = 0.0) -> int | None:
        """Wait up to ``within`` seconds for the server to end, and return its exit status (negative for a signal).

        Returns None if the server is still running.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(within)
        return None

    def listens(self) -> bool:
        """Return whether the server's process listens on the port; another process may have taken the port first."""
        import psutil

        with contextlib.suppress(psutil.Error):
            sockets = psutil.Process(self.pid).net_connections("tcp4")
            return any(s.status == psutil.CONN_LISTEN and s.laddr.port == self.port for s in sockets)
        return False

    def output(self) -> str:
        """Return the last 64 KiB of the output since the server's start."""
        end = self._log.seek(0, os.SEEK_END)
        start = max(self._began_at, end - _TAIL_BYTES)
        return os.pread(self._log.fileno(), end - start, start).decode(errors="replace")

    def stop(self) -> float:
        """End the server's process group, wait until the process has ended, and return the seconds until then."""
        began = time.monotonic()
        if self.ended() is None:
            self._signal(signal.SIGTERM)
        if self.ended(_GENTLE_SECONDS) is None:
            self._signal(signal.SIGKILL)
            self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._log.close()
        return time.monotonic() - began

    def _signal(self, number: signal.Signals) -> None:
        # macOS raises PermissionError if only a zombie is left of the group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _opened(log: Path | None) -> IO[bytes]:
    if log is None:
        return tempfile.TemporaryFile()
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.unlink()
    return log.open("ab+")


def main() -> None:
    """Serve in the child process until SIGTERM, or until the parent has ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.argv[0] = "mlx_lm.server"
    from mlx_lm import server

    server.main()


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
