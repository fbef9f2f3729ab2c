"""Run the sealed evaluator from the parent: write its specification, confine the model processes, read its result."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from autoresearch_mlx.experiment import Assignment, Failure, Progress
from autoresearch_mlx.trial.allowances import Limit, Spent, evaluation_limit, scoring
from autoresearch_mlx.trial.autopsy import how_it_ended, tail_of
from autoresearch_mlx.trial.blame import CANDIDATE, Blame, blame
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.confined import inside, watched, why_killed
from autoresearch_mlx.trial.cuts import PROCESSES, rows_per_call
from autoresearch_mlx.trial.runner import (
    Ended,
    Event,
    Log,
    child_process_environment,
    python_command,
    run_child,
    trusted_environment,
)
from autoresearch_mlx.trial.sandbox.child_permissions import evaluation_permissions
from autoresearch_mlx.trial.sandbox.detect import refused
from autoresearch_mlx.trial.sandbox.permissions import private_tmp, without_secrets
from autoresearch_mlx.trial.spec import WEIGHTS, EvalSpec, ModelSpec, not_plain, type_of_most, write_spec

_HUNG_STEP = (
    "if this happens again on a Mac, restart the Mac: a process can wait for ever for a lock of Metal's shader cache"
)


class Evaluation:
    """Runs one sealed evaluation from the parent, and stores its results.

    The process that scores runs our own code and is not confined.  The two processes that run the edited model are
    confined.  Each has its own temporary folder, and may read the worktree and the weights, but no rows.
    """

    module = "autoresearch_mlx.trial.evaluator"
    """The module that scores; it runs as a process of its own."""

    def __init__(
        self, conditions: Conditions, assignment: Assignment, size: float = 1.0, limit: Limit | None = None
    ) -> None:
        """Store the arguments.

        ``size`` is the model's work divided by the baseline's, and sets the time limits.  ``limit`` is the time after
        which the evaluation is killed.  If ``limit`` is None, the time is computed from the baseline's time and
        ``size``.
        """
        self._size = size
        self._limit = limit or evaluation_limit(assignment.usual, size, conditions.evaluate_seconds)
        self._cpu = 0.0
        self.value: float | None = None
        self.seconds: float | None = None
        self.facts: dict[str, Any] = {}
        """Results of the evaluator besides the value, under the names of :class:`evaluator.Evaluated`."""
        self._conditions = conditions
        self._assignment = assignment
        self._invalid: str | None = None
        self._died: int | None = None
        self._hung: str | None = None

    def run(self, log: Log) -> Ended:
        """Score the weights in the run folder; afterwards ``value`` is the score and ``seconds`` the time it took."""
        began = time.monotonic()
        self._assignment.watch(Progress("evaluate"))
        path = self._assignment.folder / "evaluate.json"
        mark, watch = watched(self._conditions, self._assignment)
        self._watch = watch
        if (why := self._prepare(path, mark)) is not None:
            self._invalid = why
            return Ended(0, None, 0.0, None)
        ended = run_child(
            python_command("-m", self.module, str(path)),
            cwd=self._assignment.folder,
            environment={**trusted_environment(self._conditions.environment), **mark},
            log=log,
            allowed=lambda: self._overstayed(began),
            on_event=self._hear,
            watch=watch,
        )
        self.seconds = round(ended.seconds, 3)
        if self._conditions.device == "cpu":
            self.facts |= {"evaluate_cpu_seconds": round(self._cpu, 3)}
        return ended

    def _prepare(self, path: Path, mark: Mapping[str, str]) -> str | None:
        """Write the specification of the evaluation to ``path``.

        Returns the reason if the files that the training child left make an evaluation impossible, otherwise None.
        """
        weights = self._assignment.folder / WEIGHTS
        try:
            if (why := not_plain(weights)) is not None:
                return why
            write_spec(self._spec(mark), path)
        except ValueError as error:
            return f"{WEIGHTS} does not hold weights: {error}"
        except OSError as error:
            return f"the run folder cannot be used: {error.strerror} ({Path(error.filename or path).name})"
        return None

    def _spec(self, mark: Mapping[str, str]) -> EvalSpec:
        conditions = self._conditions
        environment = {**private_tmp(self._assignment.folder), **mark}
        commands, environments = zip(*(self._model(environment) for _ in range(PROCESSES)), strict=True)
        return EvalSpec(
            rows=str(conditions.scored_rows()),
            row_count=conditions.eval_rows,
            tails=str(conditions.train_rows),
            token_bytes=str(conditions.token_bytes),
            vocab_size=conditions.vocab_size,
            seq_len=conditions.seq_len,
            device=conditions.device,
            rows_per_call=self._rows_per_call(),
            models=list(commands),
            environments=list(environments),
            answer_seconds=conditions.answer_seconds,
            weights_type=type_of_most(self._assignment.folder / WEIGHTS),
        )

    def _model(self, environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        """Return the command and the environment of one model process, and make a temporary folder for it."""
        conditions, assignment = self._conditions, self._assignment
        shared = environment["TMPDIR"]
        tmp = Path(shared) / uuid.uuid4().hex[:8]
        tmp.mkdir(mode=0o700)
        spec = ModelSpec(
            script=str(assignment.tree / conditions.script),
            weights=str(assignment.folder / WEIGHTS),
            vocab_size=conditions.vocab_size,
            seq_len=conditions.seq_len,
            seed=assignment.seed,
            device=conditions.device,
            rows_per_call=self._rows_per_call(),
            memory_limit_bytes=conditions.memory_limit_bytes,
        )
        command = python_command("-m", "autoresearch_mlx.trial.logits", json.dumps(asdict(spec)))
        own = {key: value.replace(shared, str(tmp)) for key, value in environment.items()}
        command = inside(conditions, command, evaluation_permissions(conditions, assignment, tmp))
        return command, {**without_secrets(child_process_environment(conditions.environment)), **own}

    def _rows_per_call(self) -> int:
        conditions = self._conditions
        return rows_per_call(conditions.eval_rows, conditions.seq_len, conditions.vocab_size)

    def failure(self, ended: Ended, log: Path) -> tuple[Failure, str] | None:
        """Return the status and the reason if the evaluation failed, or None if ``value`` has a score."""
        if (killed := why_killed(ended, log)) is not None:
            return killed
        if self._invalid is not None:
            return "invalid", self._invalid
        if self._hung is not None:
            return "timeout", self._hung
        returncode = ended.returncode if self._died is None else self._died
        if (why := refused(returncode, tail_of(log))) is not None:
            return "crash", why
        if returncode != 0 or self._died is not None:
            return "crash", f"in the evaluation: {how_it_ended(returncode, log)}"
        spent = Spent(ended.seconds, self.facts.get("evaluate_cpu_seconds"))
        if (slow := scoring(self._assignment.usual, spent, self._size)) is not None:
            return "invalid", slow
        if self.value is None or not math.isfinite(self.value):
            return "invalid", "the evaluation ended without a score"
        return None

    def blame(self, ended: Ended, log: Path) -> Blame:
        """Decide whether the candidate, the machine or the tool caused the failure.

        A broken rule is the candidate's fault.
        """
        if self._hung is not None:
            return Blame("machine", self._hung, _HUNG_STEP)
        if self._invalid is not None or (ended.returncode == 0 and self._died is None):
            return CANDIDATE
        return blame(ended if self._died is None else replace(ended, returncode=self._died), log)

    def _overstayed(self, began: float) -> str | None:
        self._assignment.watch(Progress("evaluate"))
        self._cpu = max(self._cpu, self._watch.cpu_seconds())
        if time.monotonic() - began <= self._limit.seconds:
            return None
        return f"the evaluation did not end within {self._limit.seconds:g} s and was killed ({self._limit.why})"

    def _hear(self, event: Event) -> None:
        if event.get("event") == "invalid":
            self._invalid = str(event.get("reason"))
        elif event.get("event") == "evaluated" and isinstance(event.get("value"), float):
            self.value = event["value"]
            self.facts |= {name: event[name] for name in ("lookahead", "lookahead_error", "clipped")}
        elif event.get("event") == "died" and isinstance(event.get("returncode"), int):
            self._died = event["returncode"]
        elif event.get("event") == "hung" and isinstance(event.get("seconds"), float):
            waited = f"neither answered nor computed for {event['seconds']:.0f} s"
            self._hung = f"in the evaluation, a process that runs the model {waited}"
