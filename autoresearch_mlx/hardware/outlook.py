"""The outlook for a night on this machine, as lines of `doctor`: power, heat, memory, and what keeps it awake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from autoresearch_mlx.hardware.awake import works
from autoresearch_mlx.hardware.state import State, read_state
from autoresearch_mlx.hardware.state.advice import worries


class Line(NamedTuple):
    name: str
    value: str
    state: Literal["ok", "note"] = "ok"
    hint: str = ""


def outlook(gpu: Literal["metal", "cuda"] | None) -> Iterator[Line]:
    """Read the machine now; ``gpu``: the one that MLX uses.  Raises nothing."""
    yield from lines(read_state(gpu), gpu is not None, works())


def lines(state: State, gpu: bool, awake: bool | None) -> Iterator[Line]:
    """``awake``: whether a command here keeps the machine from sleeping; None: there is none."""
    yield Line("power", _power(state))
    yield Line("heat", _heat(state))
    yield Line("memory now", _memory(state))
    yield _awake(awake)
    for _, words in worries(state, state, gpu):
        told, _, then = words.partition("; ")
        yield Line("look", told, "note", then)


def _power(state: State) -> str:
    charge = f"{state.battery_percent} % charged" if state.battery_percent is not None else None
    saving = "Low Power Mode is on" if state.low_power_mode else None
    return _told([state.power, charge, saving])


def _heat(state: State) -> str:
    pressure = f"thermal pressure {state.thermal}" if state.thermal is not None else None
    degrees = f"{state.temperature_c:.0f} °C" if state.temperature_c is not None else None
    battery = f"battery at {state.battery_c:.0f} °C" if state.battery_c is not None else None
    return _told([pressure, degrees, battery])


def _memory(state: State) -> str:
    free = f"{state.memory_free_mb / 1024:.1f} GB free" if state.memory_free_mb is not None else None
    swap = f"{state.swap_used_mb / 1024:.1f} GB in swap" if state.swap_used_mb is not None else None
    pressure = f"pressure {state.memory_pressure}" if state.memory_pressure is not None else None
    return _told([free, swap, pressure])


def _awake(awake: bool | None) -> Line:
    if awake:
        return Line("sleep", "kept from it while an experiment is measured")
    why = "no command for it here" if awake is None else "the system's command for it does not work"
    return Line("sleep", f"nothing keeps the machine from it: {why}", hint="a machine that never sleeps needs nothing")


def _told(facts: list[str | None]) -> str:
    return ", ".join(fact for fact in facts if fact) or "the system does not tell"
