"""What the machine is doing just now: power, heat, memory, lid, display, who else uses the GPU.

Read without root, in some hundredths of a second, and softly: what the system does not tell is ``None``.
macOS answers through its own programs (:mod:`macos`), Linux through files (:mod:`linux`), an NVIDIA GPU
through ``nvidia-smi`` (:mod:`nvidia`).
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
    """Read the machine; ``gpu`` is the one that MLX uses, and only a CUDA one is asked for by name.

    ``run``, ``system`` and ``root`` let a recording speak for another machine.
    """
    if (system or platform.system()) == "Darwin":
        return macos.read(run)
    state = linux.read(root)
    return nvidia.added(state, run) if gpu == "cuda" else state
