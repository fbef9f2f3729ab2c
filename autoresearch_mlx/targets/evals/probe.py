"""Test an agent's sandbox from inside: forbidden actions must fail, and allowed actions must work."""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoresearch_mlx.trial.runner import child_process_environment, python_command
from autoresearch_mlx.trial.sandbox.attempts import DENIED, WORKS
from autoresearch_mlx.trial.sandbox.detect import Sandbox
from autoresearch_mlx.trial.sandbox.permissions import (
    MOST_PROCESSES,
    Permissions,
    package,
    python_paths,
    real,
    without_secrets,
)

_SECONDS = 60.0


def sandbox_breach(sandbox: Sandbox, private: Sequence[Path]) -> str | None:
    """Return a sentence about the first action with a wrong outcome, or None if every outcome is right.

    An outcome is wrong if a forbidden action worked, or if an allowed action failed.

    ``private`` lists the cases and other paths that the agent may not open.
    """
    with (
        tempfile.TemporaryDirectory(prefix="autoresearch-") as name,
        socket.create_server(("127.0.0.1", 0)) as ours,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        open_, closed = ours.getsockname()[1], other.getsockname()[1]
        permissions = Permissions(
            read=real([*python_paths(), Path(name)]),
            closed=real(private),
            write=(),
            listed=real([package().parent]),
            processes=MOST_PROCESSES,
            ports=(open_,),
        )
        attempts: dict[str, list[Any]] = {
            "connect": [["127.0.0.1", open_], ["127.0.0.1", closed]],
            "read": [name, *(str(path) for path in private if path.exists())],
        }
        command = python_command("-m", "autoresearch_mlx.trial.sandbox.attempts", json.dumps(attempts))
        try:
            done = subprocess.run(
                sandbox.wrap(command, permissions),
                cwd=name,
                env=without_secrets(child_process_environment({})),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{sandbox.words} could not be tried: {error}"
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    found = {(what, json.dumps(of)): outcome for what, of, outcome in lines}
    for what, objects in attempts.items():
        for at, of in enumerate(objects):
            outcome = found.get((what, json.dumps(of)), (done.stderr.strip().splitlines() or ["no answer"])[-1])
            if outcome != (WORKS if at == 0 else DENIED):
                return f"{sandbox.words}: to {what} {of} was {'allowed' if outcome == WORKS else outcome}"
    return None
