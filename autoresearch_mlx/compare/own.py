"""Turn one of our sessions into a log; the axes of changed code come from the diffs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoresearch_mlx.compare.diffs import ARGUMENTS, axes_of_diff, read_patches
from autoresearch_mlx.compare.log import Log, of_history
from autoresearch_mlx.compare.measured_under import of_journal
from autoresearch_mlx.errors import WorkspaceError
from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.lab.source import axis_of
from autoresearch_mlx.store.git import git
from autoresearch_mlx.store.ledger import Journal

_AT_ONCE = 200
"""Maximum number of commits in one call of git, because the names of all commits must fit into a command line."""


def own_log(journal: Journal, root: Path, name: str, source: str = "") -> tuple[Log, str]:
    """Return the log of a session of the lab at ``root``, and a sentence on why the diffs could not be read.

    The sentence is empty if the diffs could be read.
    """
    conditions = of_journal(journal)
    code, trouble = {}, ""
    try:
        code = _axes_of_code(root, journal.history.experiments)
    except WorkspaceError as error:
        trouble = f"the diffs cannot be read, so changes of code have the axes that the agents named: {error}"
    return of_history(journal.history, name, source, conditions, code), trouble


def _axes_of_code(root: Path, experiments: Sequence[Experiment]) -> dict[int, tuple[str, ...]]:
    """Return {experiment's number: axes that the diff shows}, except for experiments that change a single well-known
    knob.

    An experiment whose commit no longer exists is left out.
    """
    wanted = {e.commit: e.number for e in experiments if e.number and e.commit and len(_known(e)) != 1}
    # A foreign ledger could contain a name that git reads as an option.
    commits = [commit for commit in wanted if commit.isalnum()]
    found: dict[int, tuple[str, ...]] = {}
    for start in range(0, len(commits), _AT_ONCE):
        patches = read_patches(git(root, "log", *ARGUMENTS, *commits[start : start + _AT_ONCE]))
        for commit in patches.keys() & wanted.keys():
            axes = dict.fromkeys(axis for before, after in patches[commit] for axis in axes_of_diff(before, after))
            if axes:
                found[wanted[commit]] = tuple(axes)
    return found


def _known(experiment: Experiment) -> list[str]:
    return [axis for axis in map(axis_of, experiment.knobs) if not axis.startswith("knob.")]
