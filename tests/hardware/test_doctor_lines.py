"""What doctor says about a machine before a night."""

from __future__ import annotations

from autoresearch_mlx.hardware.doctor_lines import lines_of_state, state_lines
from autoresearch_mlx.hardware.state import State

MACBOOK = State(
    "battery", 62, 33.5, True, "heavy", swap_used_mb=2048.0, memory_free_mb=4096.0, memory_pressure="warning"
)


def test_a_macbook_at_its_worst_is_told_line_by_line_with_what_to_do() -> None:
    told = [f"{line.name}: {line.value}" for line in lines_of_state(MACBOOK, gpu=True, awake=True)]
    assert told == [
        "power: battery, 62 % charged, Low Power Mode is on",
        "heat: thermal pressure heavy, battery at 34 °C",
        "memory now: 4.0 GB free, 2.0 GB in swap, pressure warning",
        "sleep: the machine is kept awake while an experiment is measured",
        "look: the machine is on battery (62 %): it runs slower, and sleeps when the battery is low",
        "look: Low Power Mode is on, which slows the GPU down",
        "look: thermal pressure is heavy: runs are slower than on a cool machine",
        "look: memory pressure is at warning: runs may be slow or killed",
    ]
    notes = [line for line in lines_of_state(MACBOOK, gpu=True, awake=True) if line.note]
    assert all(line.hint for line in notes) and notes[0].hint.startswith("plug it in")


def test_an_unknown_machine_is_said_to_be_unknown() -> None:
    told = [line.value for line in lines_of_state(State(), gpu=False, awake=None)]
    assert told == [
        *["not reported by the system"] * 3,
        "the machine is not kept awake: this system has no command that prevents sleep",
    ]


def test_this_machine_is_read_without_a_failure() -> None:
    assert [line.name for line in state_lines(None)][:4] == ["power", "heat", "memory now", "sleep"]
