"""Run the programs of the system whose outputs this package parses, and report what the parsers read.

A run uses the same parsers (``hardware/machine.py``, ``hardware/state/``).  During a night, an output that the parsers
cannot read gives unknown facts and no error, so that the night goes on.  The self-test reports such outputs.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoresearch_mlx.hardware.machine import (
    parse_cpu_cores,
    parse_cpu_model,
    parse_displays,
    parse_sw_vers,
    parse_sysctl,
)
from autoresearch_mlx.hardware.state import State, linux, macos, nvidia
from autoresearch_mlx.setup.selftest.check import Doing, Ground, Output, Result
from autoresearch_mlx.setup.selftest.check import State as Kind

LATE_SECONDS = 2.0
"""Seconds for which a run waits for the outputs of the system's programs (``hardware/state/commands.py``)."""
_SECONDS = 10.0
"""Seconds after which the self-test ends a program that still runs."""
_ENDED = "ended with"
_SHOWN = 100
"""Largest number of characters that the report quotes from an output that cannot be read."""
Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was read from one output, or why the output could not be read."""

    state: Kind
    words: str


@dataclass(frozen=True, slots=True)
class Program:
    """A program of the system, and how its output is read."""

    name: str
    line: tuple[str, ...]
    facts: Callable[[str], Facts]
    """Function that returns the facts in an output, by name; a fact that the output does not contain is None."""
    optional: frozenset[str] = frozenset()
    """Facts that some machines do not have."""
    shape: str = ""
    """Regular expression that matches a correct output without facts; empty if every correct output has facts."""
    silent: bool = False
    """True if the program prints nothing on some machines."""

    @property
    def command(self) -> str:
        return " ".join(self.line)

    def judge(self, text: str) -> Verdict:
        """Return the verdict on an output."""
        facts = self.facts(text)
        known = {name: value for name, value in facts.items() if value is not None}
        missing = [name for name in facts if name not in known and name not in self.optional]
        if not text.strip():
            return Verdict("ok", "prints nothing") if self.silent else Verdict("fail", "printed nothing")
        if not known:
            if self.shape and re.search(self.shape, text, re.MULTILINE):
                return Verdict("ok", f"does not contain {' or '.join(facts)}, which is normal")
            return Verdict("fail", f"printed nothing that we can read: {_first_line(text)}")
        if missing:
            return Verdict("fail", f"does not contain {' or '.join(missing)}: {_first_line(text)}")
        return Verdict("ok", ", ".join(f"{name} {_shown(value)}" for name, value in known.items()))


def programs_of(system: str = "") -> tuple[Program, ...]:
    """Return the programs whose outputs are parsed on the system ``system``, by default this system."""
    common = (Program("git", ("git", "--version"), _git),)
    if (system or platform.system()) == "Darwin":
        return (*_MAC, *common)
    return (*(_NVIDIA if shutil.which("nvidia-smi") else ()), *common)


def check_outputs(ground: Ground, doing: Doing, system: str = "", root: Path = Path("/")) -> Result:
    """Check that this package can read the outputs of the system's programs and the system's files.

    Tests give ``system`` and the folder ``root`` to check recorded outputs and files of a different system.
    """
    doing("running the programs of the system")
    found: list[Verdict] = []
    outputs: list[Output] = []
    programs = programs_of(system)
    for program, (output, trouble) in zip(programs, _run_all(programs), strict=True):
        verdict = program.judge(output.text)
        if trouble:
            # A program that prints nothing on some machines may also fail there.
            verdict = Verdict("note" if program.silent and trouble.startswith(_ENDED) else "fail", trouble)
        outputs.append(replace(output, read=verdict.words))
        found.append(replace(verdict, words=f"`{program.command}` {verdict.words}"))
        if verdict.state == "ok" and (output.seconds or 0) > LATE_SECONDS and program.name in macos.COMMANDS:
            late = f"takes {output.seconds:.1f} s; a run waits only {LATE_SECONDS:g} s, then goes on without the output"
            found.append(Verdict("note", f"`{program.command}` {late}"))
    if (system or platform.system()) != "Darwin":
        found += _files(root)
        outputs += _shown_files(root)
    wrong = [each.words for each in found if each.state == "fail"]
    look = [each.words for each in found if each.state == "note"]
    if wrong or look:
        return Result("fail" if wrong else "note", "; ".join(wrong or look), tuple(outputs))
    untold = [each.words for each in found if each.state == "absent"]
    rest = f"; not known on this machine: {', '.join(untold)}" if untold else ""
    return Result("ok", f"{len(outputs)} outputs read{rest}", tuple(outputs))


def _run_all(programs: Sequence[Program]) -> list[tuple[Output, str]]:
    if not programs:
        return []
    with ThreadPoolExecutor(len(programs)) as pool:
        return list(pool.map(lambda program: run_program(program.line), programs))


def run_program(line: Sequence[str], seconds: float = _SECONDS) -> tuple[Output, str]:
    """Run a program; return its output, and a message about why it failed (empty if it did not fail).

    A program that takes longer than ``seconds`` is ended, with all processes that it started.  Raises nothing.
    """
    began, said = time.monotonic(), " ".join(line)
    try:
        child = subprocess.Popen(
            list(line),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},
            start_new_session=True,
        )
    except OSError as error:
        return Output(said, ""), f"cannot be run: {error.strerror}"
    trouble = ""
    try:
        text = child.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        trouble = f"did not end within {seconds:g} s and was ended"
        text = ""
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    if trouble:
        with suppress(subprocess.TimeoutExpired):
            text = child.communicate(timeout=1.0)[0]
    elif child.returncode != 0:
        trouble = f"{_ENDED} {child.returncode}: {_first_line(text) or 'no output'}"
    return Output(said, text, round(time.monotonic() - began, 2)), trouble


# --- macOS


def _state(name: str) -> Callable[[str], State]:
    return lambda text: macos.read(lambda commands: {name: text})


def _of_state(name: str, **fields: str) -> Callable[[str], Facts]:
    """Return a function that reads fields of the machine's state from the output of the command ``name``.

    ``fields`` maps the name that the report shows to the field of :class:`State`.
    """

    def facts(text: str) -> Facts:
        state = _state(name)(text)
        return {words.replace("_", " "): getattr(state, field) for words, field in fields.items()}

    return facts


def _busy(text: str) -> Facts:
    return {"load of the GPU in percent": _state("gpu")(text).gpu.busy_percent}


def _displays(text: str) -> Facts:
    gpu = parse_displays(text)
    return {"GPU": gpu.name if gpu else None, "GPU cores": gpu.cores if gpu else None}


def _chip(text: str) -> Facts:
    facts = parse_sysctl(text)
    names = {"chip": "machdep.cpu.brand_string", "cores": "hw.physicalcpu", "bytes of memory": "hw.memsize"}
    return {words: facts.get(name) for words, name in names.items()}


def _git(text: str) -> Facts:
    match = re.match(r"git version (\d+\.\d+\S*)", text)
    return {"version": match.group(1) if match else None}


_IOREG = r"^\+-o |^\s*\|?\s*\{"
_MAC = (
    Program("sw_vers", ("sw_vers",), lambda text: {"system": parse_sw_vers(text)}),
    Program("chip", ("sysctl", "machdep.cpu.brand_string", "hw.physicalcpu", "hw.memsize"), _chip),
    Program("displays", ("system_profiler", "SPDisplaysDataType", "-json"), _displays),
    Program("batt", macos.COMMANDS["batt"], _of_state("batt", power="power", percent="battery_percent"),
            frozenset({"percent"})),
    Program("settings", macos.COMMANDS["settings"], _of_state("settings", Low_Power_Mode="low_power_mode"),
            shape=r"^(Currently in use|Active Profiles|System-wide power settings):"),
    Program("therm", macos.COMMANDS["therm"], _of_state("therm", CPU_speed_limit="cpu_speed_percent"),
            shape=r"^Note: No .*warning level", silent=True),
    Program("assertions", macos.COMMANDS["assertions"], _of_state("assertions", display_awake="display_on"),
            shape=r"^Assertion status system-wide:"),
    Program("display", macos.COMMANDS["display"], _of_state("display", display_awake="display_on"),
            shape=r"Current State|IODisplayWrangler|[Nn]o .*(driver|device)", silent=True),
    Program("pressure", macos.COMMANDS["pressure"], _of_state("pressure", thermal_pressure="thermal")),
    Program("sysctl", macos.COMMANDS["sysctl"], _of_state("sysctl", memory_pressure="memory_pressure",
            free_MB="memory_free_mb", swap_MB="swap_used_mb")),
    Program("lid", macos.COMMANDS["lid"], _of_state("lid", lid_closed="lid_closed"), shape=_IOREG, silent=True),
    Program("battery", macos.COMMANDS["battery"], _of_state("battery", Celsius="battery_c"), shape=_IOREG, silent=True),
    Program("gpu", macos.COMMANDS["gpu"], _busy),
)  # fmt: skip


# --- Linux


def _graphics(text: str) -> Facts:
    state = nvidia.added(State(), lambda commands: {"gpu": text})
    return {"Celsius": state.temperature_c, "load of the GPU in percent": state.gpu.busy_percent}


_NVIDIA = (
    Program("nvidia", nvidia.commands("0")["gpu"], _graphics),
    Program("users", nvidia.commands("0")["users"], lambda text: {"programs": nvidia.users(text) or None}, silent=True),
)


def _files(root: Path) -> Iterator[Verdict]:
    """Yield a verdict on each fact that could not be read from the files of a Linux system.

    Processor, memory and load must be known on every machine; other facts may be missing.
    """
    state, cpu = linux.read(root), _text(root / "proc/cpuinfo")
    needed = {
        "proc/cpuinfo": parse_cpu_model(cpu) or parse_cpu_cores(cpu),
        "proc/meminfo": state.memory_free_mb,
        "proc/loadavg": state.load,
    }
    for file, fact in needed.items():
        if fact is None:
            yield Verdict("fail", f"/{file} contains nothing that we can read")
    told = {
        "power": state.power,
        "heat": state.thermal or state.temperature_c,
        "memory pressure": state.memory_pressure,
    }
    yield from (Verdict("absent", name) for name, fact in told.items() if fact is None)


def _shown_files(root: Path) -> Iterator[Output]:
    """Yield, for each file of a Linux system that a run reads, the lines that the run uses."""
    for file, pattern in {
        "etc/os-release": "^PRETTY_NAME.*",
        "proc/cpuinfo": r"^(?:model name.*|flags\s*:)|\b(?:avx512f|avx512bw|avx512dq|avx512vl|avx2|fma)\b",
        "proc/meminfo": "^(?:MemTotal|MemAvailable|SwapTotal|SwapFree).*",
        "proc/loadavg": ".+",
        "proc/pressure/memory": ".+",
        "sys/fs/cgroup/cpu.max": ".+",
        "sys/fs/cgroup/memory.max": ".+",
    }.items():
        lines = dict.fromkeys(" ".join(re.findall(pattern, line)) for line in _text(root / file).splitlines())
        if text := "\n".join(line for line in lines if line):
            yield Output(f"/{file}", text)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _first_line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def _shown(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
