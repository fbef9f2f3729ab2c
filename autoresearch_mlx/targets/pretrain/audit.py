"""Audit a run whose gain is too good to be believed: score the run's weights again, and look for an explanation."""

from __future__ import annotations

import math
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autoresearch_mlx.experiment import Assignment, Measurement, Progress, Usual
from autoresearch_mlx.trial.allowances import Limit, evaluation_limit
from autoresearch_mlx.trial.audit import CUTS, TRAINING, VALIDATION
from autoresearch_mlx.trial.blame import not_counted
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.evaluation import Evaluation
from autoresearch_mlx.trial.runner import Ended, Event, Log
from autoresearch_mlx.trial.spec import EvalSpec

Rows = npt.NDArray[np.float64]
HIDDEN = "hidden"
_ERRORS = 3.0
"""The scores of two sets of rows may differ by this many standard errors by chance."""
_SHARE = 0.5
"""The scores of two sets of rows may differ by this share of the gain.  If an edit improves the validation rows only,
the validation rows and the hidden rows differ by the whole gain."""
_SAME = 0.002
"""Largest allowed change, as a share of the score, when the same weights are scored again in float64 and with other
cuts of the rows."""
_TOLD = 2.0
"""If the training loss is above the validation loss by more than this factor, neither dropout nor label smoothing
explains it."""
_TIMES = 3.0 * (1 + CUTS)
"""Time limit of an audit as a multiple of an evaluation's time.  An audit takes longer, because a single process
scores three sets of rows, whole and cut."""


@dataclass(frozen=True, slots=True)
class Gained:
    """The gain of an edit on one set of rows, in bits per byte, and its standard error."""

    value: float
    error: float


def audited(conditions: Conditions, assignment: Assignment, measured: Measurement, gain: float) -> Measurement:
    """Return the measurement with the findings of the audit in ``extra``, or with the failure ``invalid`` if the audit
    contradicts the score.

    ``gain`` is the apparent gain of the run, in bits per byte.  The assignment's folder has the run's weights.  If
    ``assignment.incumbent`` can restore the incumbent's weights, they are scored on the same rows for comparison.
    """
    if measured.value is None:
        return measured
    usual = Usual(evaluate=measured.seconds.evaluate)  # the time of this run, which kept within its limits
    limit = evaluation_limit(usual, 1.0, conditions.evaluate_seconds).times(_TIMES)
    draw = secrets.randbits(64)
    auditing = _Auditing(conditions, assignment, limit, draw)
    path = assignment.folder / "log.txt"
    ended = auditing.logged(path)
    failure = auditing.failure(ended, path)
    if failure is not None:
        done = replace(measured, value=None, failure=failure[0], reason=f"audit: {failure[1]}")
        return not_counted(done, auditing.blame(ended, path))
    gains = _gains(auditing, _reference(conditions, assignment, limit, draw))
    extra = {**measured.extra, **_facts(auditing.sets, gains)}
    if (reason := contradiction(auditing.sets, measured.value, gain, gains)) is not None:
        return replace(measured, value=None, failure="invalid", reason=f"audit: {reason}", extra=extra)
    doubts = (unexplained(auditing.sets, measured.extra.get("loss")), _on_training(auditing.sets, gain, gains))
    doubt = "; ".join(filter(None, doubts))
    return replace(measured, extra={**extra, **({"audit_doubt": doubt} if doubt else {})})


def _reference(conditions: Conditions, assignment: Assignment, limit: Limit, draw: int) -> _Auditing | None:
    """Score the incumbent's weights on the same rows; return None if the weights are missing or cannot be scored."""
    kept = None if assignment.incumbent is None else assignment.incumbent()
    if kept is None:
        return None
    auditing = _Auditing(conditions, kept, limit, draw)
    path = kept.folder / "log.txt"
    return auditing if auditing.failure(auditing.logged(path), path) is None else None


def _gains(found: _Auditing, reference: _Auditing | None) -> dict[str, Gained]:
    """Return the gain over the incumbent's weights on each set of rows; empty if those weights were not scored."""
    return {} if reference is None else {name: gained(found.rows[name], reference.rows[name]) for name in found.rows}


def gained(rows: Rows, before: Rows) -> Gained:
    """Return the gain of an edit.  Both arguments are [2, n]: bits and bytes of each row, after the edit and before
    it."""
    won, size = before[0] - rows[0], rows[1]
    value = float(won.sum() / size.sum())
    left = won - value * size
    spread = float(left.std(ddof=1)) * math.sqrt(len(left)) if len(left) > 1 else abs(float(won.sum()))
    return Gained(value, spread / float(size.sum()))


def contradiction(
    sets: Mapping[str, Mapping[str, float]], value: float, gain: float, gains: Mapping[str, Gained]
) -> str | None:
    """Return a sentence that says which set of rows contradicts the score, and how; None if no set does.

    ``gains`` are the gains over the incumbent on the rows of each set.  Rows differ in difficulty far more than two
    models differ on one row.  So the gains decide; only if the gains are unknown, the values on the sets are compared.
    """
    found = sets[VALIDATION]
    again, slack = found["value"], _ERRORS * found["lookahead_error"] + _SAME * abs(value)
    if again - value > slack:
        return f"the run scored {value:.6f}, but its weights score {again:.6f} when one process at a time has the model"
    if HIDDEN not in sets:
        return None
    lost, error = _short(HIDDEN, sets, gains)
    if lost <= max(_ERRORS * error, _SHARE * gain):
        return None
    if gains:
        on_both = f"a gain of {gains[VALIDATION].value:.6f} on the validation rows and of {gains[HIDDEN].value:.6f}"
    else:
        on_both = f"{again:.6f} on the validation rows and {sets[HIDDEN]['value']:.6f}"
    said = f"{on_both} on a fresh sample of hidden rows: the gain of {gain:.6f} does not carry over"
    return f"{said} (standard error of the difference {error:.4f})"


def _short(name: str, sets: Mapping[str, Mapping[str, float]], gains: Mapping[str, Gained]) -> tuple[float, float]:
    """Return how much worse a set scores than the validation rows, in bits per byte, and the standard error of this
    difference."""
    if gains:
        here, other = gains[VALIDATION], gains[name]
        return here.value - other.value, math.hypot(here.error, other.error)
    found, more = sets[VALIDATION], sets[name]
    return more["value"] - found["value"], math.hypot(found["error"], more["error"])


def _on_training(sets: Mapping[str, Mapping[str, float]], gain: float, gains: Mapping[str, Gained]) -> str:
    """Return a sentence if the gain is far smaller on rows of the training text, else an empty string.

    The sentence proves nothing.  A model that knows all held-out rows gains less on rows of the training text, and an
    honest remedy for overfitting does too.
    """
    if TRAINING not in gains:
        return ""
    lost, error = _short(TRAINING, sets, gains)
    if lost <= max(_ERRORS * error, _SHARE * gain):
        return ""
    here, there = gains[VALIDATION].value, gains[TRAINING].value
    return f"a gain of {here:.6f} on the validation rows, and of {there:.6f} on rows of the training text"


def unexplained(sets: Mapping[str, Mapping[str, float]], told: Any) -> str:
    """Return what the user should check before believing the run; an empty string if there is nothing to check."""
    nats = sets[VALIDATION]["nats"]
    if isinstance(told, int | float) and told > _TOLD * nats:
        return f"the script reported a training loss of {told:.4g} nats, but the validation loss is {nats:.4g}"
    if TRAINING in sets and (trained := sets[TRAINING]["nats"]) > _TOLD * nats:
        return f"the loss on rows of the training text is {trained:.4g} nats, but the validation loss is {nats:.4g}"
    return ""


def _facts(sets: Mapping[str, Mapping[str, float]], gains: Mapping[str, Gained]) -> dict[str, Any]:
    values = {f"audit_{name}": round(found["value"], 6) for name, found in sets.items()}
    return {"audited": True, **values, **{f"audit_gain_{name}": round(g.value, 6) for name, g in gains.items()}}


class _Auditing(Evaluation):
    """An audit as the parent process sees it; after the audit, ``sets`` has the findings on each set of rows."""

    module = "autoresearch_mlx.trial.audit"

    def __init__(self, conditions: Conditions, assignment: Assignment, limit: Limit, draw: int) -> None:
        quiet = replace(
            assignment,
            watch=lambda progress: assignment.watch(Progress("evaluate", words="audit")),
            usual=None,  # an audit takes longer than the evaluation of the baseline
        )
        super().__init__(conditions, quiet, limit=limit)
        self.sets: dict[str, dict[str, float]] = {}
        self.rows: dict[str, Rows] = {}
        """Name of each set -> array [2, n] with the loss of each row in bits and the length of each row in bytes."""
        self._draw, self._rows_out = draw, ""

    def logged(self, path: Path) -> Ended:
        """Run the audit, and append its output to the log at ``path``."""
        with tempfile.TemporaryDirectory() as folder, Log(path) as log:
            log.write(b"--- audit ---\n")
            self._rows_out = str(Path(folder) / "rows.npz")
            ended = self.run(log)
            with suppress(OSError), np.load(self._rows_out, allow_pickle=False) as found:
                self.rows = {name: found[name] for name in found.files}
        return ended

    def _spec(self, mark: Mapping[str, str]) -> EvalSpec:
        paths = {HIDDEN: self._conditions.hidden_rows, TRAINING: self._conditions.train_rows}
        samples = {name: str(path) for name, path in paths.items() if path}
        return replace(super()._spec(mark), samples=samples, draw=self._draw, rows_out=self._rows_out)

    def _hear(self, event: Event) -> None:
        numbers = ("value", "error", "nats", "lookahead", "lookahead_error")
        if event.get("event") != "audited":
            super()._hear(event)
        elif all(isinstance(event.get(name), float) for name in numbers):
            self.sets[str(event.get("rows"))] = {name: event[name] for name in numbers}
            if event.get("rows") == VALIDATION:
                self.value = event["value"]
