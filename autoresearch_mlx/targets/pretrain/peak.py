"""Find the highest speed of a matrix product that was measured on this machine.

MFU (model FLOPs utilisation) is the share of this speed that training reaches.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from autoresearch_mlx.errors import TableError
from autoresearch_mlx.hardware.calibration import Calibration, Peak, basis_of, load
from autoresearch_mlx.hardware.chips import find_chip, read_chips
from autoresearch_mlx.hardware.doctor_lines import table_words
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.hardware.profile import Profile
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.targets.corpus import prepare as corpora
from autoresearch_mlx.targets.pretrain.conditions import PretrainConditions
from autoresearch_mlx.trial.runner import python_command, trusted_environment

_PROBE_SECONDS = 60.0


def calibration_of(
    settings: Settings, conditions: PretrainConditions, machine: Machine, profile: Profile
) -> Calibration | None:
    """Return this machine's calibration for the shape of a session's rows.

    Returns None if there is no calibration, or if the settings forbid calibrations.
    """
    if settings.hardware.calibrate == "never":
        return None
    found, _ = load(basis_of(machine, profile, conditions.vocab_size, conditions.seq_len), corpora.default_cache())
    return found


def measured_peak(
    settings: Settings, conditions: PretrainConditions, machine: Machine, profile: Profile
) -> Peak | None:
    """Return the highest speed of a matrix product that a calibration measured here, with a description for the user.

    Returns None if the session does not train on the profile's device, or if there is no recent calibration.
    """
    calibration = (
        calibration_of(settings, conditions, machine, profile) if conditions.device == profile.device else None
    )
    product = calibration.product() if calibration is not None else None
    if calibration is None or product is None:
        return None
    words = f"{product.words()}, measured {calibration.day}"
    return Peak(product.gflops, words + table_beside(machine, product.dtype))


def table_beside(machine: Machine, dtype: str) -> str:
    """Return the chip's peak speed from the table of chips, as `` (table: 8.1 TFLOPS float16, estimate)``.  The text is
    empty for an unknown chip."""
    try:
        found = find_chip(machine, read_chips())
    except TableError:
        return ""
    said = table_words(found, dtype) if found is not None else None
    return f" ({said})" if said else ""


def run_probe(environment: Mapping[str, str], size: int, dtype: str, *more: str) -> dict[str, Any]:
    """Time a matrix product in the environment of a training run, and return the JSON that the child process prints.

    ``size`` is the number of rows and columns of the matrices.  Raises OSError, ValueError, SubprocessError.
    """
    command = python_command("-m", "autoresearch_mlx.hardware.gflops", "--size", str(size), "--dtype", dtype, *more)
    around, limit = trusted_environment(environment), _PROBE_SECONDS
    done = subprocess.run(command, env=around, capture_output=True, text=True, timeout=limit, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
