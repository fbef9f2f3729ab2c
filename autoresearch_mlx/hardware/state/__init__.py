"""Read what the machine is doing now: power, heat, memory, lid, display, other users of the GPU.

A reading takes a few hundredths of a second and needs no root; a fact that the system does not report is None.  The
facts come from macOS's own programs (:mod:`macos`), from files on Linux (:mod:`linux`), and from ``nvidia-smi`` for an
NVIDIA GPU (:mod:`nvidia`).  :mod:`advice` puts a reading into sentences for a person.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Literal

from autoresearch_mlx.hardware.state import linux, macos, nvidia
from autoresearch_mlx.hardware.state.commands import Run, run_together
from autoresearch_mlx.hardware.state.reading import LEVELS, Others, State, Thermal

__all__ = ["LEVELS", "Others", "State", "Thermal", "read_state"]


def read_state(
    gpu: Literal["metal", "cuda"] | None = None, run: Run = run_together, system: str = "", root: Path = Path("/")
) -> State:
    """Read the machine's state; ``gpu`` is the kind of GPU that MLX uses.

    ``run``, ``system`` and ``root`` let a test read a recording of another machine.
    """
    if (system or platform.system()) == "Darwin":
        return macos.read(run)
    state = linux.read(root)
    return nvidia.added(state, run) if gpu == "cuda" else state
