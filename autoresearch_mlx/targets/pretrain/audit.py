"""Audit a run whose gain is too good to be believed: score its weights again, and look for an explanation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autoresearch_mlx.experiment import Assignment, Measurement, Progress, Usual
from autoresearch_mlx.trial.allowances import Limit, evaluation_limit
from autoresearch_mlx.trial.audit import CUTS, TRAINING, VALIDATION
from autoresearch_mlx.trial.blame import not_counted
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.evaluation import Evaluation
from autoresearch_mlx.trial.runner import Event, Log
from autoresearch_mlx.trial.spec import EvalSpec

HIDDEN = "hidden"
_ERRORS = 3.0
"""Number of standard errors up to which two sets of rows may differ by chance."""
_SHARE = 0.5
"""Share of the gain by which the two sets may differ; if only the validation rows gain, they differ by all of it."""
_SAME = 0.002
"""Share of a value by which the score of the same weights may change in float64 and with other cuts."""
_TOLD = 2.0
"""Ratio of training loss to validation loss that dropout or smoothing does not explain."""
_TIMES = 3.0 * (1 + CUTS)
"""Time limit as a multiple of an evaluation's: three sets of rows, whole and cut, by one process at a time."""


def audited(conditions: Conditions, assignment: Assignment, measured: Measurement, gain: float) -> Measurement:
    """Return the measurement with the findings of its audit in ``extra``; ``invalid`` where the audit contradicts it.

    ``gain``: the apparent gain of the run, in bits per byte.  The assignment's folder holds the run's weights.
    """
    if measured.value is None:
        return measured
    usual = Usual(evaluate=measured.seconds.evaluate)  # of this very model: its own evaluation kept to the rules
    limit = evaluation_limit(usual, 1.0, conditions.evaluate_seconds).times(_TIMES)
    auditing = _Auditing(conditions, assignment, limit)
    path = assignment.folder / "log.txt"
    with Log(path) as log:
        log.write(b"--- audit ---\n")
        ended = auditing.run(log)
    failure = auditing.failure(ended, path)
    if failure is not None:
        done = replace(measured, value=None, failure=failure[0], reason=f"audit: {failure[1]}")
        return not_counted(done, auditing.blame(ended, path))
    reason = contradiction(auditing.sets, measured.value, gain)
    extra = {**measured.extra, **_facts(auditing.sets)}
    if reason is not None:
        return replace(measured, value=None, failure="invalid", reason=f"audit: {reason}", extra=extra)
    doubt = unexplained(auditing.sets, measured.extra.get("loss"))
    return replace(measured, extra={**extra, **({"audit_doubt": doubt} if doubt else {})})


def contradiction(sets: Mapping[str, Mapping[str, float]], value: float, gain: float) -> str | None:
    """Say which of the scored sets of rows contradicts the score, and how; return None when none does."""
    found = sets[VALIDATION]
    again, slack = found["value"], _ERRORS * found["lookahead_error"] + _SAME * abs(value)
    if again - value > slack:
        return f"the same weights score {again:.6f} when one process at a time sees the rows, not {value:.6f}"
    for name, said in ((HIDDEN, "hidden rows"), (TRAINING, "rows of the training text")):
        if name not in sets:
            continue
        other = sets[name]
        gap, error = other["value"] - again, math.hypot(found["error"], other["error"])
        if gap > max(_ERRORS * error, _SHARE * gain):
            return (
                f"{again:.6f} on the validation rows and {other['value']:.6f} on a fresh sample of {said}: the gain of "
                f"{gain:.6f} does not carry over (standard error of the gap {error:.4f})"
            )
    return None


def unexplained(sets: Mapping[str, Mapping[str, float]], told: Any) -> str:
    """Say what a person should look at before believing the run; return an empty text when there is nothing."""
    nats = sets[VALIDATION]["nats"]
    if isinstance(told, int | float) and told > _TOLD * nats:
        return f"the script reported a training loss of {told:.4g} nats, but the validation rows cost {nats:.4g}"
    return ""


def _facts(sets: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    return {"audited": True, **{f"audit_{name}": round(found["value"], 6) for name, found in sets.items()}}


class _Auditing(Evaluation):
    """The parent's view of an audit; afterwards ``sets`` holds the findings on each set of rows."""

    module = "autoresearch_mlx.trial.audit"

    def __init__(self, conditions: Conditions, assignment: Assignment, limit: Limit) -> None:
        quiet = replace(
            assignment,
            watch=lambda progress: assignment.watch(Progress("evaluate", words="audit")),
            usual=None,  # an audit takes longer than the evaluation of the baseline
        )
        super().__init__(conditions, quiet, limit=limit)
        self.sets: dict[str, dict[str, float]] = {}

    def _spec(self, mark: Mapping[str, str]) -> EvalSpec:
        paths = {HIDDEN: self._conditions.hidden_rows, TRAINING: self._conditions.train_rows}
        return replace(super()._spec(mark), samples={name: str(path) for name, path in paths.items() if path})

    def _hear(self, event: Event) -> None:
        numbers = ("value", "error", "nats", "lookahead", "lookahead_error")
        if event.get("event") != "audited":
            super()._hear(event)
        elif all(isinstance(event.get(name), float) for name in numbers):
            self.sets[str(event.get("rows"))] = {name: event[name] for name in numbers}
            if event.get("rows") == VALIDATION:
                self.value = event["value"]
