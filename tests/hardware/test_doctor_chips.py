"""The lines of `doctor` and `plan` for each chip of the table, in one file to be read: golden/every_chip.txt.

Chip, cores and memory come from the table.  The three calibrations at the end are made up, to show how they read;
nothing here was measured on a Mac.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from made_up_machines import GB, calibrated, every_mac, mac

from autoresearch_mlx.hardware.calibration import Calibration, Product
from autoresearch_mlx.hardware.chips import find_chip, read_chips
from autoresearch_mlx.hardware.doctor_lines import Subject, largest_array, machine_lines
from autoresearch_mlx.hardware.machine import Machine, describe
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.setup.plan_facts import Limits, lines, planned
from autoresearch_mlx.targets.confine import limits_of
from autoresearch_mlx.targets.pretrain.kind import expected

CHIPS = read_chips()
GOLDEN = Path(__file__).parent / "golden" / "every_chip.txt"
NIGHT = Limits(8 * 3600.0, "07:00", None)
M4_MAX = {
    "architecture": "applegpu_g16s",
    "max_buffer_length": 22 * GB,
    "max_recommended_working_set_size": 28 * GB,
    "memory_size": 36 * GB,
}
"""Facts made up from the fields that MLX documents for its Metal device."""


def test_every_chip_reads_as_it_should() -> None:
    assert "\n".join(_everything()) + "\n" == GOLDEN.read_text(encoding="utf-8")


def test_no_preset_asks_for_more_than_a_buffer_of_its_machine_holds() -> None:
    # 4 GiB of 8 GB on an A18 Pro (trevin-creator pull 26), 14.3 of 25.8 GB on a 24 GB Mac (its issue 2).
    for machine in every_mac(CHIPS):
        assert machine.memory_bytes is not None
        assert largest_array(choose_profile(machine)) < 0.5 * machine.memory_bytes


def test_a_buffer_that_is_too_small_is_told() -> None:
    machine = mac("M4 Max", 32, 36)
    subject = Subject(machine, choose_profile(machine), info={"max_buffer_length": 2**28})
    (line,) = (line for line in machine_lines(subject) if line.name == "largest array")
    assert line.note and line.value == "the logits of a pass take 0.5 GB, and Metal allows 0.2 GB in one buffer"


def _everything() -> Iterator[str]:
    yield "# Facts from data/chips.tsv; the calibrations at the end are composed.  Nothing was measured on a Mac."
    for machine in every_mac(CHIPS):
        yield from _told(machine)
    yield from _told(mac("M7 Max", 44, 64))
    slow, fast, odd = mac("M1 Max", 24, 32), mac("M4 Max", 32, 36), mac("M2", 8, 16)
    yield from _told(
        fast,
        calibrated(fast, 0.2, 0.11, info=M4_MAX, products=(Product("bfloat16", 4096, 11900.0),)),
        "ollama:qwen3-coder:30b unloads before training",
    )
    yield from _told(slow, calibrated(slow, 0.62, 0.33, products=(Product("bfloat16", 4096, 4100.0),)))
    yield from _told(odd, calibrated(odd, 0.7, None, products=(Product("bfloat16", 4096, 1600.0),)))


def _told(machine: Machine, calibration: Calibration | None = None, agent: str = "knobs") -> Iterator[str]:
    profile = choose_profile(machine)
    info = calibration.info if calibration is not None else {}
    yield f"\n{describe(machine)}{' (calibration composed)' if calibration else ''}"
    yield f"  {'profile':<16}{profile.name}: {profile.why}"
    for line in machine_lines(Subject(machine, profile, find_chip(machine, CHIPS), info, calibration)):
        yield f"{'! ' if line.note else '  '}{line.name:<16}{line.value}"
    facts, most = expected(Settings(), profile, calibration), limits_of(Settings(), profile).memory_bytes
    for text in lines(planned(facts, machine, most, 3, agent, NIGHT)):
        yield f"  {'plan':<16}{text}"
