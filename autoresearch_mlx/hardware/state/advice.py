"""Write sentences about the machine's state: what may slow runs, what the user can do, and why a run should wait."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from autoresearch_mlx.hardware.state.reading import State

SWAP_MB = 512.0
"""Growth of swap since the first reading, in MiB, that is worth a warning."""
BUSY_PERCENT = 30.0
"""Smallest load of a GPU, in percent, at which another program is assumed to use it; a desktop alone takes a few
percent."""
SLOWER = 0.15
"""Relative difference from the usual speed, in either direction, that is worth a warning."""
LEAST_PROBES = 4
"""Number of earlier probes that are needed before a new probe can be called unusual."""


def worries(state: State, first: State, gpu: bool) -> Iterator[tuple[str, str]]:
    """Yield (name, sentence) for each fact that may spoil or slow runs; the caller shows one sentence for each name.

    The growth of swap is counted from ``first``, an early reading.  ``gpu`` says whether runs train on a GPU.
    """
    yield from _power(state)
    yield from _heat(state)
    yield from _memory(state, first)
    if gpu:
        yield from _gpu(state)


def _power(state: State) -> Iterator[tuple[str, str]]:
    if state.power == "battery":
        charge = f" ({state.battery_percent} %)" if state.battery_percent is not None else ""
        then = "plug it in; with [machine] wait_for_mains = true, runs wait for mains power"
        yield (
            "battery",
            f"the machine is on battery{charge}: it runs slower, and sleeps when the battery is low; {then}",
        )
    if state.low_power_mode:
        yield (
            "low power",
            "Low Power Mode is on, which slows the GPU down; switch it off in the system's battery settings",
        )
    if state.lid_closed and state.display_on is not True:
        yield "lid", "the lid is closed: without power and an external display the machine sleeps; leave the lid open"


def _heat(state: State) -> Iterator[tuple[str, str]]:
    then = "give the machine air; with [machine] wait_for_cooling = true, runs wait until the machine is cool"
    if state.thermal not in (None, "nominal"):
        yield "heat", f"thermal pressure is {state.thermal}: runs are slower than on a cool machine; {then}"
    elif state.cpu_speed_percent is not None and state.cpu_speed_percent < 100:
        yield "speed limit", f"the system limits the CPU to {state.cpu_speed_percent} % of its speed"


def _memory(state: State, first: State) -> Iterator[tuple[str, str]]:
    then = "use a smaller model for the agent, and close other programs"
    if state.swap_used_mb is not None and first.swap_used_mb is not None:
        grown = state.swap_used_mb - first.swap_used_mb
        if grown >= SWAP_MB:
            yield "swap", f"swap has grown by {grown / 1024:.1f} GB since the run began: memory is short; {then}"
    if state.memory_pressure in ("warning", "critical"):
        yield "memory", f"memory pressure is at {state.memory_pressure}: runs may be slow or killed; {then}"


def _gpu(state: State) -> Iterator[tuple[str, str]]:
    if state.display_on:
        why = "with an awake display macOS may end long GPU work"
        yield "display", f"the display is awake: {why}; `pmset displaysleepnow` switches it off, and the run continues"
    if state.gpu.processes:
        named = ", ".join(state.gpu.processes[:3])
        yield "gpu", f"other programs use the GPU: {named}; these programs make runs slower"
    elif state.gpu.busy_percent is not None and state.gpu.busy_percent >= BUSY_PERCENT:
        busy = f"the GPU is busy at {state.gpu.busy_percent:.0f} % before the run begins"
        yield "gpu", f"{busy}: another program uses the GPU, and runs are slower"


def unusual_speed(speed: float, known: list[float]) -> str | None:
    """Return a sentence if ``speed``, in GFLOP/s, is far from the median of the earlier speeds ``known``; else None."""
    if len(known) < LEAST_PROBES:
        return None
    usual = median(known)
    change = speed / usual - 1
    if abs(change) < SLOWER:
        return None
    word = "slower" if change < 0 else "faster"
    said = f"the speed probe is {abs(change):.0%} {word} than usual here ({speed:.0f} against {usual:.0f} GFLOP/s)"
    return f"{said}: runs cannot be compared well with earlier runs"


def reason_to_wait(state: State, mains: bool, cooling: bool) -> str | None:
    """Return the reason why no run should start yet; None if a run may start, or if the state is unknown.

    ``mains`` and ``cooling`` are the settings ``wait_for_mains`` and ``wait_for_cooling``.
    """
    if mains and state.power == "battery":
        charge = f" ({state.battery_percent} %)" if state.battery_percent is not None else ""
        return f"on battery{charge}"
    if cooling and state.thermal not in (None, "nominal"):
        return f"thermal pressure is {state.thermal}"
    return None
