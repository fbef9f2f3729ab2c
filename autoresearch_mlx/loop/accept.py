"""Implement the command ``accept``: measure once more a change whose gain was too large to be believed.

A person vouches for the change, so this time a large gain does not prevent a keep.
"""

from __future__ import annotations

from autoresearch_mlx.agents.scripted import Fixed
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Experiment, History, Proposal
from autoresearch_mlx.judge.waiting import waiting
from autoresearch_mlx.loop.carry import Overlap, carried
from autoresearch_mlx.loop.research import experiment, recover
from autoresearch_mlx.loop.screen import Screen
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.loop.upkeep import measure_anew, tell_of_machine
from autoresearch_mlx.store.journal import now

PERSON = "person"
"""Name of the agent in the ledger for experiments that a person has accepted."""


def accept(session: Session, number: int, screen: Screen) -> Experiment:
    """Measure the change of experiment ``number`` once more, as a new experiment, and return the new experiment.

    The new experiment is compared with the present incumbent, and kept if the judge finds it better, however large the
    gain is.  Raises LabError when experiment ``number`` is not waiting to be accepted, or when its change overlaps with
    a later keep.
    """
    recover(session, screen)
    held = _held(session.journal().history, number)
    tell_of_machine(session, screen)
    measure_anew(session, screen)
    proposal = _proposal(session, held)
    session.append("accepted", number=number, time=now())
    return experiment(session, Fixed(PERSON, proposal), screen, accepted=True)


def _held(history: History, number: int) -> Experiment:
    found = next((e for e in history.experiments if e.number == number), None)
    if found is None:
        raise LabError(f"there is no experiment {number}", "`autoresearch-mlx log` lists the experiments")
    if not found.held or found.commit is None or found.base is None:
        left = ", ".join(str(each.number) for each in waiting(history)) or "none"
        said = f"experiment {number} is not waiting to be accepted: it ended as {found.status}"
        raise LabError(said, f"experiments that wait for you: {left}")
    return found


def _proposal(session: Session, held: Experiment) -> Proposal:
    assert held.commit is not None and held.base is not None
    after, before = session.workspace.read(held.commit), session.workspace.read(held.base)
    theirs = session.workspace.read(session.incumbent(session.journal().history))
    files = carried({path: text for path, text in after.items() if text != before.get(path)}, before, theirs)
    if isinstance(files, Overlap):
        said = f"experiment {held.number} cannot be combined with the changes that were kept after it: {files.words}"
        raise LabError(said, "make the change again in your checkout, and run `autoresearch-mlx try`")
    title = f"accepted #{held.number}: {held.title}"
    return Proposal(title, files, held.axis, held.rationale, PERSON, talk={"accepts": held.number})
