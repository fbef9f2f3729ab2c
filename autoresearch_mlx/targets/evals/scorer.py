"""Talk to the scorer's process, which runs the user's own code: tools, checks, a scripted model."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from autoresearch_mlx.trial.orphans import WORKS_IN
from autoresearch_mlx.trial.runner import child_process_environment, python_command

_SECONDS = 20.0
"""Longest time in seconds of one check, tool call or scripted reply."""


class Scorer:
    """The scorer's process.  It starts with the first question, and starts again after a question without an answer."""

    def __init__(self, root: Path, tools: str, script: str | None, folder: Path) -> None:
        self._setup = {"root": str(root), "tools": tools or None, "model": script}
        self._root, self._folder = root, folder
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def ask(self, seconds: float = _SECONDS, **question: Any) -> Mapping[str, Any]:
        """Return the scorer's answer; after a failure, the answer's field ``error`` describes the failure.

        Threads that ask at the same time take turns.
        """
        with self._turn:
            try:
                process = self._running()
                assert process.stdin is not None
                process.stdin.write(json.dumps(question).encode() + b"\n")
                process.stdin.flush()
                line = self._line(process, seconds)
            except OSError as error:
                line, seconds = None, 0.0
                self._end()
                return {"error": f"the scorer's process ended: {error}"}
            if line is None:
                self._end()
                return {"error": f"no answer within {seconds:g} s, or the scorer's process ended"}
            found: Mapping[str, Any] = json.loads(line)
            return found

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            environment = child_process_environment({WORKS_IN: str(self._folder.resolve())})
            with (self._folder / "scorer.txt").open("ab") as log:
                self._process = subprocess.Popen(
                    python_command("-m", "autoresearch_mlx.targets.evals.inside.scorer", json.dumps(self._setup)),
                    cwd=self._root,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                )
            self._rest = b""
        return self._process

    def _line(self, process: subprocess.Popen[bytes], seconds: float) -> bytes | None:
        assert process.stdout is not None
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            left = end - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                return None
            if not (data := os.read(process.stdout.fileno(), 65536)):
                return None
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return line

    def _end(self) -> None:
        if (process := self._process) is None:
            return
        self._process = None
        process.kill()
        process.wait()
        pipes: tuple[IO[bytes] | None, ...] = (process.stdin, process.stdout)
        for pipe in pipes:
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def close(self) -> None:
        with self._turn:
            self._end()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
