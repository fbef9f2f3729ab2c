"""Measure the machine's speed before and after a run, by a short matrix product in a child process."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from typing import Literal

FRESH_SECONDS = 15.0
"""Age in seconds up to which a probe is used again: the probe after one run also serves as the probe before the next
run."""
_SECONDS = 0.2
"""Seconds of multiplying in one probe."""
_LIMIT_SECONDS = 30.0
"""Seconds after which a probe is given up."""
_SIZES = {"cpu": ("512", "float32"), "gpu": ("2048", "bfloat16")}
"""Size and number type of the product: large enough to keep the device busy, and of the type that training uses."""


class Speed:
    """Probes the machine's speed in the environment that training gets.

    After a probe has failed, no further probe is tried, because each one would delay a run.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self._command, self._environment = command, environment
        self._last: tuple[float, float] | None = None
        self._broken = False

    def probe(self, fresh: float = 0.0) -> float | None:
        """Return the speed in GFLOP/s, measured at most ``fresh`` seconds ago; None when it cannot be measured."""
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
    """Return the interpreter's arguments for one probe, which takes a fifth of a second after its start-up."""
    size, dtype = _SIZES[device]
    return ["-m", "autoresearch_mlx.hardware.gflops", "--size", size, "--dtype", dtype, "--seconds", str(_SECONDS)]
