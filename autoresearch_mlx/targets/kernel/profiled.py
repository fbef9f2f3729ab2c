"""Profile the script of a lab on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.hardware.profile import Profile as MachineProfile
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.lab.lab import SCRIPT
from autoresearch_mlx.targets.kernel.children import asked, surroundings
from autoresearch_mlx.targets.kernel.profile import Profile, profile_from
from autoresearch_mlx.targets.kernel.request import Mode, Request
from autoresearch_mlx.trial.sandbox.detect import NoSandbox, Sandbox

_SECONDS = 540.0
"""Longest time of a profile, in seconds."""


def script_of(root: Path, script: Path | None) -> Path:
    """Return the path of the script to profile, by default the lab's script.  Raises LabError if there is no such
    file."""
    found = (script if script is not None else root / SCRIPT).resolve()
    if not found.is_file():
        raise LabError(
            f"there is no script {found}", "use --script FILE to name a script that defines build_model and train"
        )
    return found


def sizes_of(settings: Settings, fit: MachineProfile, sizes: Mapping[str, int | None]) -> dict[str, int]:
    """Return ``vocab_size``, ``seq_len`` and ``rows``.  Each is the given value, else the lab's, else one that fits the
    machine."""
    return {
        "vocab_size": sizes.get("vocab_size") or _or(settings.data.vocab_size, fit.vocab_size),
        "seq_len": sizes.get("seq_len") or _or(settings.data.seq_len, fit.seq_len),
        "rows": sizes.get("rows") or 8,
    }


def profiled(
    script: Path,
    mode: Mode,
    machine: Machine,
    fit: MachineProfile,
    sandbox: Sandbox | NoSandbox,
    seed: int,
    sizes: Mapping[str, int],
) -> Profile:
    """Profile a script in a child process.  Raises LabError if the script cannot be run or traced."""
    request = Request(str(script), mode, fit.device, seed=seed, **sizes)
    around = surroundings(machine, fit.device, sandbox)
    measured = asked(around, "profile", request.to_json(), [script.parent], _SECONDS)
    return profile_from(measured, script.name, mode, fit.device, machine.chip or machine.arch)


def _or(value: int | str, automatic: int) -> int:
    return automatic if isinstance(value, str) else value
