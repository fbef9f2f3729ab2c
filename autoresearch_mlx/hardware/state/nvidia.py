"""Add what ``nvidia-smi`` reports about the GPU that MLX uses: heat, power, load and the programs that use the GPU."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import PurePosixPath

from autoresearch_mlx.hardware.state.commands import Run
from autoresearch_mlx.hardware.state.reading import LEVELS, Others, State, Thermal

_FORMAT = "--format=csv,noheader,nounits"
_FIELDS = "temperature.gpu,power.draw,utilization.gpu"
_HELD_BACK = "clocks_throttle_reasons.sw_thermal_slowdown,clocks_throttle_reasons.hw_thermal_slowdown"

_LEVEL: dict[str, Thermal] = {"Active": "heavy", "Not Active": "nominal"}


def commands(visible: str) -> dict[str, tuple[str, ...]]:
    """Return the commands that report on the GPU that MLX uses: the first in ``visible`` (CUDA_VISIBLE_DEVICES)."""
    asked = ("nvidia-smi", "-i", visible.split(",")[0].strip() or "0", _FORMAT)
    return {
        "gpu": (*asked, f"--query-gpu={_FIELDS},{_HELD_BACK}"),
        "users": (*asked, "--query-compute-apps=pid,process_name"),
    }


def added(state: State, run: Run) -> State:
    """Return the state with the GPU's facts added.

    For temperature and for thermal pressure, the higher value of GPU and processor is used.
    """
    said = {"gpu": "", "users": ""} | dict(run(commands(os.environ.get("CUDA_VISIBLE_DEVICES", ""))))
    cells = _cells(said["gpu"])
    if len(cells) != len([*_FIELDS.split(","), *_HELD_BACK.split(",")]):
        return state
    celsius, watts, busy, *held_back = cells
    levels = [level for level in (state.thermal, *map(_LEVEL.get, held_back)) if level is not None]
    degrees = [each for each in (state.temperature_c, _figure(celsius)) if each is not None]
    return replace(
        state,
        temperature_c=max(degrees, default=None),
        thermal=max(levels, key=LEVELS.index, default=None),
        gpu_watts=_figure(watts),
        gpu=Others(users(said["users"]), _figure(busy)),
    )


def users(text: str) -> tuple[str, ...]:
    """Return the programs that use the GPU, such as ``python3 (process 4711)``, from ``4711, /usr/bin/python3``."""
    rows = [_cells(line) for line in text.splitlines()]
    return tuple(
        f"{PurePosixPath(row[1]).name} (process {row[0]})" for row in rows if len(row) > 1 and row[0].isdigit()
    )


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().split(",")]


def _figure(cell: str) -> float | None:
    """Return the cell as a number; None for a cell without a number, such as ``[N/A]``."""
    try:
        return float(cell)
    except ValueError:
        return None
