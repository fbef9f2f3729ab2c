"""Run commands in forks of one process that has imported the command line, for tests that run hundreds of them.

Each command is a process of its own, with its own directory, environment, output and exit code.  It takes a few
milliseconds, while a new interpreter takes up to a second for the imports and, with ``--cov``, the start of coverage.
What ``python -m autoresearch_mlx`` itself does is tested by tests that start it, as in tests/cli/test_command_line.py.

    python forked_command.py DESCRIPTOR      serve requests from a socket until it is closed
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from functools import cache
from pathlib import Path

LARGEST_REQUEST = 2**20


class Launcher:
    """Runs commands one at a time; the process that is forked starts with the first one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def run(
        self, arguments: tuple[str, ...], cwd: Path, environment: Mapping[str, str], seconds: float
    ) -> subprocess.CompletedProcess[str]:
        """Return the command's output and its exit code, which is minus the signal's number if a signal killed it."""
        with self._lock, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            requests = self._requests or self._start()
            asked = json.dumps({"arguments": arguments, "cwd": str(cwd), "environment": dict(environment)}).encode()
            socket.send_fds(requests, [len(asked).to_bytes(4, "big") + asked], [out.fileno(), err.fileno()])
            child = int.from_bytes(_exactly(requests, 4), "big")
            requests.settimeout(seconds)
            try:
                code = int.from_bytes(_exactly(requests, 4), "big", signed=True)
            except TimeoutError:
                os.kill(child, signal.SIGKILL)
                requests.settimeout(None)
                _exactly(requests, 4)
                raise subprocess.TimeoutExpired(arguments, seconds) from None
            finally:
                requests.settimeout(None)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(arguments, code, out.read().decode(), err.read().decode())

    def close(self) -> None:
        """End the server, and wait until it has written its counts for coverage."""
        if self._requests is not None and self._server is not None:
            self._requests.close()
            self._server.wait()
            self._requests = self._server = None

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        command = [sys.executable, __file__, str(theirs.fileno())]
        self._server = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._requests = ours
        return ours


@cache
def launcher() -> Launcher:
    """Return the launcher of this process; the end of the test session closes it."""
    return Launcher()


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            raise ConnectionError("the process that is forked has ended")
        found += more
    return found


def serve(requests: socket.socket) -> None:
    """Fork for each request until the other end is closed.  Send the process id at once, the exit code at the end."""
    import autoresearch_mlx

    for module in pkgutil.walk_packages(autoresearch_mlx.__path__, f"{autoresearch_mlx.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    while True:
        head, descriptors, _, _ = socket.recv_fds(requests, LARGEST_REQUEST, 2)
        if not head:
            return
        size = int.from_bytes(head[:4], "big")
        asked = json.loads(head[4:] + _exactly(requests, size - len(head[4:])))
        child = os.fork()
        if child == 0:
            requests.close()
            _become(asked["arguments"], asked["cwd"], asked["environment"], *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        requests.sendall(child.to_bytes(4, "big"))
        _, status = os.waitpid(child, 0)
        requests.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))


def _become(arguments: list[str], cwd: str, environment: dict[str, str], out: int, err: int) -> None:
    """Run the command in this process until it ends."""
    counting = None
    if "coverage" in sys.modules:
        counting = sys.modules["coverage"].Coverage.current()
    if counting is not None and "COVERAGE_PROCESS_CONFIG" not in environment:
        counting.stop()
        counting = None
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    sys.argv, sys.path[0] = ["autoresearch-mlx", *arguments], cwd
    from autoresearch_mlx.cli import main

    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    sys.stdout.flush()
    sys.stderr.flush()
    if counting is not None:
        counting.stop()
        counting.save()
    os._exit(code)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        serve(connection)
