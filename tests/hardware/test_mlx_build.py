"""The build of MLX on a Mac is named; a wrong one causes a warning; values and calibrations depend on the build."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch_mlx.hardware.blas import Blas
from autoresearch_mlx.hardware.calibration import basis_of
from autoresearch_mlx.hardware.doctor_lines import Subject, build_line, machine_lines
from autoresearch_mlx.hardware.machine import Gpu, Machine, mlx_wheel
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.comparability import changes_in_words, differing, trained_parts
from autoresearch_mlx.targets.pretrain.kind import describe_machine

M5 = Machine("Darwin", "arm64", "Apple M5", 10, 2**35, "macOS 26.2", Gpu("metal", "Apple M5", 10), "3.13.1", "0.32.4")
NEW, OLD = "macosx_26_0_arm64", "macosx_15_0_arm64"


@pytest.mark.parametrize(
    ("wheel", "chip", "system", "note", "said"),
    [
        (NEW, "Apple M5", "macOS 26.2", False, "for macOS 26 (macosx_26_0_arm64)"),
        (NEW, "Apple M5", "macOS 26.1", True, "it needs macOS 26.2, and this is macOS 26.1"),
        (NEW, "Apple M1", "macOS 26.0", True, "it needs macOS 26.2"),
        (OLD, "Apple M5 Max", "macOS 26.3", True, "it does not use the matrix units of an M5"),
        (OLD, "Apple M4", "macOS 26.3", False, "for macOS 15"),
        (OLD, "Apple M4", "macOS 15.6.1", False, "for macOS 15"),
        ("macosx_14_0_arm64", "Apple M1", None, False, "for macOS 14"),
    ],
)
def test_a_build_that_does_not_fit_is_told(wheel: str, chip: str, system: str | None, note: bool, said: str) -> None:
    line = build_line(wheel, replace(M5, chip=chip, os_version=system))
    assert (line.note, bool(line.hint)) == (note, note)
    assert said in line.value


def test_doctor_has_the_line_on_a_mac_alone() -> None:
    def names(machine: Machine) -> set[str]:
        return {line.name for line in machine_lines(Subject(machine, choose_profile(machine)))}

    assert "MLX's build" in names(replace(M5, wheel=NEW))
    assert "MLX's build" not in names(M5)


def test_a_calibration_belongs_to_a_build() -> None:
    profile = choose_profile(M5)
    old, new = (basis_of(replace(M5, wheel=wheel), profile, 8192, 1024) for wheel in (OLD, NEW))
    assert old != new


def test_values_of_two_builds_do_not_compare_and_earlier_ledgers_go_on() -> None:
    def parts(wheel: str | None, device: str = "gpu") -> dict[str, object]:
        return trained_parts({"device": device}, describe_machine(replace(M5, wheel=wheel), Blas(None, "MLX"), device))

    assert differing(parts(OLD), parts(NEW)) == ("mlx_wheel",)
    assert "MLX's build" in changes_in_words(parts(OLD), parts(NEW))
    assert differing(parts(None), parts(NEW)) == ()
    assert "mlx_wheel" not in parts(None)
    assert "mlx_wheel" not in parts(NEW, "cpu")


def test_this_machine_has_no_build_for_a_mac_unless_it_is_one() -> None:
    assert mlx_wheel() is None or str(mlx_wheel()).startswith("macosx_")
