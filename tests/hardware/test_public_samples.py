"""Published outputs of real Macs, each with its source in the first line, are parsed or refused.

They were not recorded by us.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch_mlx.hardware.machine import Gpu, parse_displays
from autoresearch_mlx.hardware.state import State
from autoresearch_mlx.hardware.state.macos import read

PUBLIC = Path(__file__).parent / "samples" / "public"


def sample(name: str) -> str:
    """Return the text of a sample without the line that names its source."""
    first, _, rest = (PUBLIC / f"{name}.txt").read_text().partition("\n")
    assert first.startswith("# source: ")
    return rest


def state(command: str, name: str) -> State:
    return read(lambda commands: {command: sample(name)})


@pytest.mark.parametrize(
    ("command", "name", "field", "value"),
    [
        ("assertions", "assertions-display-on", "display_on", True),
        ("batt", "batt-ac-m2", "power", "mains"),
        ("batt", "batt-ac-m2", "battery_percent", 100),
        ("batt", "batt-ac-not-charging", "power", "mains"),
        ("batt", "batt-ac-not-charging", "battery_percent", 79),
        ("batt", "batt-battery-no-estimate", "power", "battery"),
        ("batt", "batt-battery-no-estimate", "battery_percent", 100),
        ("lid", "lid", "lid_closed", False),
        ("pressure", "notifyutil-0", "thermal", "nominal"),
        ("pressure", "notifyutil-failed", "thermal", None),
        ("pressure", "notifyutil-out-of-range", "thermal", None),
        ("settings", "settings-powermode", "low_power_mode", True),
        ("sysctl", "sysctl-pressure", "swap_used_mb", 11947.4),
        ("sysctl", "sysctl-pressure", "memory_pressure", "normal"),
        ("sysctl", "sysctl-pressure", "memory_free_mb", 28508),
        ("therm", "therm-apple-silicon", "cpu_speed_percent", None),
        ("therm", "therm-cpu-power-notify", "cpu_speed_percent", 100),
    ],
)
def test_what_is_read_of_a_published_output(command: str, name: str, field: str, value: object) -> None:
    assert getattr(state(command, name), field) == value


def test_the_load_of_an_m4_max() -> None:
    assert state("gpu", "ioreg-ioaccelerator-m4max").gpu.busy_percent == 16


@pytest.mark.parametrize(
    ("name", "gpu"),
    [
        ("system_profiler-m3pro", Gpu("metal", "Apple M3 Pro", 14)),
        ("system_profiler-m1pro-no-bus", Gpu("metal", "Apple M1 Pro", 16)),
    ],
)
def test_the_gpu_of_published_machines(name: str, gpu: Gpu) -> None:
    assert parse_displays(sample(name)) == gpu


def test_a_display_that_sleeps_holds_no_assertion() -> None:
    """We put this sample together ourselves; a real one has powerd's line only while a display is awake."""
    lines = sample("assertions-display-on").splitlines()
    asleep = "\n".join(line for line in lines if "display is on" not in line)
    assert read(lambda commands: {"assertions": asleep}).display_on is False
    assert read(lambda commands: {"assertions": f"{asleep}\n   UserIsActive 1"}).display_on is None
    assert read(lambda commands: {"assertions": ""}).display_on is None


@pytest.mark.parametrize(
    ("level", "thermal"), [(0, "nominal"), (2, "heavy"), (3, "critical"), (4, "critical"), (5, None)]
)
def test_the_levels_of_heat_that_macos_has(level: int, thermal: str | None) -> None:
    said = f"com.apple.system.thermalpressurelevel {level}\n"
    assert read(lambda commands: {"pressure": said}).thermal == thermal
