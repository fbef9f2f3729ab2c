"""Run a module of ``inside/`` in a child process, which is confined if the system has a sandbox."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.hardware.blas import child_environment, find_blas
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.targets.corpus.prepare import default_cache
from autoresearch_mlx.trial.autopsy import how_it_ended
from autoresearch_mlx.trial.runner import Log, child_process_environment, python_command, run_child
from autoresearch_mlx.trial.sandbox.detect import NoSandbox, Sandbox
from autoresearch_mlx.trial.sandbox.permissions import (
    MOST_PROCESSES,
    Permissions,
    package,
    preloaded,
    private_tmp,
    python_paths,
    real,
    without_secrets,
)

INSIDE = "autoresearch_mlx.targets.kernel.inside"
_FILE_BYTES = 4 * 2**30


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a child process gets from this machine: the device, the environment variables and the sandbox."""

    device: str
    environment: Mapping[str, str]
    sandbox: Sandbox | None

    @property
    def gpu(self) -> bool:
        return self.device == "gpu"


def surroundings(machine: Machine, device: str, sandbox: Sandbox | NoSandbox) -> Surroundings:
    """Return the surroundings of child processes on this machine; on a Linux CPU, the environment loads a fast BLAS."""
    environment = child_environment(find_blas(default_cache(), machine)) if device == "cpu" else {}
    return Surroundings(device, environment, sandbox if isinstance(sandbox, Sandbox) else None)


def environment_of(around: Surroundings, folder: Path, added: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a child's environment, without keys and tokens, and with a private temporary folder."""
    plain = without_secrets(child_process_environment({**around.environment, **(added or {})}))
    return {**plain, **private_tmp(folder)}


def command_of(
    around: Surroundings, module: str, arguments: Sequence[str], read: Sequence[Path], folder: Path
) -> list[str]:
    """Return the command of a child that may read Python's packages and the paths ``read``, and write into
    ``folder``."""
    command = python_command("-m", f"{INSIDE}.{module}", *arguments)
    if around.sandbox is None:
        return command
    permissions = Permissions(
        read=real([*python_paths(), *preloaded(around.environment), *read]),
        write=real([folder]),
        listed=real([package().parent]),
        gpu=around.gpu,
        processes=1 if around.gpu else MOST_PROCESSES,
        file_bytes=_FILE_BYTES,
    )
    return around.sandbox.wrap(command, permissions)


def asked(around: Surroundings, module: str, request: str, read: Sequence[Path], seconds: float) -> Mapping[str, Any]:
    """Run a module of ``inside/`` with a request, and return the JSON object that the module writes.

    Raises LabError if the child fails, takes longer than ``seconds``, or reports an error.
    """
    with tempfile.TemporaryDirectory(prefix="autoresearch-kernel-") as made:
        folder = Path(made).resolve()
        (folder / "request.json").write_text(request, encoding="utf-8")
        result = folder / "result.json"
        ends = time.monotonic() + seconds
        with Log(folder / "log.txt") as log:
            ended = run_child(
                command_of(around, module, [str(folder / "request.json"), str(result)], read, folder),
                cwd=folder,
                environment=environment_of(around, folder),
                log=log,
                allowed=lambda: None if time.monotonic() < ends else f"took longer than {seconds:g} s; killed",
            )
        if ended.killed is not None or ended.returncode != 0 or not result.exists():
            raise LabError(ended.killed or how_it_ended(ended.returncode, folder / "log.txt"))
        found: Mapping[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    if "failed" in found:
        raise LabError(str(found["failed"]), "correct the script, then try again")
    return found
