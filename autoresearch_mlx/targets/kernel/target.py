"""Measure one candidate for one function: the target ``kernel``.

A measurement has two child processes.  The first, the bench, runs the candidate and the baseline and saves the outputs;
the parent times the bench.  The second, the referee, computes the reference and compares the outputs with it.  The
parent draws the seeds after the candidate was frozen.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import (
    Assignment,
    Direction,
    Failure,
    Measurement,
    Progress,
    Seconds,
    Split,
    Workload,
)
from autoresearch_mlx.targets.contract import TargetBase
from autoresearch_mlx.targets.kernel.candidate import Candidate, Refused, read_candidate
from autoresearch_mlx.targets.kernel.children import Surroundings, command_of, environment_of
from autoresearch_mlx.targets.kernel.measuring import Findings, measurement, smoke, trials_of
from autoresearch_mlx.targets.kernel.order import Order
from autoresearch_mlx.targets.kernel.stopwatch import Failed, converse
from autoresearch_mlx.targets.kernel.task import KERNEL, REFERENCE, TASK, Baseline, Sizes, Task, sealed
from autoresearch_mlx.trial.autopsy import how_it_ended
from autoresearch_mlx.trial.runner import Ended, Log, run_child
from autoresearch_mlx.trial.sandbox.limits import MARKER, Limits, Watch
from autoresearch_mlx.trial.sandbox.permissions import TMP

_REFEREE_SECONDS = 120.0
_FASTER_THAN_A_COPY = 0.5
"""A call is not believed if it takes less than this share of the time for copying its inputs (the measured
roofline)."""


@dataclass(frozen=True, slots=True)
class KernelTarget(TargetBase):
    """Measures candidates for one task against the fastest version of its reference."""

    task: Task
    seal: str
    """SHA-256 that task.json and reference.py must have."""
    baseline: Baseline
    held_out: Sizes
    believe: float
    timeout_seconds: float
    around: Surroundings
    limits: Limits
    metric: str = "log_speedup"
    direction: Direction = "max"
    machine: Mapping[str, Any] = field(default_factory=dict)
    unconfined: str | None = None
    """Why runs are not confined, or None if runs are confined."""
    name: str = "kernel"

    @property
    def splits(self) -> tuple[Split, ...]:
        """Return the names of the splits.  ``hidden`` is the held-out shape, which only a task with a free size has."""
        return ("val", "hidden") if self.task.free else ("val",)

    @property
    def workload(self) -> Workload:
        return Workload(
            device="gpu" if self.around.gpu else "cpu",
            most_seconds=self.timeout_seconds,
            budget="the gates, then ten pairs of blocks",
        )

    def lanes_refused(self) -> str | None:
        return "two kernels that are timed at once slow each other down, so neither could be measured"

    def refuse(self, files: Mapping[str, str]) -> str | None:
        """Return why a static gate refuses the candidate, or None if all static gates accept it."""
        try:
            read_candidate(files.get(KERNEL, ""), self.task)
        except Refused as refused:
            return str(refused)
        return None

    def smoke(self, assignment: Assignment) -> Measurement | None:
        """Test the candidate on the model's shape alone, where most wrong candidates fail within seconds."""
        return self._measured(assignment, short=True)

    def measure(self, assignment: Assignment) -> Measurement:
        """Test a candidate with all gates, and time it.  A failure is returned as a measurement that names the failed
        gate."""
        return self._measured(assignment, short=False)

    # --- one measurement

    def _measured(self, assignment: Assignment, short: bool) -> Measurement:
        began = time.monotonic()
        try:
            candidate = read_candidate((assignment.tree / KERNEL).read_text(encoding="utf-8"), self.task)
        except Refused as refused:
            return Measurement(None, assignment.seed, "invalid", f"static gate: {refused}")
        except (OSError, UnicodeDecodeError) as error:
            return Measurement(None, assignment.seed, "crash", f"{KERNEL} cannot be read: {error}")
        if (why := self._changed(assignment.tree)) is not None:
            return Measurement(None, assignment.seed, "invalid", why)
        folder = assignment.folder.resolve()
        try:
            return self._run(assignment, candidate, folder, short, began)
        finally:
            shutil.rmtree(folder / TMP, ignore_errors=True)
            for file in folder.glob("*.npz"):
                file.unlink(missing_ok=True)

    def _changed(self, tree: Path) -> str | None:
        try:
            same = sealed(tree) == self.seal
        except LabError as error:
            return str(error)
        return (
            None if same else f"{TASK} or {REFERENCE} differs from the session's: a candidate may change {KERNEL} alone"
        )

    def _run(
        self, assignment: Assignment, candidate: Candidate, folder: Path, short: bool, began: float
    ) -> Measurement:
        hidden = assignment.split == "hidden"
        timed = self.held_out if hidden else self.task.sizes
        chance = random.SystemRandom()
        trials = trials_of(self.task, random.Random(chance.getrandbits(64)), timed, hidden)
        seed = chance.randrange(2**31)
        reference = assignment.tree.resolve() / REFERENCE
        order = Order(self.task, str(reference), candidate, self.around.device, str(folder), trials, timed, seed)
        found = Findings(smoke=short)
        failed, ended = converse(
            self.around,
            order,
            folder,
            [reference],
            lambda: smoke(trials, found) if short else measurement(trials, self.baseline, seed, timed, found),
            replace(self.limits, folder=folder),
            lambda left: assignment.watch(Progress("smoke" if short else "train", seconds_left=max(0.0, left))),
            self.timeout_seconds,
            uuid.uuid4().hex,
        )
        if failed is not None and failed.failure == "crash" and found.doing:
            failed = Failed("crash", f"on {found.doing}: {failed.reason}")
        if found.files and (failed is None or failed.failure != "timeout"):
            failed = self._judged(assignment, order, found, folder) or failed
        if failed is None and not short:
            failed = self._believed(found)
        return self._measurement(assignment, found, ended, failed, began)

    def _judged(self, assignment: Assignment, order: Order, found: Findings, folder: Path) -> Failed | None:
        """Let the referee compare all outputs; return the first failure, or None."""
        files = [*found.files]
        ghost = order.trials[0]
        if (folder / "ghost.npz").exists():
            files.append({"file": "ghost", "sizes": ghost.sizes, "seed": ghost.seed, "scale": ghost.scale})
        request, result = folder / "request.json", folder / "verdicts.json"
        request.write_text(json.dumps({"order": order.to_json(), "files": files}), encoding="utf-8")
        verdicts = self._referee(assignment, request, result, Path(order.reference), folder)
        if isinstance(verdicts, Failed):
            return verdicts
        for verdict, said in zip(verdicts, found.said, strict=False):
            if verdict["why"] is not None:
                return Failed("invalid", f"on {said}: {verdict['why']}")
        if len(files) > len(found.files) and verdicts[-1]["why"] is None:
            return Failed(
                "invalid", "ghost replay: a function that computes nothing passes too, so this task measures nothing"
            )
        return None

    def _referee(
        self, assignment: Assignment, request: Path, result: Path, reference: Path, folder: Path
    ) -> list[dict[str, Any]] | Failed:
        began, marker = time.monotonic(), uuid.uuid4().hex
        around = replace(self.around, device="cpu")

        def allowed() -> str | None:
            assignment.watch(Progress("evaluate"))
            late = time.monotonic() - began > _REFEREE_SECONDS
            return f"the referee took longer than {_REFEREE_SECONDS:g} s; killed" if late else None

        with Log(folder / "referee.txt") as log:
            ended = run_child(
                command_of(around, "referee", [str(request), str(result)], [reference], folder),
                cwd=folder,
                environment={**environment_of(around, folder), MARKER: marker},
                log=log,
                allowed=allowed,
                watch=Watch(replace(self.limits, folder=folder), marker),
            )
        if ended.killed or ended.exceeded or ended.returncode != 0 or not result.exists():
            why = ended.killed or ended.exceeded or how_it_ended(ended.returncode, folder / "referee.txt")
            return Failed("crash", f"the referee failed: {why}")
        verdicts: list[dict[str, Any]] = json.loads(result.read_text(encoding="utf-8"))
        return verdicts

    def _believed(self, found: Findings) -> Failed | None:
        """Return a failure for a speed that cannot be right: far above the baseline's, or above the measured
        roofline."""
        ratio = found.ratio
        if ratio is None:
            return Failed("crash", "the process ended before it was timed")
        if ratio.factor > self.believe:
            said = (
                f"{ratio.factor:.1f} times as fast as {self.baseline}, and more than {self.believe:g} is not believed"
            )
            hint = "look at the edit; a larger `believe` in [target.options] of a new session accepts this speed"
            return Failed("invalid", f"quarantined: {said}: {hint}")
        if found.copy_seconds and ratio.ours < _FASTER_THAN_A_COPY * found.copy_seconds:
            least = f"only reading the inputs takes {1e6 * found.copy_seconds:.1f} us"
            said = f"{1e6 * ratio.ours:.1f} us for a call, and {least}"
            return Failed("invalid", f"quarantined: {said}, so the candidate cannot have read all inputs")
        return None

    def _measurement(
        self, assignment: Assignment, found: Findings, ended: Ended, failed: Failed | None, began: float
    ) -> Measurement:
        ratio = found.ratio
        kind: Failure | None = failed.failure if failed is not None else None
        extra: dict[str, Any] = {"form": found.form} if found.form else {}
        if ratio is not None and failed is None:
            extra |= {
                "speedup": round(ratio.factor, 4),
                "low": round(math.exp(ratio.low), 4),
                "high": round(math.exp(ratio.high), 4),
                "us": round(1e6 * ratio.ours, 3),
                "baseline_us": round(1e6 * ratio.theirs, 3),
                "baseline": self.baseline,
            }
        value = ratio.log if ratio is not None and failed is None else None
        return Measurement(
            value=0.0 if found.smoke and failed is None else value,
            seed=assignment.seed,
            failure=kind,
            reason=failed.reason if failed is not None else "",
            seconds=Seconds(train=round(ended.seconds, 3), evaluate=round(time.monotonic() - began - ended.seconds, 3)),
            peak_memory_mb=ended.peak_memory_mb,
            machine=dict(self.machine),
            log="log.txt",
            extra=extra,
        )

    # --- the sandbox

    def unconfined_because(self, private: Sequence[Path]) -> str | None:
        """Return why runs are not confined, or None if runs are confined."""
        return self.unconfined

    def without_sandbox(self, why: str) -> Self:
        """Return the same target without a sandbox; its measurements record the reason ``why``."""
        machine = {**self.machine, "sandbox": f"none ({why})"}
        return replace(self, around=replace(self.around, sandbox=None), machine=machine, unconfined=why)
