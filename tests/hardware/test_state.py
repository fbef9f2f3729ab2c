"""The state of the machine, read from the output of its own tools, and the sentences about it for a person.

The files in ``samples/`` are made up from documented formats (``samples/STATE.md``), not recorded on such machines.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch_mlx.hardware.state import Others, State, read_state
from autoresearch_mlx.hardware.state.advice import reason_to_wait, unusual_speed, worries
from autoresearch_mlx.hardware.state.commands import Commands, run_together

SAMPLES = Path(__file__).parent / "samples"


def recorded(name: str) -> State:
    """Return a machine whose tools answer with the files of its folder, and with nothing where there is no file."""

    def run(commands: Commands) -> Mapping[str, str]:
        paths = {each: SAMPLES / name / f"{each}.txt" for each in commands}
        return {each: path.read_text() for each, path in paths.items() if path.exists()}

    if name == "nvidia":
        return read_state("cuda", run, "Linux", SAMPLES / "nowhere")
    return read_state("metal", run, "Darwin")


def test_a_macbook_on_battery_tells_all_of_it() -> None:
    state = recorded("macbook")
    assert (state.power, state.battery_percent, state.battery_c) == ("battery", 62, 33.5)
    assert (state.low_power_mode, state.lid_closed, state.display_on) == (True, False, True)
    assert (state.thermal, state.cpu_speed_percent, state.temperature_c) == ("heavy", None, None)
    assert (state.memory_pressure, state.memory_free_mb, state.swap_used_mb) == ("warning", 4096, 2021.8)
    assert state.gpu == Others(None, 43)
    assert state.load is not None


def test_a_desktop_mac_has_no_battery_and_no_lid_and_may_not_tell_of_its_display() -> None:
    state = recorded("mac-mini")
    assert (state.power, state.battery_percent, state.battery_c) == ("mains", None, None)
    assert (state.low_power_mode, state.lid_closed, state.display_on) == (False, None, None)
    assert (state.thermal, state.memory_pressure, state.swap_used_mb) == ("nominal", "normal", 0.0)
    assert state.gpu.busy_percent == 2


def test_an_older_mac_tells_its_speed_limit_and_that_its_display_sleeps() -> None:
    state = recorded("old-mac")
    assert (state.power, state.cpu_speed_percent, state.display_on, state.lid_closed) == ("battery", 72, False, True)
    assert state.low_power_mode is None


def test_a_mac_whose_tools_are_silent_or_strange_is_unknown() -> None:
    nothing = replace(read_state("metal", lambda commands: {}, "Darwin"), load=None)
    strange = replace(
        read_state("metal", lambda commands: dict.fromkeys(commands, "\0 = {]%; Error\n"), "Darwin"), load=None
    )
    assert nothing == strange == State()


def test_a_linux_laptop_tells_all_but_its_display() -> None:
    state = read_state(system="Linux", root=SAMPLES / "laptop")
    assert (state.power, state.battery_percent, state.low_power_mode) == ("battery", 41, True)
    assert (state.temperature_c, state.thermal, state.cpu_speed_percent) == (98.0, "moderate", 50)
    assert (state.memory_pressure, state.memory_free_mb, state.swap_used_mb) == ("warning", 1024.0, 2048.0)
    assert (state.lid_closed, state.load) == (True, 3.27)
    assert state.display_on is None


def test_a_container_without_any_of_the_files_is_unknown(tmp_path: Path) -> None:
    assert read_state(system="Linux", root=tmp_path) == State()


def test_an_nvidia_gpu_adds_heat_power_and_users() -> None:
    state = recorded("nvidia")
    assert (state.temperature_c, state.gpu_watts, state.thermal) == (71.0, 402.17, "heavy")
    assert state.gpu == Others(("ollama (process 20514)", "[Not Found] (process 31337)"), 96.0)


def test_an_nvidia_tool_that_is_missing_adds_nothing(tmp_path: Path) -> None:
    assert read_state("cuda", lambda commands: {}, "Linux", tmp_path) == State()


def test_the_facts_of_a_record_are_flat_json_with_null_for_the_unknown() -> None:
    told = json.loads(json.dumps({**recorded("macbook").facts(), **recorded("macbook").company()}))
    assert (told["power"], told["thermal"], told["thermal_level"], told["temperature_c"]) == (
        "battery",
        "heavy",
        2,
        None,
    )
    assert told["gpu_users"] is None and told["gpu_busy_percent"] == 43
    assert not any(isinstance(fact, dict | list) for fact in told.values())


def test_a_reading_of_this_machine_takes_a_fraction_of_a_second() -> None:
    began = time.perf_counter()
    read_state()
    assert time.perf_counter() - began < 0.2


def test_commands_run_side_by_side_and_none_holds_up_the_reading() -> None:
    began = time.monotonic()
    sleepy = ["sh", "-c", "echo in time; exec sleep 60"]
    commands = {
        "a": ["sleep", "0.3"],
        "b": ["sh", "-c", "sleep 0.3; echo b; exit 3"],
        "c": ["no-such-program"],
        "d": sleepy,
    }
    said = run_together(commands, seconds=1.0)
    assert time.monotonic() - began < 3
    assert said == {"a": "", "b": "b\n", "d": ""}


# --- sentences for a person


CALM = State(
    "mains", 90, 30.0, False, "nominal", 50.0, 100, "normal", 9000.0, 0.0, False, False, None, Others((), 3), 0.5
)


def told(state: State, first: State = CALM, gpu: bool = True) -> str:
    return "\n".join(words for _, words in worries(state, first, gpu))


def test_a_calm_or_an_unknown_machine_is_not_worth_a_word() -> None:
    assert told(CALM) == told(State()) == ""


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"power": "battery"}, "on battery (90 %)"),
        ({"low_power_mode": True}, "Low Power Mode is on"),
        ({"thermal": "moderate"}, "thermal pressure is moderate"),
        ({"cpu_speed_percent": 72}, "limits the CPU to 72 %"),
        ({"swap_used_mb": 2048.0}, "swap has grown by 2.0 GB since the run began"),
        ({"memory_pressure": "critical"}, "memory pressure is at critical"),
        ({"display_on": True}, "`pmset displaysleepnow`"),
        ({"lid_closed": True}, "the lid is closed"),
        ({"gpu": Others(("ollama (process 7)",), 3)}, "other programs use the GPU: ollama (process 7)"),
        ({"gpu": Others(None, 60)}, "busy at 60 %"),
    ],
)
def test_each_worry_is_one_sentence_that_says_what_is_so(changed: dict[str, object], words: str) -> None:
    said = told(replace(CALM, **changed))  # type: ignore[arg-type]
    assert words in said and "\n" not in said


def test_a_run_on_the_cpu_does_not_mind_the_display_or_who_uses_the_gpu() -> None:
    assert told(replace(CALM, display_on=True, gpu=Others(("x (process 1)",), 99)), gpu=False) == ""


def test_only_what_is_known_is_waited_for() -> None:
    hot = replace(CALM, power="battery", thermal="heavy")
    assert reason_to_wait(hot, mains=True, cooling=True) == "on battery (90 %)"
    assert reason_to_wait(hot, mains=False, cooling=True) == "thermal pressure is heavy"
    assert reason_to_wait(hot, mains=False, cooling=False) is None
    assert reason_to_wait(State(), mains=True, cooling=True) is None


def test_a_probe_far_from_the_usual_one_is_told_once_there_is_a_usual_one() -> None:
    assert unusual_speed(80.0, [100.0, 101.0, 99.0]) is None
    assert unusual_speed(95.0, [100.0, 101.0, 99.0, 100.0]) is None
    said = unusual_speed(75.0, [100.0, 101.0, 99.0, 100.0])
    assert said is not None and "25% slower than usual here (75 against 100 GFLOP/s)" in said


@pytest.mark.skipif(os.uname().sysname != "Darwin", reason="asks a Mac's own tools")
def test_this_mac_tells_its_power_and_its_heat() -> None:
    state = read_state("metal")
    assert state.power is not None and state.thermal is not None


def test_a_program_that_hangs_with_one_that_it_started_delays_no_reading(tmp_path: Path) -> None:
    (tmp_path / "hangs").write_text("#!/bin/sh\nsleep 8\n")
    (tmp_path / "hangs").chmod(0o755)
    began = time.monotonic()
    assert run_together({"a": [str(tmp_path / "hangs")], "b": ["echo", "here"]}, seconds=0.3) == {
        "a": "",
        "b": "here\n",
    }
    assert time.monotonic() - began < 6
