"""Find out which computer this is, without importing MLX.

A fact that the system does not report is None and raises no error.  On macOS, three programs of the system report the
facts; :func:`run_command` calls these programs.  On Linux, the facts are in files below ``/proc``, ``/sys`` and
``/etc``.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Run: TypeAlias = Callable[[Sequence[str]], str | None]
Installed: TypeAlias = Callable[[str], str | None]
Simd: TypeAlias = Literal["avx512", "avx2"]

CUDA_BACKENDS = ("mlx-cuda-13", "mlx-cuda-12", "mlx-cuda")
COMMAND_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that the installed MLX can use."""

    kind: Literal["metal", "cuda"]
    name: str | None
    cores: int | None = None
    """Number of GPU cores as Apple counts them; None on CUDA."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One computer; an unknown fact is None."""

    system: str
    """``Darwin`` or ``Linux``, as :func:`platform.system` names it."""
    arch: str
    chip: str | None
    cpu_cores: int | None
    """Number of physical cores that this process may use, within its affinity and its container's quota."""
    memory_bytes: int | None
    """Size of the main memory, or the limit of the container if that is smaller."""
    os_version: str | None
    gpu: Gpu | None
    python: str
    mlx: str | None
    simd: Simd | None = None
    """The widest x86 vector instructions for which OpenBLAS has kernels; None on a processor without AVX2."""
    wheel: str | None = None
    """The platform of MLX's build on a Mac, such as ``macosx_26_0_arm64``; each platform has its own kernels."""


def run_command(command: Sequence[str]) -> str | None:
    """Return a command's standard output; None when the command is missing, fails, or takes over five seconds."""
    try:
        done = subprocess.run(
            list(command), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout


def package_version(name: str) -> str | None:
    """Return the version of an installed package from its metadata; None when the package is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def mlx_wheel() -> str | None:
    """Return the platform tag of the wheel that installed MLX's Metal code; None without such a wheel."""
    for name in ("mlx-metal", "mlx"):
        try:
            text = importlib.metadata.distribution(name).read_text("WHEEL") or ""
        except (importlib.metadata.PackageNotFoundError, OSError):
            continue
        if (tag := re.search(r"^Tag: \S+-(macosx_\w+)$", text, re.MULTILINE)) is not None:
            return tag.group(1)
    return None


def read_machine(
    run: Run = run_command,
    installed: Installed = package_version,
    system: str = "",
    arch: str = "",
    root: Path = Path("/"),
    wheel: Callable[[], str | None] = mlx_wheel,
) -> Machine:
    """Read the facts of this computer.  The arguments let a test read a recording of another computer."""
    system, arch = system or platform.system(), arch or platform.machine()
    return (
        _read_mac(run, installed, arch, wheel())
        if system == "Darwin"
        else _read_linux(run, installed, system, arch, root)
    )


def describe(machine: Machine) -> str:
    """Describe a machine in one line: ``Apple M4 Pro, 16 GPU cores, 24 GB, macOS 15.6``."""
    gpu = machine.gpu
    parts = [
        machine.chip or f"{machine.system} {machine.arch}",
        f"{gpu.cores} GPU cores" if gpu and gpu.cores else None,
        gpu.name if gpu and gpu.kind == "cuda" else None,
        f"{machine.cpu_cores} CPU cores" if machine.cpu_cores else None,
        f"{machine.memory_bytes / 2**30:.0f} GB" if machine.memory_bytes else None,
        machine.os_version,
    ]
    return ", ".join(part for part in parts if part)


# --- macOS ---------------------------------------------------------------------------------------


def _read_mac(run: Run, installed: Installed, arch: str, wheel: str | None) -> Machine:
    facts = parse_sysctl(run(["sysctl", "machdep.cpu.brand_string", "hw.physicalcpu", "hw.memsize"]) or "")
    chip = facts.get("machdep.cpu.brand_string")
    # Every Apple Silicon Mac has Metal, so the GPU is there even if system_profiler reports nothing.
    # A Python for Intel, native or under Rosetta, has no MLX at all.
    gpu = parse_displays(run(["system_profiler", "SPDisplaysDataType", "-json"]) or "") or Gpu("metal", chip)
    return Machine(
        system="Darwin",
        arch=arch,
        chip=chip,
        cpu_cores=_whole(facts.get("hw.physicalcpu")),
        memory_bytes=_whole(facts.get("hw.memsize")),
        os_version=parse_sw_vers(run(["sw_vers"]) or ""),
        gpu=gpu if arch == "arm64" else None,
        python=platform.python_version(),
        mlx=installed("mlx"),
        wheel=wheel,
    )


def parse_sysctl(text: str) -> dict[str, str]:
    """Read the lines ``name: value`` that ``sysctl`` prints."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs if value.strip()}


def parse_sw_vers(text: str) -> str | None:
    """Return the system's name and version, such as ``macOS 15.6.1``, from the output of ``sw_vers``."""
    facts = parse_sysctl(text)
    version = facts.get("ProductVersion")
    return f"{facts.get('ProductName', 'macOS')} {version}" if version else None


def parse_displays(text: str) -> Gpu | None:
    """Return the built-in GPU in the JSON of ``system_profiler SPDisplaysDataType``; None if there is none.

    Some Macs do not report the GPU's bus.  Then the first GPU made by Apple is used, because Apple's GPUs are built in.
    """
    try:
        cards = json.loads(text)["SPDisplaysDataType"]
        ours = [c for c in cards if "sppci_bus" not in c and c.get("spdisplays_vendor") == "sppci_vendor_Apple"]
        card = next((c for c in cards if c.get("sppci_bus") == "spdisplays_builtin"), None) or ours[0]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None
    return Gpu("metal", card.get("sppci_model"), _whole(card.get("sppci_cores")))


# --- Linux ---------------------------------------------------------------------------------------


def _read_linux(run: Run, installed: Installed, system: str, arch: str, root: Path) -> Machine:
    cpu = _text(root / "proc/cpuinfo")
    release = re.search(r'^PRETTY_NAME="?([^"\n]*)', _text(root / "etc/os-release"), re.MULTILINE)
    return Machine(
        system=system,
        arch=arch,
        chip=parse_cpu_model(cpu),
        cpu_cores=_usable_cores(parse_cpu_cores(cpu), root),
        memory_bytes=_usable_memory(root),
        os_version=release.group(1) if release else None,
        gpu=_cuda(run, installed, root),
        python=platform.python_version(),
        mlx=installed("mlx"),
        simd=parse_simd(cpu),
    )


def parse_cpu_model(text: str) -> str | None:
    """Return the processor's name in ``/proc/cpuinfo``; None if it is missing, as on most ARM kernels."""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else None


def parse_cpu_cores(text: str) -> int | None:
    """Return the number of physical cores in ``/proc/cpuinfo``.

    Hyper-threads are not counted, because they share a core and do not speed up a matrix product.
    """
    blocks = [parse_sysctl(block) for block in re.split(r"\n\s*\n", text) if "processor" in block]
    cores = {(b.get("physical id"), b["core id"]) for b in blocks if "core id" in b}
    return len(cores) or len(blocks) or None


def parse_simd(text: str) -> Simd | None:
    """Return ``avx512`` or ``avx2`` from the flags in ``/proc/cpuinfo``; None for any other processor.

    OpenBLAS's kernels set the conditions: SkylakeX needs all four AVX-512 parts, and Haswell needs AVX2 and FMA.
    """
    match = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    flags = set(match.group(1).split()) if match else set()
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags:
        return "avx512"
    return "avx2" if {"avx2", "fma"} <= flags else None


def _usable_cores(physical: int | None, root: Path) -> int | None:
    quota, _, period = _text(root / "sys/fs/cgroup/cpu.max").partition(" ")
    limits = [physical]
    if sys.platform == "linux" and root == Path("/"):
        limits.append(len(os.sched_getaffinity(0)))
    if (share := _whole(quota)) and (span := _whole(period)):
        limits.append(max(1, share // span))
    return min((limit for limit in limits if limit), default=None)


def _usable_memory(root: Path) -> int | None:
    match = re.search(r"^MemTotal:\s*(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    total = int(match.group(1)) * 1024 if match else None
    share = _whole(_text(root / "sys/fs/cgroup/memory.max"))
    return min((limit for limit in (total, share) if limit), default=None)


def _cuda(run: Run, installed: Installed, root: Path) -> Gpu | None:
    """Return the NVIDIA GPU that MLX can use; None without a GPU, or without MLX's CUDA package."""
    if not any(installed(name) for name in CUDA_BACKENDS):
        return None
    for card in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        return Gpu("cuda", parse_sysctl(_text(card)).get("Model"))
    # Inside WSL the driver has no folder under /proc.
    match = re.search(r"^GPU \d+: (.+?) \(UUID", run(["nvidia-smi", "-L"]) or "", re.MULTILINE)
    return Gpu("cuda", match.group(1)) if match else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _whole(text: str | None) -> int | None:
    try:
        return int(text) if text else None
    except ValueError:
        return None
