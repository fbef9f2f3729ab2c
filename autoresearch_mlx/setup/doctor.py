"""Examine the machine, the lab, the target and every setting; `doctor` prints the findings."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.agents import load_agent
from autoresearch_mlx.agents.knobs.range_notes import notes_on_ranges
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.presets import PRESETS, command_line, find_preset, lacks_permission, program_of
from autoresearch_mlx.errors import AutoresearchError
from autoresearch_mlx.experiment import Tenant
from autoresearch_mlx.hardware.blas import advice, child_environment, find_blas
from autoresearch_mlx.hardware.chips import find_chip, read_chips
from autoresearch_mlx.hardware.doctor_lines import Line, Subject, machine_lines, state_lines
from autoresearch_mlx.hardware.machine import Machine, describe, read_machine
from autoresearch_mlx.hardware.profile import Profile, choose_profile
from autoresearch_mlx.lab.config import Resolved, Settings, load_settings
from autoresearch_mlx.lab.lab import Lab, find_lab
from autoresearch_mlx.store.git import git, resolve, top_of
from autoresearch_mlx.store.locks import holder
from autoresearch_mlx.store.workspace import Workspace
from autoresearch_mlx.targets.contract import Finding, Place
from autoresearch_mlx.targets.corpus import prepare as corpora
from autoresearch_mlx.targets.pretrain.calibrated import calibration_here
from autoresearch_mlx.targets.pretrain.peak import run_probe
from autoresearch_mlx.targets.registry import kind_of, with_defaults


def examine(start: Path) -> Iterator[Finding]:
    """Examine the machine, the lab at ``start``, its target and its settings; yield the findings.

    A fault becomes a finding, never an exception.
    """
    machine = read_machine()
    here = _here(start)
    settings = here[1].settings if here is not None else Settings()
    profile = _profile(machine, settings)
    info: dict[str, Any] = {}
    yield from _machine(machine, profile)
    yield from _matmul(machine, profile, info)
    yield from _chip(here[0] if here is not None else None, settings, machine, profile, info)
    yield from _night(machine)
    yield from _coding_agents()
    yield from _git(start)
    try:
        lab = find_lab(start)
    except AutoresearchError as error:
        yield Finding("lab", "lab", str(error), "fail", error.hint)
        return
    yield from _lab(lab)
    try:
        resolved = load_settings(lab.root)
    except AutoresearchError as error:
        yield Finding("settings", "lab.toml", str(error), "fail", error.hint)
        return
    yield from _target(lab, resolved, machine, profile)
    yield from _agent(resolved, machine)
    yield from _settings(lab, resolved)


def _here(start: Path) -> tuple[Lab, Resolved] | None:
    """Return the lab at ``start`` and its settings; None if there is no lab, or if the settings are wrong."""
    try:
        lab = find_lab(start)
        return lab, load_settings(lab.root)
    except AutoresearchError:
        return None


def _profile(machine: Machine, settings: Settings) -> Profile:
    try:
        return choose_profile(machine, settings.hardware.profile)
    except AutoresearchError:
        return choose_profile(machine)


def _chip(
    lab: Lab | None, settings: Settings, machine: Machine, profile: Profile, info: Mapping[str, Any]
) -> Iterator[Finding]:
    """Yield the chip's row in the table of chips, and the measurements of this machine."""
    try:
        found = find_chip(machine, read_chips())
    except AutoresearchError as error:
        yield Finding("machine", "chip", str(error), "fail", error.hint)
        found = None
    calibration, why = calibration_here(settings, lab, machine, profile)
    for line in machine_lines(Subject(machine, profile, found, info, calibration, why)):
        yield _finding(line)


def _machine(machine: Machine, profile: Profile) -> Iterator[Finding]:
    yield Finding("machine", "machine", describe(machine))
    yield Finding("machine", "python", f"{machine.python} ({sys.executable})")
    packages = {name: _version(name) for name in ("mlx", "mlx-lm", "tokenizers", "openai")}
    missing = [name for name, version in packages.items() if version is None]
    known = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    hint = "install autoresearch-mlx again" if missing else ""
    yield Finding("machine", "packages", known, "fail" if missing else "ok", hint)
    yield Finding("machine", "profile", f"{profile.name} ({profile.why.rstrip('.')})")


def _matmul(machine: Machine, profile: Profile, info: dict[str, Any]) -> Iterator[Finding]:
    """Time a matrix product in a child process, in the environment of a training run; yield the speed and the BLAS.

    The facts that MLX reports about the device are added to ``info``.
    """
    try:
        blas = find_blas(corpora.default_cache(), machine)
    except AutoresearchError as error:
        yield Finding("machine", "BLAS", str(error), "fail", error.hint)
        return
    slow = machine.gpu is None and blas.source in ("reference", "off")
    if (said := advice(blas)) is not None and machine.gpu is None:
        yield Finding("machine", "BLAS", said, "note" if slow else "ok")
    dtype = "float32" if profile.device == "cpu" else "bfloat16"
    try:
        found = run_probe(child_environment(blas), 512 if slow else 1024, dtype, "--info")
        info.update(found["info"])
        value = f"{found['gflops']:.0f} GFLOP/s {dtype} on the {found['device']}, measured now"
        yield Finding("machine", "matmul", value)
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError) as error:
        last = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1:]
        yield Finding("machine", "matmul", f"MLX does not work: {' '.join(last)}", "fail", "install mlx again")


def _night(machine: Machine) -> Iterator[Finding]:
    """Yield the machine's state: power, heat, memory, and whether it stays awake."""
    for line in state_lines(machine.gpu.kind if machine.gpu is not None else None):
        yield _finding(line)


def _finding(line: Line) -> Finding:
    return Finding("machine", line.name, line.value, "note" if line.note else "ok", line.hint)


def _git(start: Path) -> Iterator[Finding]:
    try:
        yield Finding("lab", "git", git(start, "--version").strip())
    except AutoresearchError as error:
        yield Finding("lab", "git", str(error), "fail", error.hint)


def _lab(lab: Lab) -> Iterator[Finding]:
    yield Finding("lab", "lab", str(lab.root))
    if not os.access(lab.state if lab.state.exists() else lab.root, os.W_OK):
        yield Finding("lab", "folder", "cannot be written", "fail", "copy the lab to a folder where you may write")
    try:
        top = top_of(lab.root)
    except AutoresearchError as error:
        yield Finding("lab", "repository", str(error), "fail", error.hint)
        return
    if top is None:
        yield Finding("lab", "repository", "none", "fail", "`git init` and commit in the lab's folder")
    elif (head := resolve(lab.root, "HEAD")) is None:
        yield Finding("lab", "repository", f"{top} has no commit", "fail", "`git add -A && git commit` there")
    else:
        yield Finding("lab", "repository", f"{top} at {head[:7]}")
    tag = lab.current()
    if tag is None:
        yield Finding("lab", "session", "none yet", hint="`autoresearch-mlx run` starts one")
    else:
        pid = holder(lab.folder(tag))
        yield Finding("lab", "session", f"{tag}, {f'in use by process {pid}' if pid else 'not running'}")


def _target(lab: Lab, resolved: Resolved, machine: Machine, profile: Profile) -> Iterator[Finding]:
    """Yield the target's own findings, for example on its data and its sandbox."""
    try:
        kind = kind_of(resolved.settings, lab.root)
    except AutoresearchError as error:
        yield Finding("target", "target", str(error), "fail", error.hint)
        return
    settings = with_defaults(resolved.settings, kind)
    yield from _committed(lab, settings.target.editable)
    yield from kind.doctor_rows(Place(settings, lab, machine, profile))


def _committed(lab: Lab, editable: Sequence[str]) -> Iterator[Finding]:
    """Yield the faults of the editable files in the last commit; a new session starts from that commit."""
    head = resolve(lab.root, "HEAD") if top_of(lab.root) is not None else None
    workspace = Workspace(lab.root, lab.state, "doctor", editable)
    files = workspace.read(head) if head is not None else {}
    if head is not None and not files:
        said, remedy = workspace.why_none(head)
        yield Finding("lab", "files", said, "fail", remedy)
    for note in notes_on_ranges(files):
        yield Finding("lab", "knobs", note, "note")


def _agent(resolved: Resolved, machine: Machine) -> Iterator[Finding]:
    """Yield findings on the agent that `run` would use.

    A model's server is asked only for the list of its models; no model writes text.
    """
    said: list[str] = []
    settings = resolved.settings.agent
    if (line := command_line(settings.name)) is not None:
        yield _command(settings.name, line or settings.command or "")
        return
    try:
        agent = load_agent(settings.name, Office(settings, say=said.append, memory_bytes=machine.memory_bytes))
    except AutoresearchError as error:
        yield Finding("agent", "agent", str(error), "fail", error.hint)
        return
    yield Finding("agent", "agent", "; ".join(said).removeprefix("agent: ") or agent.name)
    if isinstance(agent, Tenant):
        agent.close()


def _command(name: str, line: str) -> Finding:
    """Return a finding on a coding agent: its shell line, and a hint if its program is missing or may not edit."""
    shown = f"command: {line}" if name.startswith(("command", "hybrid:command")) else f"{name}: {line}"
    program = program_of(line)
    if not program:
        hint = 'set [agent] command = "claude -p ..." in lab.toml'
        return Finding("agent", "agent", "the agent `command` has no command line", "fail", hint)
    if program.isidentifier() and shutil.which(program) is None:
        preset = find_preset(program)
        hint = f"{program} is not on PATH" + (f": {preset.install}" if preset is not None else "")
        return Finding("agent", "agent", shown, "note", hint)
    if lacking := lacks_permission(line):
        return Finding("agent", "agent", shown, "note", f"{lacking}; `--agent {program}` passes that option")
    return Finding("agent", "agent", shown)


def _coding_agents() -> Iterator[Finding]:
    """Yield a finding for each coding agent on PATH, with the shell line that permits the agent to edit."""
    found = [(preset, where) for preset in PRESETS if (where := shutil.which(preset.name)) is not None]
    for preset, where in found:
        may = f"`--agent {preset.name}` lets this agent edit: {preset.shell_line()}"
        yield Finding("coding agents", preset.name, f"{where}; {may} (tested with {preset.ran})")
    if not found:
        names = ", ".join(preset.name for preset in PRESETS)
        yield Finding("coding agents", "on PATH", f"none of {names}")


def _settings(lab: Lab, resolved: Resolved) -> Iterator[Finding]:
    """Yield every setting with its source.  For a setting that is not given, the target's own default is shown."""
    with suppress(AutoresearchError):
        kind = kind_of(resolved.settings, lab.root)
        resolved = resolved.model_copy(update={"settings": with_defaults(resolved.settings, kind)})
    for name, value, source in resolved.rows():
        shown = _shown(value)
        yield Finding("settings", name, f"{shown}  ({source})")


def _shown(value: Any) -> str:
    """Return a setting's value as text; ``-`` if it is not set."""
    if isinstance(value, tuple):
        return ", ".join(each["name"] if isinstance(each, dict) else each for each in value) or terms.UNKNOWN
    return str(value).lower() if isinstance(value, bool) else terms.UNKNOWN if value in (None, "") else str(value)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
