"""Score the weights of an experiment again: on more rows, on the hidden ones, or on as many tokens as upstream does."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any, Literal

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Assignment, Experiment, Screen
from autoresearch_mlx.loop.measure import run_folder
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.targets.pretrain.target import Pretrain
from autoresearch_mlx.trial.evaluation import Evaluation
from autoresearch_mlx.trial.runner import Log
from autoresearch_mlx.trial.spec import WEIGHTS

FULL_TOKENS = 40 * 524_288
"""What karpathy/autoresearch scores: EVAL_TOKENS in its prepare.py."""
_SECONDS_EACH = 60.0
"""Of the time allowance, for each multiple of the session's own rows."""


def evaluate(
    session: Session, number: int | None, rows: int | None, split: Literal["val", "hidden"], full: bool, screen: Screen
) -> dict[str, Any]:
    """The score of experiment ``number`` (default: the incumbent) on the first ``rows`` rows of a split.

    Raises LabError: another target, weights that are not kept, too few rows, or a score that is none.
    """
    if not isinstance(session.target, Pretrain):
        raise LabError("only a training script has weights to score", "`autoresearch-mlx try` measures your program")
    experiment = _experiment(session, number)
    wanted = FULL_TOKENS // session.target.conditions.seq_len if full else rows
    target = _with_rows(session.target, wanted, split)
    found = _score(session, experiment, target, screen)
    c = target.conditions
    tokens = c.eval_rows * c.seq_len
    return {"number": experiment.number, "split": split, "rows": c.eval_rows, "tokens": tokens, target.metric: found}


def _experiment(session: Session, number: int | None) -> Experiment:
    history = session.journal().history
    found = history.incumbent if number is None else next((e for e in history.experiments if e.number == number), None)
    if found is None or found.commit is None:
        raise LabError(f"there is no experiment {'yet' if number is None else number}", "`autoresearch-mlx log`")
    return found


def _with_rows(target: Pretrain, wanted: int | None, split: Literal["val", "hidden"]) -> Pretrain:
    import numpy as np

    c = replace(target.conditions, split=split)
    there = len(np.load(c.scored_rows(), mmap_mode="r", allow_pickle=False))
    rows = there if wanted is None else wanted
    if rows > there:
        said = f"the {split} split has {there:,} rows of {c.seq_len} tokens, {rows:,} are wanted"
        raise LabError(said, f"prepare more: [data] eval_rows = {rows} in lab.toml, then a session with another --tag")
    seconds = c.evaluate_seconds + _SECONDS_EACH * rows / c.eval_rows
    return replace(target, conditions=replace(c, eval_rows=rows, evaluate_seconds=seconds))


def _score(session: Session, experiment: Experiment, target: Pretrain, screen: Screen) -> float:
    weights = next((session.folder / "runs").glob(f"{experiment.number:04d}-[0-9]*/{WEIGHTS}"), None)
    if weights is None:
        said = f"the weights of experiment {experiment.number} are not kept: only the incumbent's are"
        raise LabError(said, "`autoresearch-mlx log` marks the incumbent")
    assert experiment.commit is not None
    folder = run_folder(session, f"{experiment.number:04d}-evaluate")
    shutil.copyfile(weights, folder / WEIGHTS)
    session.worker.worktree.checkout(experiment.commit)
    try:
        evaluation = Evaluation(
            target.conditions, Assignment(session.worker.worktree.tree, folder, session.seed, screen.progress)
        )
        with Log(folder / "log.txt") as log:
            ended = evaluation.run(log)
        failure = evaluation.failure(ended, folder / "log.txt")
    finally:
        session.worker.worktree.ensure()
    (folder / WEIGHTS).unlink()
    if failure is not None or evaluation.value is None:
        kind, reason = failure or ("invalid", "no score")
        raise LabError(f"the evaluation ended as {kind}: {reason}", f"its log: {folder / 'log.txt'}")
    return evaluation.value
