"""Adopt another lab's result: measure the edit of this result here, and keep the edit only if it wins here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autoresearch_mlx.agents.prompt.quoting import phrase
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Experiment, Proposal
from autoresearch_mlx.lab.source import read_knobs, set_knobs
from autoresearch_mlx.loop.carry import Overlap, carried
from autoresearch_mlx.loop.research import measure_edit
from autoresearch_mlx.loop.screen import Screen
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.share.exchange import read_files
from autoresearch_mlx.share.hints import changes_in_words
from autoresearch_mlx.share.place import Pulled
from autoresearch_mlx.terms import cut

AGENT = "share"
"""Name of the agent in the ledger for adopted experiments."""


def adopt(session: Session, pool: Path, pulled: Pulled, screen: Screen) -> Experiment:
    """Measure the edit of a pulled result as an experiment on the present incumbent, and return the experiment.

    Raises LabError when the result has no edit, when the edit does not fit the incumbent's files, or when the incumbent
    has the edit already.
    """
    _refuse_other_target(session, pulled)
    return measure_edit(session, lambda: _proposal(session, pool, pulled), screen)


def _refuse_other_target(session: Session, pulled: Pulled) -> None:
    theirs, ours = (pulled.result.target, pulled.result.metric), (session.target.name, session.target.metric)
    if theirs != ours:
        here = f"this session improves {ours[1]} ({ours[0]})"
        said = f"result {pulled.number} improves {theirs[1]} ({theirs[0]}), and {here}"
        raise LabError(said, "choose another session with --tag, or a result that improves this session's metric")


def _proposal(session: Session, pool: Path, pulled: Pulled) -> Proposal:
    result = pulled.result
    here = session.workspace.read(session.incumbent(session.journal().history))
    files = _by_knobs(pulled, here) if result.knobs else None
    files = _by_files(session, pool, pulled, here) if files is None else files
    files = {path: text for path, text in files.items() if text != here.get(path)}
    if not files:
        raise LabError(f"the incumbent has the edit of result {pulled.number} already", "there is nothing to measure")
    title = cut(f"adopted {pulled.number}: {changes_in_words(result) or phrase(result.title)}", 120)
    why = f'Published by lab {result.lab}, measured on {result.chip}; note of the lab: "{phrase(result.note, 300)}"'
    talk = {"adopts": pulled.number, "from": result.name}
    return Proposal(title, files, result.axis, why, AGENT, talk=talk)


def _by_knobs(pulled: Pulled, here: Mapping[str, str]) -> dict[str, str] | None:
    """Return the incumbent's files with the published values of knobs, or None when the files lack one of the knobs."""
    values = {name: now for name, (_, now) in pulled.result.knobs.items()}
    found: dict[str, str] = {}
    for path, text in here.items():
        knobs = read_knobs(text) if path.endswith(".py") else {}
        mine = {name: values.pop(name) for name in list(values) if name in knobs}
        for name, value in mine.items():
            if not _alike(knobs[name].value, value):
                said = f"result {pulled.number} sets {name} to a value of another type than the knob has in this lab"
                raise LabError(said, "adopt another result, or make the edit by hand and run `autoresearch-mlx try`")
        if mine:
            found[path] = set_knobs(text, {name: _as_here(knobs[name].value, value) for name, value in mine.items()})
    return found if not values else None


def _alike(ours: object, theirs: object) -> bool:
    numbers = (int, float)
    if type(ours) in numbers and type(theirs) in numbers:
        return True
    return type(ours) is type(theirs) or (isinstance(ours, list | tuple) and isinstance(theirs, list | tuple))


def _as_here(ours: object, theirs: object) -> object:
    return tuple(theirs) if isinstance(ours, tuple) and isinstance(theirs, list) else theirs


def _by_files(session: Session, pool: Path, pulled: Pulled, here: Mapping[str, str]) -> dict[str, str]:
    number, result = pulled.number, pulled.result
    if not result.files:
        why = result.withheld or "only the files of wins are published"
        raise LabError(
            f"result {number} cannot be adopted: {why}",
            "make the edit by hand; `autoresearch-mlx share REMOTE log --json` prints its knobs and its patch",
        )
    before, after = read_files(pool, pulled)
    if refused := [path for path in after if not session.workspace.may_edit(path)]:
        ours = ", ".join(session.workspace.editable)
        said = f"result {number} edits {', '.join(refused)}; only {ours} may be edited here"
        raise LabError(said, "adopt another result, or change `editable` in a new session")
    files = carried(after, before, here)
    if isinstance(files, Overlap):
        hint = "make the edit by hand in your checkout, and run `autoresearch-mlx try`"
        raise LabError(f"the edit of result {number} does not fit the incumbent: {files.words}", hint)
    return files
