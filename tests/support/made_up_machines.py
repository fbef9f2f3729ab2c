"""Machines composed from the table of chips, and plausible calibrations of them; none was measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autoresearch_mlx.hardware.calibration import Calibration, Pace, Product, Scored, basis_of
from autoresearch_mlx.hardware.chips import Chip
from autoresearch_mlx.hardware.machine import Gpu, Machine
from autoresearch_mlx.hardware.profile import Profile, choose_profile

GB = 2**30
DATE = "2026-11-20T21:00:00+00:00"


def mac(chip: str, cores: int | None, gigabytes: int) -> Machine:
    name = f"Apple {chip}"
    return Machine(
        "Darwin", "arm64", name, None, gigabytes * GB, "macOS 26.1", Gpu("metal", name, cores), "3.12.1", "0.32.4"
    )


def every_mac(chips: tuple[Chip, ...]) -> Iterator[Machine]:
    """Return each chip of the table with the least and the most memory with which it was sold."""
    for chip in chips:
        for size in dict.fromkeys((min(chip.memory_gb), max(chip.memory_gb))):
            yield mac(chip.name, chip.gpu_cores, size)


def calibrated(
    machine: Machine, *step_seconds: float | None, profile: Profile | None = None, **fields: Any
) -> Calibration:
    """Return a calibration whose batches take these times for a step; None means that this batch failed."""
    profile = profile or choose_profile(machine)
    rows, tokens = profile.knobs["DEVICE_BATCH_SIZE"], profile.knobs["TOTAL_BATCH_SIZE"]
    paces = []
    for at, seconds in enumerate(step_seconds):
        r, t = rows // 2**at, max(tokens // 2**at, profile.least_batch)
        if seconds is None:
            paces.append(Pace(r, t, failure="[metal::malloc] no memory"))
        else:
            paces.append(Pace(r, t, 30, seconds, seconds, seconds / 50, 4200.0 / 2**at))
    dtype = "float32" if profile.device == "cpu" else "bfloat16"
    known: dict[str, Any] = {
        "products": (Product(dtype, 4096, 14200.0),),
        "bandwidth_gbs": 380.0,
        "start_seconds": 1.5,
        "compile_seconds": 4.0,
        "scored": Scored(384, 10.5, 8, 1.1),
        "matrix_params": 8_400_000,
        "took_seconds": 55.0,
        "date": DATE,
    }
    basis = basis_of(machine, profile, profile.vocab_size, profile.seq_len)
    return Calibration(basis=basis, paces=tuple(paces), **{**known, **fields})
