"""Ask an agent for a proposal, and refuse a proposal without an edit, with forbidden files, or with nothing new."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from autoresearch_mlx import terms
from autoresearch_mlx.errors import AgentError, AutoresearchError
from autoresearch_mlx.experiment import Agent, Context, History, Proposal, Running, Verdict
from autoresearch_mlx.judge.faults import FAULTS_IN_A_ROW, faults_at_the_end
from autoresearch_mlx.lab.literals import too_much
from autoresearch_mlx.lab.seeds import only_seeds_changed
from autoresearch_mlx.lab.source import fingerprint, only_knobs_differ
from autoresearch_mlx.loop.session import Session


@dataclass(frozen=True, slots=True)
class Candidate:
    """A proposal, and all facts that are needed to check it."""

    session: Session
    history: History
    number: int
    files: Mapping[str, str]
    """The editable files of the version on which the proposal builds."""
    proposal: Proposal
    origin: str
    """Description of the version on which the proposal builds, such as ``the incumbent``."""
    running: Sequence[Running] = ()
    """Experiments that other lanes are measuring."""


def refuse(c: Candidate) -> Verdict | None:
    """Return the verdict on a proposal that cannot be measured or is not worth a run, or None if it is worth a run."""
    files, workspace = c.proposal.files, c.session.workspace
    if c.proposal.problem:
        return Verdict("invalid", c.proposal.problem)
    if not files:
        return Verdict("invalid", "the proposal changes no file")
    forbidden = [path for path in files if not workspace.may_edit(path)]
    if forbidden:
        return Verdict("invalid", f"{', '.join(forbidden)} may not be edited; only {', '.join(workspace.editable)} may")
    if (reason := clash({*files, *c.files})) is not None:
        return Verdict("invalid", reason)
    if (problem := c.session.target.refuse(files)) is not None:
        return Verdict("invalid", problem)
    if c.number > 0 and (carried := _carries_data(c)) is not None:
        return Verdict("invalid", carried)
    if c.number > 0 and only_seeds_changed(c.files, files):
        return Verdict("invalid", "only seeds are changed: a lucky seed is not a gain, and the harness sets the seed")
    # A removal, or an experiment that a person accepts, may lead to files that were measured before.  They are measured
    # again, against the present head.
    again = "removes" in c.proposal.talk or "accepts" in c.proposal.talk
    if c.number > 0 and not again and (before := _seen_before(c)) is not None:
        return Verdict("duplicate", before)
    taken = _claimed_elsewhere(c)
    return Verdict("duplicate", taken) if taken is not None else None


def worth_a_smoke(c: Candidate) -> bool:
    """Return whether an edit needs a smoke run.

    By default only new code needs a smoke run, because new code may not even start; new values of knobs rarely fail.
    """
    if c.session.smoking == "code" and c.number > 0:
        return not all(only_knobs_differ(c.files.get(path, ""), text) for path, text in c.proposal.files.items())
    return c.session.smoking == "always"


def _claimed_elsewhere(c: Candidate) -> str | None:
    """If this run shares its results, tell the other labs that this lab measures the edit.

    Returns the reason if the edit is not worth a run because another lab measures it or has measured it, else None.
    """
    on_purpose = {
        "removes",
        "accepts",
        "adopts",
    } & c.proposal.talk.keys()  # experiments of these kinds are measured here in any case
    if c.session.sharing is None or c.number == 0 or on_purpose:
        return None
    return c.session.sharing.claim(c.files, c.proposal.files, c.history)


def _carries_data(c: Candidate) -> str | None:
    """Return a sentence about a file that would get more literals than the settings allow, or None."""
    if c.session.literals is None or "removes" in c.proposal.talk:  # a removal brings back earlier text
        return None
    for path, text in c.proposal.files.items():
        if path.endswith(".py"):
            why = too_much(path, c.files.get(path, ""), text, c.session.literals)
            if why is not None:
                return why
    return None


def _seen_before(c: Candidate) -> str | None:
    mark = fingerprint({**c.files, **c.proposal.files})
    if mark == fingerprint(c.files):
        return f"the same as {c.origin}, except for comments and layout"
    for other in c.running:
        if fingerprint(other.files) == mark:
            return f"the same as experiment {other.number}, which is being measured"
    for e in c.history.experiments:
        # A file whose runs were all disturbed may be tried again, unless the file itself was found to be the cause.
        measured = any(not m.tainted for m in e.measurements) or faults_at_the_end(e.measurements) >= FAULTS_IN_A_ROW
        if e.fingerprint == mark and measured and e.status != "interrupted":
            value = f", {c.history.metric} {terms.value(e.value)}" if e.value is not None else ""
            return f"the same as experiment {e.number} ({e.status}{value})"
    return None


def clash(paths: Collection[str]) -> str | None:
    """Return a sentence about a path that would have to be a file and also a folder, or None if no path would."""
    for path in paths:
        parents = [parent.as_posix() for parent in PurePosixPath(path).parents]
        if (folder := next((p for p in parents if p in paths), None)) is not None:
            return f"{path} cannot exist, because {folder} is a file"
    return None


def ask(agent: Agent, context: Context) -> Proposal:
    """Return the agent's proposal.

    An agent may be a user's own code, so every exception becomes an AgentError, and so does a malformed proposal.
    """
    try:
        answer: object = agent.propose(context)
    except AutoresearchError:
        raise
    except (Exception, SystemExit) as error:
        said = f"the agent {agent.name} failed: {type(error).__name__}: {error}"
        raise AgentError(said, "correct the agent's code; it gets an autoresearch_mlx.experiment.Context") from error
    if (wrong := wrong_in(answer)) is not None:
        said = f"the agent {agent.name} returned {wrong}"
        raise AgentError(said, "it should return an autoresearch_mlx.experiment.Proposal")
    assert isinstance(answer, Proposal)
    return answer


def wrong_in(answer: object) -> str | None:
    """Return a description of what is wrong in an agent's answer, or None if it is a well-formed proposal."""
    if not isinstance(answer, Proposal):
        return "nothing" if answer is None else f"a {type(answer).__name__}, not a Proposal"
    for name in ("title", "rationale", "agent", "problem"):
        if not isinstance(getattr(answer, name), str):
            return f"a proposal with {name} = {getattr(answer, name)!r}, not a string"
    for name in ("axis", "base"):
        if not isinstance(getattr(answer, name), str | None):
            return f"a proposal with {name} = {getattr(answer, name)!r}, neither a text nor None"
    files: object = answer.files
    if not isinstance(files, Mapping) or not all(isinstance(text, str) for pair in files.items() for text in pair):
        return "a proposal whose files do not map paths to texts"
    try:
        json.dumps(dict(answer.talk), allow_nan=False)
    except (TypeError, ValueError) as error:
        return f"a proposal whose talk is not plain JSON: {error}"
    return None


def writable(proposal: Proposal) -> Proposal:
    """Return the proposal with all characters replaced that cannot be written to a file.

    A model may send such characters, because JSON allows half of a surrogate pair.
    """
    return replace(
        proposal,
        title=_whole(proposal.title),
        files={_whole(path): _whole(text) for path, text in proposal.files.items()},
        axis=_whole(proposal.axis) if proposal.axis else None,
        rationale=_whole(proposal.rationale),
    )


def _whole(text: str) -> str:
    return text.encode(errors="surrogatepass").decode(errors="replace")
