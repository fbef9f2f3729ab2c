"""The parent's side of the sealed evaluator."""

from __future__ import annotations

import math
import time
from pathlib import Path

from autoresearch_mlx.experiment import Assignment, Failure, Progress
from autoresearch_mlx.trial.autopsy import how_it_ended
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.runner import Ended, Event, Log, child_process_environment, python_command, run_child
from autoresearch_mlx.trial.spec import EvalSpec, write_spec


class Evaluation:
    """The parent's view of the sealed evaluator."""

    def __init__(self, conditions: Conditions, assignment: Assignment) -> None:
        self.value: float | None = None
        self.seconds: float | None = None
        self._conditions = conditions
        self._assignment = assignment
        self._invalid: str | None = None

    def run(self, log: Log) -> Ended:
        conditions, assignment = self._conditions, self._assignment
        spec = EvalSpec(
            script=str(assignment.tree / conditions.script),
            weights=str(assignment.folder / "weights.safetensors"),
            rows=str(conditions.val_rows),
            row_count=conditions.eval_rows,
            token_bytes=str(conditions.token_bytes),
            vocab_size=conditions.vocab_size,
            seq_len=conditions.seq_len,
            seed=assignment.seed,
            device=conditions.device,
            memory_limit_bytes=conditions.memory_limit_bytes,
        )
        write_spec(spec, assignment.folder / "evaluate.json")
        began = time.monotonic()
        assignment.watch(Progress("evaluate"))
        ended = run_child(
            python_command("-m", "autoresearch_mlx.trial.evaluate", str(assignment.folder / "evaluate.json")),
            cwd=assignment.folder,
            environment=child_process_environment(conditions.environment),
            log=log,
            allowed=lambda: self._overstayed(began),
            on_event=self._hear,
        )
        self.seconds = round(ended.seconds, 3)
        return ended

    def failure(self, ended: Ended, log: Path) -> tuple[Failure, str] | None:
        if ended.killed is not None:
            return "timeout", ended.killed
        if self._invalid is not None:
            return "invalid", self._invalid
        if ended.returncode != 0:
            return "crash", f"in the evaluation: {how_it_ended(ended.returncode, log)}"
        if self.value is None or not math.isfinite(self.value):
            return "invalid", "the evaluation ended without a score"
        return None

    def _overstayed(self, began: float) -> str | None:
        limit = self._conditions.evaluate_seconds
        return f"the evaluation did not end within {limit:g} s; killed" if time.monotonic() - began > limit else None

    def _hear(self, event: Event) -> None:
        if event.get("event") == "invalid":
            self._invalid = str(event.get("reason"))
        elif event.get("event") == "evaluated" and isinstance(event.get("value"), float):
            self.value = event["value"]
