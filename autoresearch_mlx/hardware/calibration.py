"""Define a machine's measurements (matrix products, memory, step times, evaluation), and keep them in the user's cache.

A calibration is valid for :data:`DAYS` days, on the machine and software that it was measured on (:class:`Basis`).
:func:`load` returns a reason instead of a calibration that is damaged, too old, or from another chip, MLX or system.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.hardware.profile import Device, Profile

SCHEMA = 1
DAYS = 90
"""Days after which a calibration is repeated, because systems are updated and fans collect dust."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Basis:
    """Everything that a calibration depends on; a calibration is stale if any of these facts has changed."""

    chip: str | None
    gpu_cores: int | None
    memory_bytes: int | None
    device: Device
    mlx: str | None
    system: str | None
    profile: str
    vocab_size: int
    seq_len: int
    knobs: Mapping[str, Any]
    """The profile's knobs, which shape the model that was timed."""
    wheel: str | None = None
    """The build of MLX on a Mac (:class:`machine.Machine`)."""


@dataclass(frozen=True, slots=True)
class Product:
    """The best rate measured for products of two ``size`` x ``size`` matrices."""

    dtype: str
    size: int
    gflops: Positive
    """Billions of operations a second; a product takes 2 size^3 operations."""

    def words(self) -> str:
        """Return the rate as text: ``14.2 TFLOPS bfloat16`` or ``57 GFLOP/s float32``."""
        rate = f"{self.gflops / 1000:.3g} TFLOPS" if self.gflops >= 1000 else f"{self.gflops:.3g} GFLOP/s"
        return f"{rate} {self.dtype}"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long steps of the shipped script take at one batch size, without the first step.

    The parent process measures the times.
    """

    rows: int
    """Number of rows in a forward pass."""
    tokens: int
    """Number of tokens in an optimiser step."""
    steps: int = 0
    """Number of steps that were timed."""
    seconds: Positive | None = None
    """Mean seconds of one step; None when the run failed."""
    median: Positive | None = None
    spread: Seconds | None = None
    """Half the interquartile range of the step times, in seconds; None if there were too few steps."""
    peak_memory_mb: Positive | None = None
    failure: str | None = None
    """Why the run failed."""
    head_dim: int | None = None
    """Width of one attention head; None means the width in the profile."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The times of two evaluations, of ``rows`` and of ``fewer_rows`` rows.

    The time for any number of rows is estimated from these two.
    """

    rows: int
    seconds: Positive
    fewer_rows: int
    fewer_seconds: Positive

    def seconds_for(self, rows: int) -> float:
        """Estimate the seconds for ``rows`` rows: the start-up plus a time for each row, at least ``fewer_seconds``."""
        if rows == self.rows or self.rows == self.fewer_rows:
            return self.seconds * max(1.0, rows / self.rows)
        each = max(0.0, (self.seconds - self.fewer_seconds) / (self.rows - self.fewer_rows))
        return max(self.fewer_seconds, self.seconds + each * (rows - self.rows))


@dataclass(frozen=True, slots=True)
class Calibration:
    """All measurements of one machine."""

    date: str
    """Time of the calibration: the local time with its offset, in ISO 8601."""
    basis: Basis
    took_seconds: Seconds
    """Seconds that the calibration took."""
    products: tuple[Product, ...] = ()
    bandwidth_gbs: Positive | None = None
    start_seconds: Seconds | None = None
    """Seconds from the child's start to its first batch."""
    compile_seconds: Seconds | None = None
    """Seconds of the first step, which compiles."""
    paces: tuple[Pace, ...] = ()
    """Step times at several batch sizes; the profile's own batch size comes first."""
    other_head: Pace | None = None
    """Step time with a head size that differs from the profile's, at a batch size of ``paces``; None if only one head
    size was timed."""
    scored: Scored | None = None
    matrix_params: Annotated[int, Field(gt=0)] | None = None
    """Number of the timed model's weights that are used in matrix products."""
    info: Mapping[str, str | int | float] = field(default_factory=dict)
    """Facts that MLX reports about the device."""

    def overhead(self, eval_rows: int) -> float | None:
        """Return the seconds that one run takes besides its training; None if a part of this time was not measured."""
        if self.start_seconds is None or self.compile_seconds is None or self.scored is None:
            return None
        return self.start_seconds + self.compile_seconds + self.scored.seconds_for(eval_rows)

    def pace(self, tokens: int | None) -> Pace | None:
        """Return the step times for a batch of ``tokens`` tokens; None when that batch was not timed."""
        return next((p for p in self.paces if p.tokens == tokens and p.seconds is not None), None)

    def head_ratio(self) -> float | None:
        """Return the step time of ``other_head`` divided by the step time with the profile's head size, or None if one
        of these times is unknown."""
        other = self.other_head
        if other is None or other.seconds is None:
            return None
        own = next((p for p in self.paces if (p.rows, p.tokens) == (other.rows, other.tokens)), None)
        return None if own is None or own.seconds is None else other.seconds / own.seconds

    def product(self) -> Product | None:
        """Return the matrix product whose rate is the peak for MFU; None when it was not measured.

        The product has the number type of training: bfloat16 on a GPU, float32 on a CPU.
        """
        wanted = "float32" if self.basis.device == "cpu" else "bfloat16"
        return next((p for p in self.products if p.dtype == wanted), None)

    @property
    def day(self) -> str:
        """The date without the time."""
        return self.date[:10]


@dataclass(frozen=True, slots=True)
class Peak:
    """The peak rate from which MFU (model FLOPs utilisation) is computed, and a note that names the rate's source."""

    gflops: float
    words: str


def basis_of(machine: Machine, profile: Profile, vocab_size: int, seq_len: int) -> Basis:
    """Return everything on which a calibration of this machine under this profile depends."""
    return Basis(
        chip=machine.chip,
        gpu_cores=machine.gpu.cores if machine.gpu else None,
        memory_bytes=machine.memory_bytes,
        device=profile.device,
        mlx=machine.mlx,
        system=machine.os_version,
        profile=profile.name,
        vocab_size=vocab_size,
        seq_len=seq_len,
        knobs=dict(profile.knobs),
        wheel=machine.wheel,
    )


def load(basis: Basis, cache: Path, now: datetime | None = None) -> tuple[Calibration | None, str | None]:
    """Return (calibration, None) for this basis, or (None, the reason why it cannot be used).

    The reason is None if this machine was never calibrated.
    """
    path = place(basis, cache)
    try:
        found = TypeAdapter(_Stored).validate_json(path.read_bytes())
    except FileNotFoundError:
        return None, None
    except (OSError, ValidationError) as error:
        said = error.strerror if isinstance(error, OSError) else f"{error.error_count()} of its fields are wrong"
        return None, f"the calibration in {path} cannot be read: {said}"
    if (why := _stale(found, basis, now or datetime.now().astimezone())) is not None:
        return None, f"the calibration of {found.calibration.day} is stale: {why}"
    return found.calibration, None


def store(calibration: Calibration, cache: Path) -> Path:
    """Write the calibration to its file and return the file's path.  Raises OSError.

    An older calibration is replaced in one step, so a reader never sees half a file.
    """
    path = place(calibration.basis, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".tmp{id(calibration)}")
    text = TypeAdapter(_Stored).dump_json(_Stored(SCHEMA, calibration), indent=1)
    temporary.write_bytes(text + b"\n")
    temporary.replace(path)
    return path


def place(basis: Basis, cache: Path) -> Path:
    """Return the path of the calibration: one file for each chip, profile, device, vocabulary and row length."""
    parts = (basis.chip or "unknown", basis.gpu_cores, basis.profile, basis.device, basis.vocab_size, basis.seq_len)
    name = "-".join(str(part) for part in parts if part is not None)
    return cache / "calibration" / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"


@dataclass(frozen=True, slots=True)
class _Stored:
    schema: int
    calibration: Calibration


def _stale(found: _Stored, basis: Basis, now: datetime) -> str | None:
    if found.schema != SCHEMA:
        return f"it has schema {found.schema}, and this version reads schema {SCHEMA}"
    then, current = asdict(found.calibration.basis), asdict(basis)
    changed = [f.name for f in fields(Basis) if then[f.name] != current[f.name]]
    if changed:
        name = changed[0]
        return f"{name} was {_shown(then[name])} and is {_shown(current[name])}"
    try:
        age = (now - datetime.fromisoformat(found.calibration.date)).days
    except (ValueError, TypeError):
        return f"its date is {found.calibration.date!r}"
    return f"it is {age} days old" if age > DAYS else None


def _shown(value: object) -> str:
    return "unknown" if value is None else str(value)
