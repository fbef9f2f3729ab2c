"""Run commands in forks of one process that has imported the command line, for tests that run hundreds of them.

Each command is a process of its own, with its own directory, environment, output and exit code.  It takes a few
milliseconds, while a new interpreter takes up to a second for the imports and, with ``--cov``, the start of coverage.
What ``python -m autoresearch_mlx`` itself does is tested by tests that start it, as in tests/cli/test_command_line.py.

    python forked_command.py DESCRIPTOR      serve requests from a socket until it is closed
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, cast

LARGEST_REQUEST = 2**20
IMPORTED_LATE = (
    "encodings.utf_8_sig",
    "git",
    "h11",
    "httpcore2",
    "httpx2",
    "jinja2",
    "jsonschema",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "matplotlib.patheffects",
    "numpy.random",
    "openai",
    "starlette.applications",
    "truststore",
    "uvicorn",
)
"""Modules that a command imports when it needs them, which takes a tenth of a second and more (openai: 0.8 s)."""


class Started:
    """A running command, with those parts of :class:`subprocess.Popen` that tests use.

    ``stdout`` and ``stderr`` are None if the command writes into files that the caller opened.
    """

    def __init__(self, arguments: Sequence[str], pid: int, status: int, out: int | None, err: int | None) -> None:
        """Open the descriptors of a command's exit code (``status``), output (``out``) and errors (``err``)."""
        self.args, self.pid, self.returncode = arguments, pid, cast("int | None", None)
        self._status = os.fdopen(status, "rb", buffering=0)
        self.stdout, self.stderr = (None if fd is None else os.fdopen(fd, encoding="utf-8") for fd in (out, err))
        self._said: dict[str, str] = {}
        self._readers: list[threading.Thread] = []

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, which is minus the signal's number if a signal killed it.  Raises TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self.returncode = int.from_bytes(self._status.read(4), "big", signed=True)
            self._status.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Return the rest of the command's output, and wait for its end.  Raises TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        if not self._readers:
            self._readers = [threading.Thread(target=self._read, args=(n,), daemon=True) for n in ("stdout", "stderr")]
            for reader in self._readers:
                reader.start()
        for reader in self._readers:
            reader.join(None if end is None else max(0.0, end - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self.wait(None if end is None else max(0.0, end - time.monotonic()))
        return self._said["stdout"], self._said["stderr"]

    def _read(self, name: str) -> None:
        stream = getattr(self, name)
        self._said[name] = "" if stream is None or stream.closed else stream.read()
        if stream is not None:
            stream.close()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Launcher:
    """A launcher of commands; its server, the process that is forked, starts with the first command."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None
        self.counting: str | None = None
        """COVERAGE_PROCESS_CONFIG for the server if a test without that variable starts the server.  Commands of later
        tests can be counted only if the server counts, too."""

    def start(
        self,
        arguments: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        out: int | None = None,
        err: int | None = None,
        before: Sequence[str] = (),
    ) -> Started:
        """Start a command in a session of its own, which Ctrl-C can interrupt, with nothing to read on stdin.

        ``out`` and ``err`` are descriptors to write to; None means a pipe, whose text is in the result.  ``before``
        names a Python file and further words; the file's function ``install`` is called with these words right before
        the command begins.
        """
        wanted: dict[str, Any] = {"arguments": list(arguments), "cwd": str(cwd), "environment": dict(environment)}
        wanted["before"] = list(before)
        asked = json.dumps(wanted).encode()
        told, tells = os.pipe()
        (read_out, out), (read_err, err) = ((None, fd) if fd is not None else os.pipe() for fd in (out, err))
        with self._lock:
            requests = self._requests or self._start()
            socket.send_fds(requests, [len(asked).to_bytes(4, "big") + asked], [out, err, tells])
            pid = int.from_bytes(_exactly(lambda size: os.read(told, size), 4), "big")
        for descriptor in (tells, *(() if read_out is None else (out,)), *(() if read_err is None else (err,))):
            os.close(descriptor)
        return Started(arguments, pid, told, read_out, read_err)

    def run(
        self,
        arguments: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        seconds: float,
        before: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Return the command's output and its exit code.  Raises TimeoutExpired once it has been killed."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            command = self.start(arguments, cwd, environment, out.fileno(), err.fileno(), before)
            try:
                code = command.wait(seconds)
            except subprocess.TimeoutExpired:
                command.kill()
                command.wait()
                raise
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
        counting = {} if self.counting is None else {"COVERAGE_PROCESS_CONFIG": self.counting}
        self._server = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **counting, "OPENBLAS_NUM_THREADS": "1"},  # a process with one thread is forked sooner
        )
        theirs.close()
        self._requests = ours
        return ours


@cache
def launcher() -> Launcher:
    """Return the launcher of this process; the end of the test session closes it."""
    return Launcher()


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = read(size - len(found))
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
    for library in IMPORTED_LATE:
        importlib.import_module(library)
    gc.collect()
    gc.freeze()  # objects that no garbage collection visits are not copied into the forks
    woken, wakes = socket.socketpair()
    for end in (woken, wakes):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([requests, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            _tell_ends(running)
        if requests in ready:
            head, descriptors, _, _ = socket.recv_fds(requests, LARGEST_REQUEST, 3)
            if not head:
                return
            size = int.from_bytes(head[:4], "big")
            asked = json.loads(head[4:] + _exactly(requests.recv, size - len(head[4:])))
            out, err, tells = descriptors
            child = os.fork()
            if child == 0:
                for each in (requests, woken, wakes):
                    each.close()
                for descriptor in (tells, *running.values()):
                    os.close(descriptor)
                _become(out, err, **asked)
            running[child] = tells
            os.close(out)
            os.close(err)
            os.write(tells, child.to_bytes(4, "big"))


def _tell_ends(running: dict[int, int]) -> None:
    """Send the exit code of each command that has ended."""
    while running:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        tells = running.pop(child)
        with suppress(BrokenPipeError):  # nobody waits for it any more
            os.write(tells, os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
        os.close(tells)


def _become(
    out: int, err: int, arguments: list[str], cwd: str, environment: dict[str, str], before: list[str]
) -> NoReturn:
    """Run the command in this process until it ends."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
    os.setsid()
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
    # The streams of the process that was forked still believe that they are its files, which could seek.
    sys.stdout = open(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False)  # noqa: SIM115
    sys.argv, sys.path[0] = ["autoresearch-mlx", *arguments], cwd
    from autoresearch_mlx.cli import main

    code = 0
    try:
        if before:
            runpy.run_path(before[0])["install"](*before[1:])
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
