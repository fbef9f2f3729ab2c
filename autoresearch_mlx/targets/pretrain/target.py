"""Measure the edited script: train it for a fixed budget, then score its weights in another process."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import CorpusError, LabError
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
from autoresearch_mlx.hardware.calibration import Peak
from autoresearch_mlx.hardware.doctor_lines import mfu_percent
from autoresearch_mlx.lab.budget import Budget
from autoresearch_mlx.lab.source import UNPARSABLE, parse, why_unparsable
from autoresearch_mlx.targets.confine import in_the_record
from autoresearch_mlx.targets.contract import Rescoring, TargetBase
from autoresearch_mlx.targets.corpus.rows import MANIFEST, read_manifest
from autoresearch_mlx.targets.pretrain.audit import audited
from autoresearch_mlx.trial import seal
from autoresearch_mlx.trial.allowances import Limit, Spent, evaluation_limit
from autoresearch_mlx.trial.blame import EVALUATION, not_counted
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.evaluation import Evaluation
from autoresearch_mlx.trial.runner import Ended, Log
from autoresearch_mlx.trial.sandbox.detect import NoSandbox
from autoresearch_mlx.trial.sandbox.permissions import TMP
from autoresearch_mlx.trial.sandbox.selftest import check_sandbox, wrong_numbers
from autoresearch_mlx.trial.spec import WEIGHTS
from autoresearch_mlx.trial.training import Training

_CONTRACT = ("build_model", "train")
_SMOKE_STEPS = 2
"""Number of steps of a smoke run.

Two steps are needed, because the first step compiles, and only the second uses state that a step has changed.
"""
_SMOKE_SECONDS = 10.0
"""Budget in seconds from which the time limits of a smoke run are computed.  The run itself ends after two steps."""
_SMOKE_ROWS = 4
FULL_TOKENS = 40 * 524_288
"""Number of tokens that karpathy/autoresearch scores (EVAL_TOKENS in its prepare.py)."""
_SECONDS_EACH = 60.0
"""When a run is scored again, the time limit of an evaluation grows by this many seconds for every ``eval_rows``
rows."""
_EXTRA = ("loss", "num_params", "matrix_params")
_MEASURED = ("tables", "ending_seconds", "ending_cpu_seconds", "train_cpu_seconds")
"""Names of the facts about the baseline's runs with which later runs are compared (``experiment.Usual``)."""


@dataclass(frozen=True, slots=True)
class Pretrain(TargetBase):
    """Measures an edited training script on fixed rows, with a fixed budget and on a fixed device."""

    conditions: Conditions
    name: str = "pretrain"
    metric: str = "val_bpb"
    direction: Direction = "min"
    peak: Peak | None = None
    """The machine's best matrix product, from which MFU is computed, or None if there is no recent measurement."""

    open_text: str | None = None
    """Why the edited code can read the held-out text, or None if it cannot read the text."""

    kept_file: str = WEIGHTS

    @property
    def splits(self) -> tuple[Split, ...]:
        return ("val", "hidden")

    @property
    def workload(self) -> Workload:
        c = self.conditions
        ends = _budget_of(c)
        return Workload(
            device=c.device,
            budget_seconds=c.budget_seconds if ends.kind == "seconds" else None,
            most_seconds=c.budget_seconds,
            budget=ends.in_words(),
            environment=c.environment,
        )

    def lanes_refused(self) -> str | None:
        device = "GPU" if self.conditions.device == "gpu" else "CPU"
        return f"two trainings on one {device} slow each other down, so neither could be measured"

    def certify_refused(self) -> str | None:
        """Return why no certificate is given: the edited code can read the held-out text.  Returns None if a
        certificate may be given."""
        return None if self.open_text is None else f"this is demonstration text: {self.open_text}"

    def refuse(self, files: Mapping[str, str]) -> str | None:
        """Return why an edit is refused: a file does not parse, or the script lacks a needed function.  Nothing is
        run."""
        for path, text in files.items():
            if not path.endswith(".py"):
                continue
            try:
                tree = parse(text)
            except UNPARSABLE as error:
                return f"{path} does not parse: {why_unparsable(error)}"
            if path == self.conditions.script and (missing := _missing(tree)):
                return f"{path} lacks {' and '.join(missing)} at the top level; the harness calls build_model and train"
        return None

    def smoke(self, assignment: Assignment) -> Measurement | None:
        """Train for two steps at full size and evaluate a few rows, so that a script that cannot run fails within
        seconds."""
        rows = min(_SMOKE_ROWS, self.conditions.eval_rows)
        brief = replace(
            self.conditions,
            steps=_SMOKE_STEPS,
            budget_seconds=_SMOKE_SECONDS,
            budget_tokens=None,
            budget_flops=None,
            eval_rows=rows,
        )
        quiet = replace(assignment, watch=lambda p: assignment.watch(Progress("smoke", p.step, p.loss)), usual=None)
        limit = evaluation_limit(assignment.usual, 1.0, brief.evaluate_seconds)
        return replace(self, conditions=brief)._sealed(quiet, limit)

    def measure(self, assignment: Assignment) -> Measurement:
        """Train and evaluate once.  A failure is returned as a measurement that names the failed phase."""
        return self._sealed(assignment)

    def _sealed(self, assignment: Assignment, limit: Limit | None = None) -> Measurement:
        """Make one measurement; it is invalid if the measuring code or the data changed during the run."""
        before = seal.take(sealed_files(self.conditions), manifest_hashes(self.conditions))
        try:
            done = self._measure(assignment, limit)
            changed = seal.broken(before)
            return done if changed is None else replace(done, value=None, failure="invalid", reason=f"seal: {changed}")
        finally:
            shutil.rmtree(assignment.folder / TMP, ignore_errors=True)

    def _measure(self, assignment: Assignment, limit: Limit | None) -> Measurement:
        path = assignment.folder / "log.txt"
        ordered = replace(self.conditions, steps=assignment.steps or self.conditions.steps, split=assignment.split)
        training = Training(ordered, assignment)
        with Log(path) as log:
            ended = training.run(log)
        failure = training.failure(ended, path)
        if failure is not None:
            done = self._measurement(assignment, training, ended, None, failure)
            return not_counted(done, training.blame(ended, path)) if failure[0] in ("crash", "timeout") else done
        evaluation = Evaluation(ordered, assignment, training.size(), limit)
        with Log(path) as log:
            log.write(f"{EVALUATION}\n".encode())
            scored = evaluation.run(log)
        done = self._measurement(assignment, training, ended, evaluation, evaluation.failure(scored, path))
        return not_counted(done, evaluation.blame(scored, path))

    def _measurement(
        self,
        assignment: Assignment,
        training: Training,
        ended: Ended,
        evaluation: Evaluation | None,
        failure: tuple[Failure, str] | None,
    ) -> Measurement:
        kind, reason = failure if failure is not None else (None, "")
        speed = training.speed()
        return Measurement(
            value=evaluation.value if evaluation is not None and failure is None else None,
            seed=assignment.seed,
            failure=kind,
            reason=reason,
            seconds=Seconds(**training.seconds(ended), evaluate=evaluation.seconds if evaluation else None),
            steps=training.facts.get("steps"),
            tokens=training.facts.get("tokens"),
            tokens_per_second=training.tokens_per_second(),
            peak_memory_mb=training.facts.get("peak_memory_mb") or ended.peak_memory_mb,
            machine={**self.conditions.machine, **speed.facts},
            log="log.txt",
            curve=training.curve(),
            extra={k: training.facts[k] for k in _EXTRA if training.facts.get(k) is not None}
            | (self._facts(training, evaluation) if evaluation is not None and failure is None else {})
            | self._mfu(training)
            | ({"stop": dict(training.stopped)} if training.stopped else {})
            | ({"tainted": speed.spoiled} if speed.spoiled else {}),
            speed=speed.speed,
            stretch=training.stretch(),
            disturbed_by=speed.disturbed_by,
            tainted=speed.spoiled is not None,
        )

    @staticmethod
    def _facts(training: Training, evaluation: Evaluation) -> dict[str, Any]:
        spent = Spent(evaluation.seconds or 0.0, evaluation.facts.get("evaluate_cpu_seconds"))
        taken = training.operation_time(spent)
        return (
            {k: training.facts[k] for k in _MEASURED if k in training.facts}
            | ({} if taken is None else {"operation_time": round(taken, 3)})
            | evaluation.facts
        )

    # --- a gain too good to be believed

    def audit(self, assignment: Assignment, measured: Measurement, gain: float) -> Measurement:
        """Score the run's weights again, with fewer assumptions and on more rows; see :mod:`audit`."""
        before = seal.take(sealed_files(self.conditions), manifest_hashes(self.conditions))
        try:
            done = audited(replace(self.conditions, split=assignment.split), assignment, measured, gain)
            changed = seal.broken(before)
            return done if changed is None else replace(done, value=None, failure="invalid", reason=f"seal: {changed}")
        finally:
            shutil.rmtree(assignment.folder / TMP, ignore_errors=True)

    # --- scoring kept weights again

    def rescoring(self, split: Split, rows: int | None, full: bool) -> Rescoring:
        """Return an evaluation on the rows of a split; see :class:`autoresearch_mlx.targets.contract.Rescorable`."""
        import numpy as np

        c = replace(self.conditions, split=split)
        there = len(np.load(c.scored_rows(), mmap_mode="r", allow_pickle=False))
        wanted = FULL_TOKENS // c.seq_len if full else there if rows is None else rows
        if wanted > there:
            said = f"the {split} split has {there:,} rows of {c.seq_len} tokens, but {wanted:,} are wanted"
            hint = f"write eval_rows = {wanted} under [data] in lab.toml, then start another session with --tag NAME"
            raise LabError(said, hint)
        seconds = c.evaluate_seconds + _SECONDS_EACH * wanted / c.eval_rows
        ordered = replace(c, eval_rows=wanted, evaluate_seconds=seconds)
        return Rescoring(wanted, wanted * c.seq_len, lambda assignment: _rescored(ordered, assignment))

    # --- the sandbox

    def unconfined_because(self, private: Sequence[Path]) -> str | None:
        """Test the sandbox with real child processes; return why the sandbox fails, or None if it works.

        Raises LabError if MLX computes wrong numbers, with or without a sandbox.
        """
        sandbox = self.conditions.sandbox
        if sandbox is None:
            _refuse(wrong_numbers(self.conditions))
            recorded = str(self.conditions.machine.get("sandbox", "none"))
            return recorded.removeprefix("none (").removesuffix(")")
        done = check_sandbox(sandbox, self.conditions, private)
        _refuse(done.wrong_numbers)
        return None if done.holds else f"{sandbox.words} {done.verdict()}"

    def without_sandbox(self, why: str) -> Pretrain:
        """Return the same target without a sandbox; its measurements record the reason ``why``."""
        machine = {**self.conditions.machine, "sandbox": in_the_record(NoSandbox(why))}
        return replace(self, conditions=replace(self.conditions, sandbox=None, machine=machine))

    def _mfu(self, training: Training) -> dict[str, Any]:
        """Return the facts ``mfu_percent`` and ``mfu_of`` (what the peak is); empty if the speed or the peak is
        unknown."""
        rate, matrix = training.tokens_per_second(), training.facts.get("matrix_params")
        if self.peak is None or not rate or not matrix:
            return {}
        return {"mfu_percent": round(mfu_percent(matrix, rate, self.peak.gflops), 2), "mfu_of": self.peak.words}


def _budget_of(conditions: Conditions) -> Budget:
    if conditions.budget_tokens is not None:
        return Budget("match-tokens", float(conditions.budget_tokens))
    if conditions.budget_flops is not None:
        return Budget("match-flops", conditions.budget_flops)
    return Budget("seconds", conditions.budget_seconds)


def _rescored(conditions: Conditions, assignment: Assignment) -> Measurement:
    path = assignment.folder / "log.txt"
    evaluation = Evaluation(conditions, assignment)
    with Log(path) as log:
        ended = evaluation.run(log)
    kind, reason = evaluation.failure(ended, path) or (None, "")
    if evaluation.value is None and kind is None:
        kind, reason = "invalid", "no score"
    done = Measurement(None if kind else evaluation.value, assignment.seed, kind, reason, log="log.txt")
    return not_counted(done, evaluation.blame(ended, path))


def sealed_files(conditions: Conditions) -> list[Path]:
    """Return the files that no run may change: the code that measures, and the data."""
    data = [conditions.train_rows, conditions.val_rows, conditions.token_bytes, conditions.hidden_rows]
    return [*seal.trial_code(), *(path for path in data if path is not None)]


def manifest_hashes(conditions: Conditions) -> dict[Path, str]:
    """Return the SHA-256 of each data file, as the corpus's manifest gives it; empty if there is no manifest."""
    folder = conditions.train_rows.parent
    try:
        return {folder / name: value for name, value in read_manifest(folder / MANIFEST).sha256.items()}
    except CorpusError:
        return {}


def _refuse(wrong: str | None) -> None:
    if wrong is not None:
        hint = "install another version of MLX; `autoresearch-mlx doctor --selftest --only products` tests it"
        raise LabError(f"MLX computes wrong numbers here, so no result could be trusted: {wrong}", hint)


def _missing(tree: ast.Module) -> list[str]:
    defined: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign):
            defined |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom | ast.Import):
            defined |= {alias.asname or alias.name for alias in node.names}
    return [f"{name}()" for name in _CONTRACT if name not in defined]
