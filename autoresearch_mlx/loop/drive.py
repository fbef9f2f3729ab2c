"""Implement the command ``drive``: put a coding agent in charge of a lab, and measure for it outside its sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.detached import Promise
from autoresearch_mlx.store.desk import Answer, ask, is_served, serve, serving
from autoresearch_mlx.targets.registry import kind_of, with_defaults
from autoresearch_mlx.trial.runner import python_command

AT_DESK = "AUTORESEARCH_AT_DESK"
"""Environment variable of a command that was requested through the desk; it must not send a request itself."""
_DETACHED = ("try", "--detach", "--json")
_TICK_SECONDS = 0.1


def drive(lab: Lab, line: str | None, prompt: str, files: Sequence[str] = ()) -> int:
    """Run an agent's shell line in the lab's folder, with the prompt on standard input; return the line's exit code.

    ``files`` has the paths of the editable files, which the line can use as ``"$@"``.  While the line runs, this
    process carries out every ``try --detach`` that is requested in this lab.  Without a line, this process carries out
    requests until Ctrl-C.  Raises LabError if another process already carries out the requests of this lab.
    """
    lab.make_state()
    with serving(lab.state) as desk, tempfile.TemporaryFile() as told:
        if desk is None:
            raise LabError("another `autoresearch-mlx drive` works in this lab", "end it with Ctrl-C in its terminal")
        told.write(prompt.encode(errors="replace"))
        told.seek(0)
        agent = (
            None if line is None else subprocess.Popen(["/bin/sh", "-c", line, "sh", *files], cwd=lab.root, stdin=told)
        )
        try:
            while agent is None or agent.poll() is None:
                if not serve(desk, lambda arguments: _carried_out(lab, arguments)):
                    time.sleep(_TICK_SECONDS)
        except KeyboardInterrupt:
            if agent is not None:
                _end(agent)
            raise
        return agent.returncode


def _end(agent: subprocess.Popen[bytes]) -> None:
    """End the agent's shell and all its descendants; a detached measurement is no descendant, and goes on."""
    import psutil

    with suppress(psutil.Error):
        for process in psutil.Process(agent.pid).children(recursive=True):
            with suppress(psutil.Error):
                process.terminate()
    agent.terminate()
    agent.wait()


def editable_files(lab: Lab) -> list[str]:
    """Return the paths of the lab's editable files that exist now.  Raises ConfigError."""
    settings = load_settings(lab.root).settings
    patterns = with_defaults(settings, kind_of(settings, lab.root)).target.editable
    found = (path for pattern in patterns for path in lab.root.glob(pattern) if path.is_file())
    return sorted({path.relative_to(lab.root).as_posix() for path in found})


def _carried_out(lab: Lab, arguments: Sequence[str]) -> Answer:
    """Carry out a request for ``try --detach``, and refuse any other request."""
    if tuple(arguments[: len(_DETACHED)]) != _DETACHED:
        return Answer(2, "", "only `try --detach` is carried out here\n")
    done = subprocess.run(
        python_command("-m", "autoresearch_mlx", *arguments),
        cwd=lab.root,
        env={**os.environ, AT_DESK: "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def ask_driver(lab: Lab, arguments: Sequence[str], say: Callable[[str], None]) -> Promise | int | None:
    """Ask the process that runs ``drive`` for this lab to detach a ``try`` with these arguments.

    Returns the promise, or None when no process runs ``drive`` for this lab.  If the ``try`` is refused, its exit code
    is returned, and its error is passed to ``say``.  Raises OSError when the request cannot be written.
    """
    if AT_DESK in os.environ or not is_served(lab.state):
        return None
    answer = ask(lab.state, [*_DETACHED, *arguments[1:]])
    if answer is None:
        return None
    if answer.error:
        say(answer.error.rstrip("\n"))
    return (
        Promise(**{k: v for k, v in json.loads(answer.out).items() if k != "wait"}) if answer.out else answer.exit_code
    )
