"""Define the conditions of a session of the target ``kernel``: the task, the baseline to beat, the held-out shape."""

from __future__ import annotations

import random
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import AutoresearchError, ConfigError, LabError
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.hardware.profile import Profile
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.targets.confine import in_the_record, limits_of, limits_row, sandbox_of
from autoresearch_mlx.targets.contract import Finding, Place, PlanFacts, TargetKind
from autoresearch_mlx.targets.kernel.children import Surroundings, surroundings
from autoresearch_mlx.targets.kernel.measuring import baselines
from autoresearch_mlx.targets.kernel.order import Order
from autoresearch_mlx.targets.kernel.stopwatch import converse
from autoresearch_mlx.targets.kernel.target import KernelTarget
from autoresearch_mlx.targets.kernel.task import KERNEL, REFERENCE, TASK, Sizes, Task, read_task, sealed
from autoresearch_mlx.trial.sandbox.detect import NoSandbox
from autoresearch_mlx.trial.sandbox.limits import Limits

_BELIEVED = 10.0
_TIMEOUT = 180.0


@dataclass(frozen=True, slots=True)
class KernelConditions:
    """The conditions of a session of the target ``kernel``."""

    task_sha256: str
    """SHA-256 of task.json and reference.py together."""
    baseline: str
    """Version of the reference that is the fastest on this machine: eager, compiled or fast."""
    baseline_seconds: Mapping[str, float]
    """Version -> seconds of one call, as measured when the session began."""
    held_out: Sizes
    """Sizes of the held-out shape, which were drawn when the session began.

    Only `certify` times the held-out shape, and no prompt shows it.
    """
    device: str
    chip: str
    mlx: str
    believe: float = _BELIEVED
    """Largest speed-up over the baseline that is believed; a larger measured speed-up counts as an error."""
    timeout_seconds: float = _TIMEOUT
    """Longest time of one measurement, in seconds."""


class KernelKind(TargetKind[KernelConditions]):
    """The kind of target that makes one function of a training step faster."""

    name = "kernel"
    conditions = KernelConditions
    metric = "log_speedup"
    direction = "max"
    editable = (KERNEL,)

    def check(self, settings: Settings) -> None:
        known = {"believe": float, "timeout_seconds": float}
        for name, value in settings.target.options.items():
            if name not in known:
                hint = f"valid options: {', '.join(known)}"
                raise ConfigError(f"the target kernel has no option target.options.{name}", hint)
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise ConfigError(f"target.options.{name} is {value!r}, not a number above 0", "correct it in lab.toml")

    def settle(self, place: Place) -> KernelConditions:
        """Measure every baseline to find the fastest, and draw the held-out shape.  Raises LabError."""
        self.check(place.settings)
        root, options = place.lab.root, place.settings.target.options
        task = read_task(root)
        around = _around(place)
        seconds = baseline_seconds(task, root, around, limits_of(place.settings, place.profile))
        fastest = min(seconds, key=lambda name: seconds[name])
        return KernelConditions(
            sealed(root),
            fastest,
            {name: round(each, 9) for name, each in seconds.items()},
            task.drawn_sizes(random.SystemRandom()),
            place.profile.device,
            place.machine.chip or place.machine.arch,
            mlx_version(),
            float(options.get("believe", _BELIEVED)),
            float(options.get("timeout_seconds", _TIMEOUT)),
        )

    def fixed(self, conditions: KernelConditions) -> Mapping[str, Any]:
        return {
            "target.options.believe": conditions.believe,
            "target.options.timeout_seconds": conditions.timeout_seconds,
        }

    def key_parts(self, conditions: KernelConditions, machine: Machine) -> Mapping[str, Any]:
        """Return the facts on which a value depends.  MLX's version is one of these facts, because it affects speed as
        much as a kernel does."""
        limits = {"believe": (conditions.believe, _BELIEVED), "timeout": (conditions.timeout_seconds, _TIMEOUT)}
        others = "".join(f", {name} {value:g}" for name, (value, usual) in limits.items() if value != usual)
        said = f"kernel {conditions.task_sha256} against {conditions.baseline}{others}"
        return {"program": said, "machine": machine.chip, "mlx": mlx_version()}

    def missing(self, conditions: KernelConditions) -> AutoresearchError | None:
        return None

    def margin(self, profile: Profile) -> float:
        return 0.02

    def build(self, conditions: KernelConditions, place: Place) -> KernelTarget:
        """Build the target.  Raises LabError if task.json or reference.py has changed since the session began."""
        root, wanted = place.lab.root, place.settings.target
        task = read_task(root)
        if sealed(root) != conditions.task_sha256:
            said = f"{TASK} or {REFERENCE} has changed since this session began, so its values could not be compared"
            raise LabError(said, "put the files back (git checkout), or start another session with --tag NAME")
        found = sandbox_of(place.settings)
        return KernelTarget(
            task=task,
            seal=conditions.task_sha256,
            baseline=conditions.baseline,  # type: ignore[arg-type]
            held_out=conditions.held_out,
            believe=conditions.believe,
            timeout_seconds=conditions.timeout_seconds,
            around=_around(place),
            limits=limits_of(place.settings, place.profile),
            metric=wanted.metric,
            direction=wanted.direction,
            machine={
                "chip": conditions.chip,
                "device": conditions.device,
                "mlx": mlx_version(),
                "sandbox": in_the_record(found),
            },
            unconfined=found.words if isinstance(found, NoSandbox) else None,
        )

    def doctor_rows(self, place: Place) -> Iterator[Finding]:
        try:
            task = read_task(place.lab.root)
            yield Finding(
                "target", "task", f"{task.function} of {task.script or 'a starter'}, {len(task.odd)} odd shapes"
            )
        except LabError as error:
            yield Finding("target", "task", str(error), "fail", error.hint)
        yield limits_row(limits_of(place.settings, place.profile))
        found = sandbox_of(place.settings)
        state = "fail" if place.settings.sandbox.require else "note"
        if isinstance(found, NoSandbox):
            yield Finding("sandbox", "sandbox", f"none: {found.words}", state)  # type: ignore[arg-type]
        else:
            yield Finding("sandbox", "sandbox", found.words)

    def plan_before(self, place: Place) -> PlanFacts:
        return PlanFacts(timeout_seconds=float(place.settings.target.options.get("timeout_seconds", _TIMEOUT)))

    def plan_of(self, conditions: KernelConditions, place: Place, preset: Mapping[str, Any]) -> PlanFacts:
        return PlanFacts(timeout_seconds=conditions.timeout_seconds)


def baseline_seconds(task: Task, root: Path, around: Surroundings, limits: Limits) -> dict[str, float]:
    """Time each version of the reference on the model's sizes; return {version: seconds of one call}.  Raises
    LabError."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="autoresearch-kernel-") as made:
        folder = Path(made).resolve()
        order = Order(task, str(root / REFERENCE), None, around.device, str(folder), (), task.sizes, 1)
        failed, _ = converse(
            around,
            order,
            folder,
            [root / REFERENCE],
            lambda: baselines(task.baselines, found),
            limits,
            lambda left: None,
            _TIMEOUT,
            uuid.uuid4().hex,
        )
    if failed is not None or len(found) < len(task.baselines):
        said = failed.reason if failed is not None else "the process ended early"
        raise LabError(f"the reference cannot be timed: {said}", f"correct {REFERENCE}, or take the function out again")
    return found


def _around(place: Place) -> Surroundings:
    return surroundings(place.machine, place.profile.device, sandbox_of(place.settings))


def mlx_version() -> str:
    """Return the installed version of MLX, or "none" if MLX is not installed."""
    try:
        return version("mlx")
    except PackageNotFoundError:
        return "none"
