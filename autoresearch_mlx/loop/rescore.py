"""Implement the command ``evaluate``: score an experiment's weights again, on more rows or on hidden rows."""

from __future__ import annotations

import shutil
from typing import Any

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Assignment, Experiment, Split
from autoresearch_mlx.loop.measure import run_folder
from autoresearch_mlx.loop.screen import Screen
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.targets.contract import Rescorable, Rescoring


def evaluate(
    session: Session, number: int | None, rows: int | None, split: Split, full: bool, screen: Screen
) -> dict[str, Any]:
    """Return the score of experiment ``number``, or of the incumbent, on the first ``rows`` rows of a split.

    With ``full``, as many tokens are scored as karpathy/autoresearch scores.  Raises LabError when the target keeps no
    weights, the weights were deleted, the split has too few rows, or the evaluation gives no score.
    """
    target = session.target
    if not isinstance(target, Rescorable):
        said = f"runs of the target {target.name} leave no weights that could be scored again"
        raise LabError(said, "`autoresearch-mlx try` measures the files of your lab")
    experiment = _experiment(session, number)
    asked = target.rescoring(split, rows, full)
    found = _score(session, experiment, target.kept_file, asked, screen)
    counts = {"rows": asked.rows, "tokens": asked.tokens}
    return {"number": experiment.number, "split": split, **counts, session.target.metric: found}


def _experiment(session: Session, number: int | None) -> Experiment:
    history = session.journal().history
    found = history.incumbent if number is None else next((e for e in history.experiments if e.number == number), None)
    if found is None or found.commit is None:
        said = f"there is no experiment {'yet' if number is None else number}"
        raise LabError(said, "`autoresearch-mlx log` lists the experiments")
    return found


def _score(session: Session, experiment: Experiment, kept_file: str, asked: Rescoring, screen: Screen) -> float:
    kept = next((session.folder / "runs").glob(f"{experiment.number:04d}-[0-9]*/{kept_file}"), None)
    if kept is None:
        said = f"the weights of experiment {experiment.number} are not in this session's folder"
        hint = "only the incumbent's weights are kept (see `log`), and an archive has weights only with --weights"
        raise LabError(said, hint)
    assert experiment.commit is not None
    folder = run_folder(session, f"{experiment.number:04d}-evaluate")
    shutil.copyfile(kept, folder / kept_file)
    session.worker.worktree.lay_out(experiment.commit)
    try:
        done = asked.score(Assignment(session.worker.worktree.tree, folder, session.seed, screen.progress))
    finally:
        session.worker.worktree.ensure()
    (folder / kept_file).unlink()
    if done.value is None:
        raise LabError(f"the evaluation ended as {done.failure}: {done.reason}", f"the log is {folder / 'log.txt'}")
    return done.value
