"""Time short runs of the shipped training script: its step with several sizes of batch and head, and its evaluation.

The parent process measures the times.  The first step is left out: the mean step time is the time of the other steps
divided by their number.  The spread of the step times is computed from the moments at which the parent received the
message about each step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles

from autoresearch_mlx.experiment import Assignment, Progress
from autoresearch_mlx.hardware.calibration import Pace, Scored
from autoresearch_mlx.hardware.fit import batches
from autoresearch_mlx.hardware.profile import Profile
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.lab import SCRIPT
from autoresearch_mlx.lab.source import set_knobs
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.evaluation import Evaluation
from autoresearch_mlx.trial.runner import Log
from autoresearch_mlx.trial.training import Training

Say = Callable[[str], None]

_FIRST_STEPS = 4
"""Number of steps of the first run, which only finds out how long a step takes."""
_LEAST_STEPS, _MOST_STEPS = 4, 2000
_GROWTH = 8
"""Largest factor by which the number of rows grows from one evaluation to the next."""
_MOST_SECONDS = 60.0
"""Longest planned time of a short run, in seconds; the run is killed after three times as long."""
_SEED = 42


@dataclass(frozen=True, slots=True)
class Patience:
    """Planned seconds for the parts of a calibration; on a slow machine the parts take longer."""

    pace: float = 10.0
    """Seconds of steps with the preset's batch; steps with any other batch get half of this time."""
    evaluation: float = 12.0
    """Seconds of one evaluation."""
    another: float = 40.0
    """Seconds since the start of the calibration after which no third batch is tried."""

    def half(self) -> Patience:
        """Return the same plan with half the seconds for the steps."""
        return replace(self, pace=self.pace / 2)


def paces_of(runs: Runs, profile: Profile, patience: Patience, began: float) -> Iterator[Pace]:
    """Yield the step times with the preset's batch, then with a smaller batch.

    If neither batch gives enough steps, and if time is left, yield the step times with a third batch.  ``began`` is the
    start of the calibration by ``time.monotonic``, in seconds.
    """
    timed: list[Pace] = []
    for rows, tokens in batches(profile):
        enough = any(p.seconds and profile.budget_seconds / p.seconds >= profile.enough_steps for p in timed)
        if len(timed) >= 2 and (enough or time.monotonic() - began > patience.another):
            return
        timed.append(runs.pace(rows, tokens, patience if not timed else patience.half()))
        yield timed[-1]


def pace_of_head(runs: Runs, head_dim: int, paces: Sequence[Pace], patience: Patience) -> Pace | None:
    """Return the step times with the head size ``head_dim``, at the first batch in ``paces`` that was timed.

    Returns None if no batch was timed.
    """
    own = next((pace for pace in paces if pace.seconds is not None), None)
    return None if own is None else runs.pace(own.rows, own.tokens, patience.half(), head_dim)


class Runs:
    """Makes short runs of the shipped script, one after another, and stores their results."""

    def __init__(self, conditions: Conditions, folder: Path, profile: Profile, say: Say) -> None:
        self.start: float | None = None
        self.compile: float | None = None
        self.matrix_params: int | None = None
        self._conditions, self._folder, self._say = conditions, folder, say
        self._text = set_knobs(asset(SCRIPT).read_text(encoding="utf-8"), profile.knobs)
        self._token_seconds: float | None = None
        """Seconds of training for one token; None before the first run."""
        self._scored: list[tuple[int, float]] = []
        self._count = 0

    def scored(self) -> Scored | None:
        """Return the times of the largest and of the smallest evaluation; None if no evaluation succeeded."""
        if not self._scored:
            return None
        most, least = max(self._scored), min(self._scored)
        return Scored(most[0], most[1], least[0], least[1])

    def pace(self, rows: int, tokens: int, patience: Patience, head_dim: int | None = None) -> Pace:
        """Return the step times with a batch of ``tokens`` tokens in passes of ``rows`` rows.

        As many steps are made as fit into ``patience.pace``.  The first call begins with a run of a few steps, to find
        out how long a step takes.  Without ``head_dim``, the heads have the profile's size.
        """
        if self._token_seconds is None:
            least = min(8, self._conditions.eval_rows)
            short = self._run(rows, tokens, _FIRST_STEPS, least, head_dim)
            if short.seconds is None:
                return short
            self._token_seconds = short.seconds / tokens
        steps = int(patience.pace / (self._token_seconds * tokens))
        steps = min(max(steps, _LEAST_STEPS), _MOST_STEPS)
        more = self._more_rows(patience.evaluation) if head_dim is None else None
        return self._run(rows, tokens, steps, more, head_dim)

    def _more_rows(self, seconds: float) -> int | None:
        """Return the number of rows for one more evaluation of at most ``seconds``; None if no more is needed.

        A small evaluation spends most of its time on the start-up.  So a second, larger evaluation is always made, to
        separate the start-up from the time for the rows.  Further evaluations are made while rows and time are left.
        """
        if not self._scored:
            return None
        rows, spent = max(self._scored)
        first_rows, first_spent = min(self._scored)
        each = (spent - first_spent) / (rows - first_rows) if rows > first_rows else spent / rows
        fit = rows * _GROWTH if each <= 0 else rows + int((seconds - spent) / each)
        least = 2 * rows if len(self._scored) == 1 else 0
        wanted = min(self._conditions.eval_rows, max(least, min(rows * _GROWTH, fit)))
        return wanted if wanted > rows else None

    def _run(self, rows: int, tokens: int, steps: int, eval_rows: int | None, head_dim: int | None) -> Pace:
        assignment = self._assign(rows, tokens, head_dim, beats := _Beats())
        patient = min(_MOST_SECONDS, self._conditions.budget_seconds)
        conditions = replace(self._conditions, steps=steps, budget_seconds=patient)
        training, log = Training(conditions, assignment), assignment.folder / "log.txt"
        with Log(log) as file:
            ended = training.run(file)
        failure = training.failure(ended, log)
        spent = training.seconds(ended)
        done = training.facts.get("steps") or 0
        if failure is None and done == steps < _MOST_STEPS and not spent["train"]:
            more = min(steps * _GROWTH, _MOST_STEPS)
            return self._run(rows, tokens, more, eval_rows, head_dim)  # the run was too quick to be timed
        if failure is not None or not spent["train"] or done < 2:
            said = failure[1] if failure is not None else f"it ended after {done} steps"
            failed = Pace(rows, tokens, failure=said, head_dim=head_dim)
            self._say(f"{_batch(failed)}: {said}")
            return failed
        self.start = spent["start"] if self.start is None else min(self.start, spent["start"] or self.start)
        self.compile = self.compile or spent["compile"]
        self.matrix_params = self.matrix_params or training.facts.get("matrix_params")
        seconds = spent["train"] / (done - 1)
        memory = _memory(training, ended.peak_memory_mb)
        pace = Pace(rows, tokens, done - 1, seconds, *beats.spread(), memory, head_dim=head_dim)
        self._say(_in_words(pace))
        if eval_rows is not None:
            self._evaluate(conditions, assignment, eval_rows)
        return pace

    def _assign(self, rows: int, tokens: int, head_dim: int | None, watch: _Beats) -> Assignment:
        """Return an assignment with a new folder for the run, and a new folder with a script of these sizes."""
        self._count += 1
        tree, run = (self._folder / f"{self._count}-{name}" for name in ("tree", "run"))
        tree.mkdir()
        run.mkdir()
        sizes = {"DEVICE_BATCH_SIZE": rows, "TOTAL_BATCH_SIZE": tokens}
        text = set_knobs(self._text, sizes if head_dim is None else {**sizes, "HEAD_DIM": head_dim})
        (tree / self._conditions.script).write_text(text, encoding="utf-8")
        return Assignment(tree, run, _SEED, watch)

    def _evaluate(self, conditions: Conditions, assignment: Assignment, rows: int) -> None:
        evaluation, log = Evaluation(replace(conditions, eval_rows=rows), assignment), assignment.folder / "log.txt"
        with Log(log) as file:
            ended = evaluation.run(file)
        failure = evaluation.failure(ended, log)
        if failure is not None or not evaluation.seconds:
            self._say(f"evaluation of {rows} rows: {failure[1] if failure else 'not measured'}")
            return
        self._scored.append((rows, evaluation.seconds))
        self._say(f"evaluation of {rows:,} of {conditions.eval_rows:,} rows: {evaluation.seconds:.1f} s")


class _Beats:
    """Records when the parent receives the message about each step, to compute the step times."""

    def __init__(self) -> None:
        self._heard: list[tuple[float, int]] = []

    def __call__(self, progress: Progress) -> None:
        if progress.phase != "train" or progress.step is None:
            return
        if not self._heard or progress.step > self._heard[-1][1]:
            self._heard.append((time.monotonic(), progress.step))

    def spread(self) -> tuple[float | None, float | None]:
        """Return the median step time and half the interquartile range, in seconds; None for too few steps.

        The time before the second step is left out, because it includes the start of the run.
        """
        gaps = [(b - a) / (m - n) for (a, n), (b, m) in pairwise(self._heard[1:])]
        if len(gaps) < 4:
            return (median(gaps) if gaps else None), None
        low, middle, high = quantiles(gaps, n=4)
        return middle, (high - low) / 2


def _memory(training: Training, outside: float | None) -> float | None:
    inside = training.facts.get("peak_memory_mb")
    return float(inside) if inside else outside


def _batch(pace: Pace) -> str:
    heads = "" if pace.head_dim is None else f", heads of {pace.head_dim}"
    return f"{pace.tokens:,} tokens a step, {pace.rows} rows a pass{heads}"


def _in_words(pace: Pace) -> str:
    assert pace.seconds is not None
    rate = pace.tokens / pace.seconds
    noise = ""
    if pace.median is not None and pace.spread is not None:
        noise = f", median {1000 * pace.median:,.0f} +- {1000 * pace.spread:,.0f} ms"
    said = f"{1000 * pace.seconds:,.0f} ms a step over {pace.steps} steps{noise}"
    return f"{_batch(pace)}: {said}, {rate:,.0f} tokens/s"
