"""Facts about a machine, read from the output of its own tools.

The files in ``samples/`` imitate the output of sysctl, sw_vers and system_profiler, and the format of /proc.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from autoresearch_mlx.hardware.machine import (
    Gpu,
    Installed,
    Machine,
    describe,
    parse_cpu_cores,
    parse_displays,
    parse_simd,
    parse_sw_vers,
    read_machine,
    run_command,
)

SAMPLES = Path(__file__).parent / "samples"


def mac(name: str, arch: str = "arm64") -> Machine:
    def run(command: Sequence[str]) -> str | None:
        return (SAMPLES / name / f"{command[0]}.txt").read_text()

    return read_machine(run=run, installed=only("mlx"), system="Darwin", arch=arch)


def linux(name: str, *packages: str, smi: str | None = None) -> Machine:
    return read_machine(
        run=lambda command: smi, installed=only(*packages), system="Linux", arch="x86_64", root=SAMPLES / name
    )


def only(*packages: str) -> Installed:
    return lambda name: "0.32.4" if name in packages else None


@pytest.mark.parametrize(
    ("name", "chip", "cores", "gigabytes", "gpu_cores", "version"),
    [
        ("m1", "Apple M1", 8, 8, 8, "macOS 14.7.2"),
        ("m3-max", "Apple M3 Max", 16, 64, 40, "macOS 15.6.1"),
        ("m4-pro", "Apple M4 Pro", 14, 24, 20, "macOS 26.1"),
    ],
)
def test_a_mac_tells_chip_cores_memory_gpu_and_version(
    name: str, chip: str, cores: int, gigabytes: int, gpu_cores: int, version: str
) -> None:
    machine = mac(name)
    assert (machine.system, machine.chip, machine.cpu_cores, machine.os_version) == ("Darwin", chip, cores, version)
    assert machine.memory_bytes == gigabytes * 2**30
    assert machine.gpu == Gpu("metal", chip, gpu_cores)
    assert machine.mlx == "0.32.4"


def test_a_mac_whose_tools_are_silent_still_has_metal() -> None:
    machine = read_machine(run=lambda command: None, installed=only(), system="Darwin", arch="arm64")
    assert machine.gpu == Gpu("metal", None)
    assert (machine.chip, machine.cpu_cores, machine.memory_bytes, machine.os_version, machine.mlx) == (None,) * 5


def test_an_intel_python_on_a_mac_has_no_gpu() -> None:
    assert mac("m1", arch="x86_64").gpu is None


@pytest.mark.parametrize(
    "text", ["", "not json", "[]", "{}", '{"SPDisplaysDataType": [{"sppci_bus": "spdisplays_pcie"}]}']
)
def test_a_display_report_that_says_nothing_is_no_gpu(text: str) -> None:
    assert parse_displays(text) is None


def test_a_report_without_a_version_is_unknown() -> None:
    assert parse_sw_vers("ProductName: macOS") is None


def test_hyper_threads_share_a_core_on_linux() -> None:
    machine = linux("xeon", "mlx")
    assert machine.chip == "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz"
    assert machine.cpu_cores == 2
    assert machine.memory_bytes == 32768000 * 1024
    assert machine.os_version == "Ubuntu 24.04.1 LTS"
    assert machine.simd == "avx512"
    assert machine.gpu is None


def test_a_container_has_its_share_of_cores_and_memory() -> None:
    machine = linux("container")
    assert machine.cpu_cores == 2  # a quota of 2.5 cores on a host of 8
    assert machine.memory_bytes == 8 * 2**30
    assert machine.simd == "avx2"


def test_an_arm_board_without_model_or_core_ids() -> None:
    machine = linux("arm")
    assert (machine.chip, machine.cpu_cores, machine.memory_bytes, machine.simd) == (None, 4, None, None)
    assert describe(machine) == "Linux x86_64, 4 CPU cores"


def test_no_cpuinfo_is_unknown() -> None:
    assert parse_cpu_cores("") is None
    assert parse_simd("") is None


def test_an_nvidia_gpu_counts_when_mlx_has_its_cuda_half() -> None:
    machine = linux("h200", "mlx", "mlx-cuda-13")
    assert machine.gpu == Gpu("cuda", "NVIDIA H200")
    assert machine.memory_bytes == 131072000 * 1024  # "max" means no limit
    assert linux("h200", "mlx").gpu is None


def test_where_the_driver_has_no_folder_nvidia_smi_is_asked() -> None:
    listing = "GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-11111111-2222-3333-4444-555555555555)\n"
    assert linux("xeon", "mlx-cuda-12", smi=listing).gpu == Gpu("cuda", "NVIDIA GeForce RTX 4090")
    assert linux("xeon", "mlx-cuda-12", smi=None).gpu is None


def test_a_machine_in_one_line() -> None:
    assert describe(mac("m4-pro")) == "Apple M4 Pro, 20 GPU cores, 14 CPU cores, 24 GB, macOS 26.1"
    assert describe(linux("h200", "mlx-cuda-13")) == (
        "Intel(R) Xeon(R) Platinum 8480+, NVIDIA H200, 2 CPU cores, 125 GB"
    )


def test_a_command_that_is_missing_or_fails_says_nothing() -> None:
    assert run_command(["no-such-program-here"]) is None
    assert run_command([sys.executable, "-c", "raise SystemExit(3)"]) is None
    assert run_command([sys.executable, "-c", "print('said')"]) == "said\n"


def test_this_machine_is_read_without_importing_mlx() -> None:
    code = (
        "import sys; from autoresearch_mlx.hardware.machine import read_machine;"
        "machine = read_machine(); print('mlx' in sys.modules, machine.mlx, machine.cpu_cores > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, version, cores = done.stdout.split()
    assert (loaded, cores) == ("False", "True")
    assert version != "None"
