"""Measure how much the kept kernels of kernel labs speed up the whole training step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from autoresearch_mlx.errors import LabError, WorkspaceError
from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.hardware.machine import Machine, read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.judge.student_t import quantile
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import SCRIPT, Lab, find_lab, find_session
from autoresearch_mlx.setup.kernel_sizes import sized
from autoresearch_mlx.store.git import git
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.ledger import FILE, Ledger, read
from autoresearch_mlx.store.locks import locked
from autoresearch_mlx.targets.confine import sandbox_of
from autoresearch_mlx.targets.kernel.candidate import Candidate, Refused, read_candidate
from autoresearch_mlx.targets.kernel.children import surroundings
from autoresearch_mlx.targets.kernel.extract import FOLDER
from autoresearch_mlx.targets.kernel.installing import installed_in, with_kernel, without_kernel
from autoresearch_mlx.targets.kernel.kind import mlx_version
from autoresearch_mlx.targets.kernel.steps import MOST_APART, Blocks, Versions, blocks_of, script_text
from autoresearch_mlx.targets.kernel.task import KERNEL, TASK, Task, read_task


@dataclass(frozen=True, slots=True)
class Kept:
    """One kept kernel of a kernel lab."""

    lab: Lab
    session: Path
    """Folder of the session that kept the kernel."""
    task: Task
    experiment: Experiment
    candidate: Candidate

    conditions: Mapping[str, Any]
    """Conditions of the session that kept the kernel."""

    def expired(self) -> str:
        """Return a warning if the kernel was kept on another chip or with another MLX; else an empty string."""
        was, here = self.conditions, read_machine()
        if was.get("mlx", mlx_version()) == mlx_version() and was.get("chip", _chip(here)) == _chip(here):
            return ""
        return f"the kernel was kept with MLX {was.get('mlx')} on {was.get('chip')}; its gain may differ here"

    @property
    def words(self) -> str:
        return f"{self.task.function}, experiment {self.experiment.number} of {self.lab.root.name}"


@dataclass(frozen=True, slots=True)
class InStep:
    """The effect on the whole step of one kernel, or of several kernels together."""

    kernels: tuple[str, ...]
    """Descriptions of the kernels."""
    functions: tuple[str, ...]
    script: str
    factor: float | None
    """Time of a plain step divided by the time of a step with the kernels; None if it could not be measured."""
    low: float | None
    high: float | None
    """``low`` and ``high`` are the ends of the factor's 90 % interval, computed from the processes' results."""
    processes: int
    pairs: int
    plain_seconds: float | None
    seconds: float | None
    """Seconds of one step with the kernels; ``plain_seconds`` is the time of a plain step."""
    clock: str
    """What was measured: ``processor`` means the processor time of the process, ``clock`` means wall-clock time."""
    apart: float | None
    mlx: str
    chip: str
    unused: str
    """Why the step was not measured; empty if it was measured."""
    partly: str = ""
    """A note that names the functions for which only some calls in the step use the kernel, and says why."""

    @property
    def verdict(self) -> str:
        """Return ``faster``, ``slower``, ``no difference`` or ``not measured``."""
        if self.factor is None or self.low is None or self.high is None:
            return "not measured"
        return "faster" if self.low > 1 else "slower" if self.high < 1 else "no difference"

    def words(self) -> str:
        """Return one sentence about the gain of the step, with MLX's version and the chip."""
        where = f"MLX {self.mlx}, {self.chip}"
        if self.factor is None:
            return f"the step of {self.script} was not measured: {self.unused} ({where})"
        said = f"{self.factor:.3f} times as fast (90 %: {self.low:.3f} to {self.high:.3f}; {where})"
        if self.verdict == "no difference":
            return f"no gain that can be told apart from chance: the step of {self.script} is {said}"
        return f"the step of {self.script} is {said}{', so it is slower' * (self.verdict == 'slower')}"

    def facts(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict, "words": self.words()}


def script_here(lab: Lab, script: Path | None) -> Path:
    """Return the path of the script that gets the kernels: ``script`` if given, else the lab's own script.

    The script of a kernel lab is two folders above the lab.  Raises LabError when the script does not exist.
    """
    if script is None:
        here = (lab.root / TASK).is_file()
        name = read_task(lab.root).script or SCRIPT if here else SCRIPT
        script = (lab.root.parent.parent if here else lab.root) / name
    if not script.is_file():
        raise LabError(f"there is no script {script.resolve()}", "name the training script: --script FILE")
    return script.resolve()


def kernel_labs(lab: Lab, named: Sequence[Path], script: Path) -> list[Lab]:
    """Return the kernel labs in the folders ``named``.

    Without a folder, return this lab if it is a kernel lab, else all kernel labs in ``kernels/`` beside the script.
    Raises LabError when no kernel lab is found.
    """
    folders = [path.resolve() for path in named]
    if not folders and (lab.root / TASK).is_file():
        folders = [lab.root]
    folders = folders or sorted(path.parent for path in (script.parent / FOLDER).glob(f"*/{TASK}"))
    if not folders:
        said = f"there is no kernel lab in {script.parent / FOLDER}"
        raise LabError(said, "`autoresearch-mlx kernel extract f1` makes a kernel lab for the function f1")
    for folder in folders:
        read_task(folder)
    return [Lab(folder) for folder in folders]


def kept_in(lab: Lab, tag: str | None, every: bool) -> list[Kept]:
    """Return the newest kernel that a lab's session has kept; with ``every``, all kept kernels, the oldest first.

    Raises LabError when the session has kept no kernel.
    """
    task, session = read_task(lab.root), find_session(lab, tag)
    journal = read(session / FILE)
    history, conditions = journal.history, journal.session.get("conditions") or {}
    kept = [e for e in history.experiments if e.status == "keep" and e.commit]
    found = []
    for experiment in kept if every else kept[-1:]:
        try:
            text = git(lab.root, "show", f"{experiment.commit}:./{KERNEL}")
            candidate = read_candidate(text, task)
        except WorkspaceError as error:
            raise LabError(f"experiment {experiment.number} of {lab.root.name}: {error}") from None
        except Refused as refused:
            raise LabError(f"{KERNEL} of experiment {experiment.number} is refused: {refused}") from None
        if candidate.forms:
            found.append(Kept(lab, session, task, experiment, candidate, conditions))
    if not found:
        said = f"{lab.root.name} has no kept kernel yet"
        raise LabError(said, f"`autoresearch-mlx run` in {lab.root} looks for a faster kernel")
    return found


def kept_of(
    lab: Lab,
    named: Sequence[Path],
    script: Path | None,
    tag: str | None,
    say: Callable[[str], None],
    every: bool = False,
) -> tuple[Path, list[Kept]]:
    """Return the script, and the kept kernels of the kernel labs.

    A message names each lab that has kept no kernel.  Raises LabError when no lab has kept a kernel.
    """
    path = script_here(lab, script)
    labs = kernel_labs(lab, named, path)
    kept: list[Kept] = []
    for each in labs:
        try:
            kept += kept_in(each, tag, every)
        except LabError as error:
            if len(labs) == 1:
                raise
            say(f"{error}; this lab is left out")
    if not kept:
        raise LabError(
            "no kernel lab has a kept kernel", "`autoresearch-mlx run` in a kernel lab looks for a faster kernel"
        )
    return path, kept


def plain_text(script: Path, functions: Sequence[str]) -> str:
    """Return the script's text without the installed kernels of these functions.  Raises LabError."""
    text = script_text(script)
    for each in installed_in(text):
        if each.function in functions:
            text = without_kernel(text, each.function, script.name)
    return text


def in_step(kept: Sequence[Kept], script: Path, processes: int, pairs: int, say: Callable[[str], None]) -> InStep:
    """Measure how much the kernels in ``kept``, all together, change the time of a script's step.  Raises LabError."""
    functions = tuple(each.task.function for each in kept)
    lab = find_lab(script.parent)
    machine, settings = read_machine(), load_settings(lab.root).settings
    fit = choose_profile(machine, settings.hardware.profile)
    at = sized(lab, script, plain_text(script, functions), settings, fit)
    changed = at.text
    for each in kept:
        changed = with_kernel(changed, each.task, each.candidate.source, script.name)
    around = surroundings(machine, fit.device, sandbox_of(settings))
    sizes = at.inputs
    versions = Versions(script.name, script.parent, at.text, changed, functions, sizes["vocab_size"], sizes["seq_len"])
    named = " and ".join(each.words for each in kept)

    say(at.words)
    for each in kept:
        if expired := each.expired():
            say(f"{each.words}: {expired}")

    def told(number: int) -> None:
        say(f"{named}: process {number} of {processes}, {pairs} pairs of blocks")

    blocks = blocks_of(versions, around, processes, pairs, settings.seed, told)
    words = tuple(each.words for each in kept)
    clock = "clock" if around.gpu else "processor"
    return _in_step(blocks, words, versions, processes, clock, _chip(machine))


def _chip(machine: Machine) -> str:
    return machine.chip or machine.arch


def _in_step(
    blocks: Blocks, kernels: tuple[str, ...], versions: Versions, processes: int, clock: str, chip: str
) -> InStep:
    unused = blocks.unused
    if not unused and blocks.apart is not None and blocks.apart > MOST_APART:
        share = 100 * blocks.apart
        unused = f"the first losses differ by {share:.2g} %, so with the kernel the step computes something else"
    centre = low = high = None
    if not unused:
        middle = mean(blocks.logs)
        error = quantile(0.95, processes - 1) * stdev(blocks.logs) / math.sqrt(processes)
        centre, low, high = (round(math.exp(each), 5) for each in (middle, middle - error, middle + error))
    return InStep(
        *(kernels, versions.functions, versions.name, centre, low, high, processes, blocks.pairs),
        plain_seconds=None if unused else round(blocks.plain_seconds, 7),
        seconds=None if unused else round(blocks.seconds, 7),
        clock=clock,
        apart=blocks.apart,
        mlx=mlx_version(),
        chip=chip,
        unused=unused,
        partly=blocks.partly,
    )


def verify(kept: Kept, script: Path, processes: int, pairs: int, say: Callable[[str], None]) -> InStep:
    """Measure one kernel in the step, and write the result into the ledger of the kernel's session.

    The session is locked during the measurement.  Raises LabError, and LockedError when the session is in use.
    """
    with locked(kept.session):
        found = in_step([kept], script, processes, pairs, say)
        Ledger(kept.session).append("in_step", number=kept.experiment.number, time=now(), **found.facts())
    return found
