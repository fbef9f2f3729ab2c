"""Keep a Dask process running: the scheduler for `fleet start`, the nanny with its worker for `fleet join`."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.trial.runner import python_command

PORT = 8786
"""Dask's usual port for a scheduler."""
_AGAIN_SECONDS, _LOOK_SECONDS = 2.0, 0.2
_LAST_SECONDS = 10.0


def own_address() -> str:
    """Return this machine's address on the network, or 127.0.0.1 without a network; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation: only the route is looked up
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def refuse_port(host: str, port: int) -> None:
    """Raise LabError if nothing can listen at this address; wait first if a scheduler that is ending still uses it."""
    end = time.monotonic() + _LAST_SECONDS
    while True:
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind((host, port))
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                hint = "`--port N` chooses another port, and `--host ADDRESS` another address of this machine"
                raise LabError(f"nothing can listen at {host}, port {port}: {error.strerror}", hint) from None
            time.sleep(_LOOK_SECONDS)


def free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
        tried.bind((host, 0))
        return int(tried.getsockname()[1])


def engine(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of ``engine/``."""
    return python_command("-m", f"autoresearch_mlx.fleet.engine.{module}", *arguments)


def kept_running(command: Sequence[str], told: Callable[[dict[str, Any]], bool], lost: Callable[[str], None]) -> None:
    """Run a command, and run it again each time that it ends; return when ``told`` returns True.

    ``told`` is called with each JSON line that the process prints.  ``lost`` is called with the reason each time that
    the process ends by itself.  The process reads a pipe from this process, so it ends when this process ends.
    """
    while True:
        with tempfile.TemporaryFile("w+", errors="replace") as errors:  # a pipe would fill with Dask's messages
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
                text=True,
            )
            assert process.stdout is not None and process.stdin is not None
            try:
                for line in process.stdout:
                    if line.startswith("{") and told(json.loads(line)):
                        return
                code = process.wait()
                errors.seek(0)
                lost(words_of_death(errors.read(), code))
            finally:
                process.stdin.close()
                try:
                    process.wait(_LAST_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        time.sleep(_AGAIN_SECONDS)


def words_of_death(said: str, code: int) -> str:
    """Return why a process ended: the signal that killed it, or the last line of its output.

    Dask's routine messages (INFO) are ignored.  Without any other output, the exit code is returned.
    """
    if code < 0:
        return (
            f"killed by {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"killed by signal {-code}"
        )
    lines = [line for line in said.splitlines() if line.strip() and " - INFO - " not in line]
    return lines[-1].strip() if lines else f"exit code {code}"
