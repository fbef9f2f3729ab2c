"""Start the two versions of the function, each in a process of its own, and call them.

A version is stopped while it is not called, with all processes that it has started, so it cannot slow down the other
version.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import perf_counter

from inputs import FILE, FUNCTION, ORIGINAL


class Version:
    """One version of the function."""

    def __init__(self, file):
        command = [sys.executable, "worker.py", str(file), FUNCTION]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
        )
        self.file = file
        atexit.register(self._signal, signal.SIGKILL)

    def call(self, arguments):
        """Return the result of one call, and its time in seconds."""
        line = json.dumps(arguments) + "\n"
        self._signal(signal.SIGCONT)
        began = perf_counter()
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        spent = perf_counter() - began
        if not answer:
            raise SystemExit(f"{self.file} ended with exit code {self.process.wait()} instead of an answer")
        self._signal(signal.SIGSTOP)
        return json.loads(answer), spent

    def close(self):
        self.process.stdin.close()
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number):
        """Send a signal to the version and all that it has started."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)


def both():
    """Return the first version and the edited one."""
    return Version(Path(ORIGINAL) / FILE), Version(FILE)


def compare(arguments, expected, found):
    """End with an error when the edited version returns something else."""
    if found != expected:
        shown = json.dumps(arguments)
        shown = shown if len(shown) <= 200 else f"{shown[:200]} ..."
        raise SystemExit(f"{FUNCTION}({shown[1:-1]}) is {found!r}, and the first version returns {expected!r}")
