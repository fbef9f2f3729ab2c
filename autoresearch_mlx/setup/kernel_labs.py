"""Profile a lab's script, and make kernel labs from rows of the profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.setup.kernel_sizes import at_its_sizes, sized
from autoresearch_mlx.store.git import commit_all, init_repository
from autoresearch_mlx.targets.confine import sandbox_of
from autoresearch_mlx.targets.kernel.children import surroundings
from autoresearch_mlx.targets.kernel.extract import FOLDER, extract, remember, remembered, row_named, wanted_of
from autoresearch_mlx.targets.kernel.kind import mlx_version
from autoresearch_mlx.targets.kernel.profile import Profile, profile_of
from autoresearch_mlx.targets.kernel.profiled import profiled, script_of
from autoresearch_mlx.targets.kernel.request import Mode
from autoresearch_mlx.targets.kernel.starters import METAL, starter_named
from autoresearch_mlx.targets.kernel.steps import script_text
from autoresearch_mlx.targets.kernel.task import KERNEL, REFERENCE, TASK, Task

_FILES = (KERNEL, REFERENCE, TASK, "lab.toml", "program.md")


@dataclass(frozen=True, slots=True)
class Made:
    """A new kernel lab."""

    folder: Path
    task: Task

    def facts(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "task": self.task.name, "free": self.task.free, "odd": self.task.odd}

    def lines(self) -> list[str]:
        from autoresearch_mlx.targets.kernel.measuring import in_words

        task = self.task
        odd = "; ".join(map(in_words, task.odd)) or "none, because the function takes no other shape"
        gradient = ", with its gradient" if task.differentiated else ""
        return [
            f"{task.function}{gradient}: sizes {in_words(task.sizes)}; unusual shapes to test: {odd}",
            f"error allowed for a number: {task.tolerance:g} of the sum of its size and the output's root mean square;"
            f" root mean square of all errors: at most {task.typical:g} of the output's root mean square",
            f"to beat: the fastest of {', '.join(task.baselines)}",
            f"next: cd {self.folder} && autoresearch-mlx run --experiments 12",
        ]


def profile_here(lab: Lab, mode: Mode, script: Path | None, **sizes: int | None) -> Profile:
    """Profile a script of this lab and return the profile; a profile of a whole step is stored for `kernel extract`.

    ``sizes`` has the sizes of inputs that the user named.  Raises LabError.
    """
    machine, settings = read_machine(), load_settings(lab.root).settings
    fit = choose_profile(machine, settings.hardware.profile)
    path = script_of(lab.root, script)
    at = sized(lab, path, script_text(path), settings, fit, sizes)
    with at_its_sizes(path, at.text) as file:
        found = profiled(file, mode, machine, fit, sandbox_of(settings), settings.seed, at.inputs)
    found = replace(found, sizes=at.words)
    if mode == "step":
        lab.make_state()
        remember(lab.state, path, at.text, found, at.inputs)
    return found


def new_kernel_lab(
    lab: Lab, row: str, folder: Path | None, first: Path | None, script: Path | None, say: Callable[[str], None]
) -> Made:
    """Make a kernel lab for a row of the profile, as a separate git repository; profile the script first if needed.

    Raises LabError.
    """
    path = script_of(lab.root, script)
    machine, settings = read_machine(), load_settings(lab.root).settings
    fit = choose_profile(machine, settings.hardware.profile)
    text = sized(lab, path, script_text(path), settings, fit).text
    note = remembered(lab.state, path, text)
    if note is None:
        say(f"profiling {path.name} first")
        profile_here(lab, "step", script)
        note = remembered(lab.state, path, text)
    if note is None:
        raise LabError(f"{path.name} was changed while it was profiled", "try again")
    profile, sizes = profile_of(note["profile"]), note["sizes"]
    around = surroundings(machine, fit.device, sandbox_of(settings))
    start = first.read_text(encoding="utf-8") if first is not None else None
    with at_its_sizes(path, text) as file:
        wanted = wanted_of(row_named(profile, row), file)
        target = (folder if folder is not None else path.parent / FOLDER / wanted.name).resolve()
        task = extract(wanted, target, around, profile.chip, profile.mlx, sizes["vocab_size"], sizes["seq_len"], start)
    return _committed(target, task, _FILES, folder is None)


def new_starter_lab(lab: Lab, name: str, folder: Path | None, first: Path | None) -> Made:
    """Make a kernel lab for the starter ``name``, with sizes for this machine's device.  Raises LabError."""
    starter = starter_named(name)
    target = (folder if folder is not None else lab.root / FOLDER / starter.name).resolve()
    machine, settings = read_machine(), load_settings(lab.root).settings
    fit = choose_profile(machine, settings.hardware.profile)
    around = surroundings(machine, fit.device, sandbox_of(settings))
    text = first.read_text(encoding="utf-8") if first is not None else None
    chip = machine.chip or machine.arch
    task = extract(starter.wanted(fit.device), target, around, chip, mlx_version(), fit.vocab_size, fit.seq_len, text)
    (target / METAL).write_text(starter.text("metal"), encoding="utf-8")
    return _committed(target, task, (*_FILES, METAL), folder is None)


def _committed(target: Path, task: Task, files: Sequence[str], ours: bool) -> Made:
    """Make the folder ``target`` a git repository with one commit.

    ``ours`` is true if the folder is in the script's folder ``kernels/``; the outer repository is then told to ignore
    ``kernels/``.
    """
    if ours and not (target.parent / ".gitignore").exists():
        (target.parent / ".gitignore").write_text("*\n", encoding="utf-8")
    init_repository(target)
    commit_all(target, files, f"A lab for {task.name}")
    return Made(target, task)
