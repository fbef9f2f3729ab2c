"""What ``nvidia-smi`` adds: heat, power and users of the GPU that MLX's CUDA half runs on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from autoresearch_mlx.hardware.state.commands import Run
from autoresearch_mlx.hardware.state.values import LEVELS, Others, State, Thermal

_FORMAT = "--format=csv,noheader,nounits"
_FIELDS = "temperature.gpu,power.draw,utilization.gpu,clocks_throttle_reasons.sw_thermal_slowdown"
COMMANDS = {
    "gpu": ("nvidia-smi", "-i", "0", f"--query-gpu={_FIELDS},clocks_throttle_reasons.hw_thermal_slowdown", _FORMAT),
    "users": ("nvidia-smi", "-i", "0", "--query-compute-apps=pid,process_name", _FORMAT),
}
"""The first GPU: MLX takes that one."""


def added(state: State, run: Run) -> State:
    """The same with what the GPU says; its heat counts where it is the higher one."""
    said = {"gpu": "", "users": ""} | dict(run(COMMANDS))
    celsius, watts, busy, *throttled = [*_cells(said["gpu"]), *["", "", ""]][:5]
    if not said["gpu"].strip():
        return state
    heat: Thermal = "heavy" if "Active" in throttled else "nominal"
    degrees = [each for each in (state.temperature_c, _figure(celsius)) if each is not None]
    return replace(
        state,
        temperature_c=max(degrees, default=None),
        thermal=max((state.thermal or heat, heat), key=LEVELS.index),
        gpu_watts=_figure(watts),
        gpu=Others(users(said["users"]), _figure(busy)),
    )


def users(text: str) -> tuple[str, ...]:
    """Lines ``4711, /usr/bin/python3``."""
    rows = [_cells(line) for line in text.splitlines()]
    return tuple(
        f"{PurePosixPath(row[1]).name} (process {row[0]})" for row in rows if len(row) > 1 and row[0].isdigit()
    )


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().split(",")]


def _figure(cell: str) -> float | None:
    """None for ``[N/A]`` and the like."""
    try:
        return float(cell)
    except ValueError:
        return None
