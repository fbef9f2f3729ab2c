"""How fast the machine is just now: a short matrix product in a child of ours, around a run of some minutes."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from typing import Literal

FRESH_SECONDS = 15.0
"""A probe that is no older counts again: the end of one run is the beginning of the next."""
_SECONDS = 0.2
_LIMIT_SECONDS = 30.0
_SIZES = {"cpu": ("512", "float32"), "gpu": ("2048", "bfloat16")}


class Speed:
    """Probes in the environment that training gets.  Where one fails none is tried again: it would cost every run."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self._command, self._environment = command, environment
        self._last: tuple[float, float] | None = None
        self._broken = False

    def probe(self, fresh: float = 0.0) -> float | None:
        """GFLOP/s, measured now or at most ``fresh`` seconds ago; None where it cannot be measured."""
        if self._last is not None and time.monotonic() - self._last[0] <= fresh:
            return self._last[1]
        if self._broken:
            return None
        found = self._measure()
        self._broken = found is None
        self._last = None if found is None else (time.monotonic(), found)
        return found

    def _measure(self) -> float | None:
        try:
            done = subprocess.run(
                self._command,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_LIMIT_SECONDS,
                check=True,
            )
            return float(json.loads(done.stdout)["gflops"])
        except (OSError, ValueError, LookupError, TypeError, subprocess.SubprocessError):
            return None


def probe_arguments(device: Literal["cpu", "gpu"]) -> list[str]:
    """What the trusted interpreter runs: about a fifth of a second beyond its start."""
    size, dtype = _SIZES[device]
    return ["-m", "autoresearch_mlx.hardware.gflops", "--size", size, "--dtype", dtype, "--seconds", str(_SECONDS)]
