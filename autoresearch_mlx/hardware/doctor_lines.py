"""Write the lines of ``doctor`` about a machine: its state now, its chip, its measurements, and the sizes chosen.

All functions except :func:`state_lines` only turn facts into lines; :func:`state_lines` also reads the state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from autoresearch_mlx.hardware.awake import works
from autoresearch_mlx.hardware.calibration import Calibration, Pace, Product
from autoresearch_mlx.hardware.chips import Chip, Found, architecture_words
from autoresearch_mlx.hardware.fit import choose
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.hardware.profile import Profile
from autoresearch_mlx.hardware.state import State, read_state
from autoresearch_mlx.hardware.state.advice import worries


@dataclass(frozen=True, slots=True)
class Line:
    """One line of ``doctor``."""

    name: str
    value: str
    note: bool = False
    """True for a fact that the user may want to change."""
    hint: str = ""
    """What the user can do about the fact."""


def state_lines(gpu: Literal["metal", "cuda"] | None) -> Iterator[Line]:
    """Read the machine's state now and describe it; ``gpu`` is the kind of GPU that MLX uses.  Raises nothing."""
    yield from lines_of_state(read_state(gpu), gpu is not None, works())


def lines_of_state(state: State, gpu: bool, awake: bool | None) -> Iterator[Line]:
    """Describe a state.

    ``gpu`` says whether MLX uses a GPU.  ``awake`` says whether the command that prevents sleep works; it is None if
    the system has no such command.
    """
    yield Line("power", _power(state))
    yield Line("heat", _heat(state))
    yield Line("memory now", _memory(state))
    yield _awake(awake)
    for _, words in worries(state, state, gpu):
        told, _, then = words.partition("; ")
        yield Line("look", told, True, then)


def _power(state: State) -> str:
    charge = f"{state.battery_percent} % charged" if state.battery_percent is not None else None
    saving = "Low Power Mode is on" if state.low_power_mode else None
    return _joined([state.power, charge, saving])


def _heat(state: State) -> str:
    pressure = f"thermal pressure {state.thermal}" if state.thermal is not None else None
    degrees = f"{state.temperature_c:.0f} °C" if state.temperature_c is not None else None
    battery = f"battery at {state.battery_c:.0f} °C" if state.battery_c is not None else None
    return _joined([pressure, degrees, battery])


def _memory(state: State) -> str:
    free = f"{state.memory_free_mb / 1024:.1f} GB free" if state.memory_free_mb is not None else None
    swap = f"{state.swap_used_mb / 1024:.1f} GB in swap" if state.swap_used_mb is not None else None
    pressure = f"pressure {state.memory_pressure}" if state.memory_pressure is not None else None
    return _joined([free, swap, pressure])


def _awake(awake: bool | None) -> Line:
    if awake:
        return Line("sleep", "the machine is kept awake while an experiment is measured")
    lacks = "this system has no command that prevents sleep"
    why = lacks if awake is None else "the system's command that prevents sleep does not work"
    hint = "if the machine never sleeps, nothing needs to be done"
    return Line("sleep", f"the machine is not kept awake: {why}", hint=hint)


def _joined(facts: list[str | None]) -> str:
    return ", ".join(fact for fact in facts if fact) or "not reported by the system"


GB = 2**30
_BUILD = "MLX's build"
_NEEDED_BY_26 = (26, 2)
"""MLX's wheel for macOS 26 needs this version of macOS, but pip also installs that wheel on 26.0 and 26.1 (mlx issue
4525)."""
_MFU_OPERATIONS = 6
"""Operations per token and weight of a matrix product: two (multiply, add) in the forward pass, four in the backward
pass."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The facts about a machine that ``doctor`` describes."""

    machine: Machine
    profile: Profile
    found: Found | None = None
    """The machine's row in the table of chips; None for a machine without an Apple chip."""
    info: Mapping[str, str | int | float] = field(default_factory=dict)
    """What MLX reports about the device; empty if MLX was not asked."""
    calibration: Calibration | None = None
    why: str | None = None
    """Why there is no valid calibration."""


def machine_lines(subject: Subject) -> Iterator[Line]:
    """Describe a machine: chip, device, buffers, calibration, the sizes chosen from the calibration, and MFU."""
    if subject.found is not None:
        yield _chip(subject.found)
    if subject.machine.wheel is not None:
        yield build_line(subject.machine.wheel, subject.machine)
    if subject.info and subject.machine.gpu is not None:
        yield from _device(subject)
    yield from _largest(subject)
    yield from _calibration(subject)
    yield _mfu(subject)


def table_words(found: Found, dtype: str) -> str | None:
    """Return the chip's published peak as text, such as ``table: 8.1 TFLOPS float16, estimate``.

    ``dtype`` is ``float32``, or any other type for the peak of float16.  Returns None if that peak is unknown.
    """
    chip = found.chip
    value, name = (chip.fp32_tflops, "fp32") if dtype == "float32" else (chip.fp16_tflops, "fp16")
    type_there = "float32" if name == "fp32" else "float16"  # no table has bfloat16; an M1 or M2 emulates it
    if value is None:
        return None
    near = f", of {chip.name} with {chip.gpu_cores} GPU cores" if found.words else ""
    return f"table: {value:g} TFLOPS {type_there}{', estimate' if name in chip.estimates else ''}{near}"


def mfu_percent(matrix_params: int, tokens_per_second: float, gflops: float) -> float:
    """Return the model FLOPs utilisation (PaLM, arXiv:2204.02311, appendix B) in percent.

    This is the rate of operations in the model's matrix products, divided by the measured peak rate ``gflops``.
    """
    return 100 * _MFU_OPERATIONS * matrix_params * tokens_per_second / (gflops * 1e9)


def largest_array(profile: Profile) -> int:
    """Return the size in bytes of the baseline's largest array: the float32 logits of one training pass."""
    rows: int = profile.knobs["DEVICE_BATCH_SIZE"]
    return 4 * rows * profile.seq_len * profile.vocab_size


def build_line(wheel: str, machine: Machine) -> Line:
    """Say for which version of macOS a Mac's MLX was built, because MLX's kernels depend on that version."""
    built = tuple(map(int, re.findall(r"\d+", wheel)[:2]))
    found = re.search(r"(\d+)(?:\.(\d+))?", machine.os_version or "")
    here = (int(found[1]), int(found[2] or 0)) if found else None
    said = f"for macOS {built[0]} ({wheel})"
    if here is None or len(built) < 2:
        return Line(_BUILD, said)
    if built[0] == 26 and here < _NEEDED_BY_26:
        needs = f"{said}; it needs macOS 26.2, and this is {machine.os_version}"
        return Line(_BUILD, needs, True, "update macOS, or install MLX with a Python built for an older macOS")
    if built[0] < 26 <= here[0] and "M5" in (machine.chip or ""):
        hint = "a Python that was built for macOS 26 installs the newer build: from python.org, Homebrew or uv"
        return Line(_BUILD, f"{said}; it does not use the matrix units of an M5", True, hint)
    return Line(_BUILD, said)


def _chip(found: Found) -> Line:
    chip = found.chip
    facts = [
        f"{chip.name}, {chip.gpu_cores} GPU cores",
        _figure(chip, "fp32", chip.fp32_tflops, "TFLOPS float32"),
        _figure(chip, "fp16", chip.fp16_tflops, "TFLOPS float16"),
        _figure(chip, "bandwidth", chip.bandwidth_gbs, "GB/s"),
    ]
    said = f"table: {', '.join(fact for fact in facts if fact)}"
    return Line("chip", f"{found.words}; {said}" if found.words else said, note=found.words is not None)


def _figure(chip: Chip, name: str, value: float | None, unit: str) -> str | None:
    if value is None:
        return None
    return f"{value:g} {unit}{' (estimate)' if name in chip.estimates else ''}"


def _device(subject: Subject) -> Iterator[Line]:
    info = subject.info
    sizes = (
        ("recommended", "max_recommended_working_set_size"),
        ("largest buffer", "max_buffer_length"),
        ("free", "free_memory"),
        ("total", "total_memory"),
    )
    architecture = info.get("architecture")
    parts = [architecture_words(str(architecture)) if architecture else None]
    parts += [f"{name} {float(info[key]) / GB:.1f} GB" for name, key in sizes if isinstance(info.get(key), int | float)]
    yield Line("MLX's device", ", ".join(part for part in parts if part))


def _largest(subject: Subject) -> Iterator[Line]:
    """Warn if the largest array of training does not fit into one Metal buffer.

    Evaluation needs only 128 MiB at a time.
    """
    most = subject.info.get("max_buffer_length")
    needed = largest_array(subject.profile)
    if isinstance(most, int | float) and needed > most:
        said = f"the logits of a pass take {needed / GB:.1f} GB, and Metal allows {most / GB:.1f} GB in one buffer"
        yield Line("largest array", said, note=True, hint="set a smaller DEVICE_BATCH_SIZE in train_mlx.py")


def _calibration(subject: Subject) -> Iterator[Line]:
    found = subject.calibration
    if found is None:
        why = subject.why or "none; budget and batch are the profile's"
        yield Line("calibration", why, hint="`autoresearch-mlx doctor --calibrate` measures this machine in a minute")
        return
    yield Line("calibration", f"{found.day}: {', '.join(_rates(found))}")
    timed = [*found.paces, *([] if found.other_head is None else [found.other_head])]
    yield from (Line("steps", pace_words(pace), note=pace.failure is not None) for pace in timed)
    if (overhead := found.overhead(subject.profile.eval_rows)) is not None:
        yield Line("beyond training", f"{overhead:.1f} s a run: {_overhead_words(found, subject.profile.eval_rows)}")
    yield Line("chosen", choose(subject.profile, found).words)


def _rates(found: Calibration) -> Iterator[str]:
    yield from (f"{p.words()} ({p.size} x {p.size})" for p in found.products)
    if found.bandwidth_gbs is not None:
        yield f"memory {found.bandwidth_gbs:.3g} GB/s"
    yield f"taken in {found.took_seconds:.0f} s"


def pace_words(pace: Pace) -> str:
    """Return step times as text: ``8,192 tokens a step ...: 391 ms (median 390 +- 4), 20,951 tokens/s over 25
    steps``."""
    heads = "" if pace.head_dim is None else f", heads of {pace.head_dim}"
    batch = f"{pace.tokens:,} tokens a step in passes of {pace.rows} rows{heads}"
    if pace.seconds is None:
        return f"{batch}: {pace.failure}"
    noise = "" if pace.median is None else f" (median {1000 * pace.median:.0f}{_spread(pace)})"
    memory = f", {pace.peak_memory_mb / 1024:.1f} GB" if pace.peak_memory_mb else ""
    rate = f"{pace.tokens / pace.seconds:,.0f} tokens/s over {pace.steps} steps"
    return f"{batch}: {1000 * pace.seconds:.0f} ms{noise}, {rate}{memory}"


def _spread(pace: Pace) -> str:
    return "" if pace.spread is None else f" +- {1000 * pace.spread:.0f}"


def _overhead_words(found: Calibration, rows: int) -> str:
    scored = found.scored
    assert scored is not None
    scaled = "" if rows == scored.rows else f", scaled from {scored.rows}"
    seconds = f"evaluation of {rows:,} rows {scored.seconds_for(rows):.1f}{scaled}"
    return f"start {found.start_seconds:.1f}, first step {found.compile_seconds:.1f}, {seconds}"


def _mfu(subject: Subject) -> Line:
    found = subject.calibration
    product = found.product() if found is not None else None
    dtype = "float32" if subject.profile.device == "cpu" else "bfloat16"
    beside = table_words(subject.found, dtype) if subject.found is not None else None
    rest = f"; {beside}" if beside else ""
    if found is None or product is None:
        return Line("MFU", f"unknown: no peak was measured{rest}")
    return Line("MFU", f"{_mfu_words(found, product)}{rest}")


def _mfu_words(found: Calibration, product: Product) -> str:
    divisor = f"{product.words()}, measured {found.day}"
    pace = next((p for p in found.paces if p.seconds is not None), None)
    if pace is None or pace.seconds is None or found.matrix_params is None:
        return f"of {divisor}"
    share = mfu_percent(found.matrix_params, pace.tokens / pace.seconds, product.gflops)
    return f"{share:.1f} % at {pace.tokens:,} tokens a step, of {divisor}"
