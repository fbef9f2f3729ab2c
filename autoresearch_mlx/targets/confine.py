"""Confine runs: choose their limits and their sandbox, and test the sandbox before the first run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from autoresearch_mlx.errors import UnconfinedError
from autoresearch_mlx.experiment import Target
from autoresearch_mlx.hardware.profile import Profile
from autoresearch_mlx.lab.config import SandboxSettings, Settings
from autoresearch_mlx.targets.contract import Confinable, Finding, Say
from autoresearch_mlx.trial.sandbox.detect import NoSandbox, Sandbox, find_sandbox
from autoresearch_mlx.trial.sandbox.limits import Limits

GB = 10**9
T = TypeVar("T", bound=Target)

_WARNING = """\
WARNING: no sandbox: {why}.
WARNING: code that an agent writes runs with your rights: it can read held-out rows and your files, and use the
WARNING: network. Each measurement is recorded with `sandbox: none`; with --require-sandbox, nothing runs."""
_HINT = "see docs/sandbox.md; without --require-sandbox and sandbox.require, `run` continues without a sandbox"


def sandbox_of(settings: Settings) -> Sandbox | NoSandbox:
    """Return the sandbox of this system, unless the settings switch it off."""
    return find_sandbox() if settings.sandbox.enabled == "auto" else NoSandbox("switched off by sandbox.enabled")


def in_the_record(found: Sandbox | NoSandbox) -> str:
    """Return the words with which a measurement's record describes the sandbox."""
    return found.words if isinstance(found, Sandbox) else f"none ({found.words})"


def limits_of(settings: Settings, profile: Profile) -> Limits:
    """Return the limits of one run on this machine, in bytes.

    Without a limit in lab.toml, each lane may use an equal part of the memory.
    """

    def settled(wanted: float | str, automatic: int | None) -> int | None:
        return int(wanted * GB) if isinstance(wanted, float | int) else automatic

    wanted, most = settings.limits, profile.run_memory_bytes
    shared = None if most is None else most // settings.run.lanes
    return Limits(
        memory_bytes=settled(wanted.memory_gb, shared),
        folder_bytes=settled(wanted.folder_gb, profile.run_folder_bytes),
        free_bytes=settled(wanted.free_disk_gb, profile.free_disk_bytes),
    )


def limits_row(limits: Limits) -> Finding:
    """Return the line of `doctor` that shows the limits."""
    said = []
    if (memory := limits.memory_bytes) is not None:
        # Messages give a machine's memory in GB of 2**30 bytes; lab.toml counts in GB of 1000 MB.
        said.append(f"{memory / 2**30:.1f} GB of memory (memory_gb = {memory / GB:.1f} in lab.toml)")
    if limits.folder_bytes is not None:
        said.append(f"{limits.folder_bytes / GB:.1f} GB written into its folder")
    if limits.free_bytes is not None:
        said.append(f"{limits.free_bytes / GB:.1f} GB of disk must stay free")
    return Finding("sandbox", "a run may use", ", ".join(said))


def confine(target: T, settings: SandboxSettings, private: Sequence[Path], say: Say) -> T:
    """Test the sandbox and return the target; if the test fails, warn and return the target without a sandbox.

    ``private`` lists the ledger and other paths that no run may open.  The test takes about 0.3 s.  A target of a kind
    that never uses a sandbox is returned unchanged.  Raises UnconfinedError if the settings require a sandbox but no
    sandbox would confine the runs.
    """
    if not isinstance(target, Confinable):
        if settings.require:
            why = f"a target of the kind {target.name} runs without a sandbox"
            raise UnconfinedError(
                why, "leave out --require-sandbox and sandbox.require, or confine the program yourself"
            )
        return target
    why = target.unconfined_because(private)
    if why is None:
        return target
    if settings.require:
        raise UnconfinedError(why, _HINT)
    say(_WARNING.format(why=why))
    return target.without_sandbox(why)
