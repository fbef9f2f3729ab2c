"""Write the ledger of a factory, and compute the factory's state from the ledger.

The ledger is a journal of events (``store/journal.py``).  Each stage first writes its results into a folder and then
appends its event to the ledger.  So after a kill at any moment, the next call continues with the first stage that has
no event.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from autoresearch_mlx.errors import LabError, LedgerError, LockedError
from autoresearch_mlx.store.journal import Event, read_events, writing
from autoresearch_mlx.store.locks import take_lock

FILE = "factory.jsonl"
PAGE = "factory.html"
WORK, PROBLEMS, SHIPPED, POSTS = "work", "problems", "shipped", "posts"
Stage: TypeAlias = Literal["collect", "evidence", "problem", "spec", "cases", "build", "verify", "improve", "ship"]
STAGES: tuple[Stage, ...] = ("collect", "evidence", "problem", "spec", "cases", "build", "verify", "improve", "ship")


@dataclass(frozen=True, slots=True)
class Options:
    """The options that the user may set.  A later call may change an option; the ledger records every change."""

    pieces: int = 3
    """Number of independent pieces of evidence that a problem needs."""
    cases: int = 30
    """Number of cases that the model is asked to write for each problem."""
    experiments: int = 5
    """Number of experiments that try to improve each verified agent."""
    problems: int = 10
    """Largest number of problems for which an agent is made."""
    read: int = 500
    """Largest number of pieces of evidence that the model reads; the newest pieces are chosen."""
    builds: int = 2
    """Largest number of builds of one agent.  If the last build is refused too, the problem is discarded."""
    bar: float = 0.5
    """Lowest score on the hidden cases with which an agent is shipped."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem, and its state."""

    id: str
    title: str
    statement: str
    evidence: tuple[Mapping[str, Any], ...]
    """The pieces of evidence, each with ``piece``, ``quote``, ``address``, ``author`` and ``date``."""
    independent: int
    needed: int
    spec: Mapping[str, Any] | None = None
    cases: Event | None = None
    builds: tuple[Event, ...] = ()
    refusals: tuple[Event, ...] = ()
    """One event for each build that did not pass, with ``attempt`` and ``reason``."""
    verified: Event | None = None
    improved: Event | None = None
    shipped: Event | None = None
    discarded: Event | None = None

    @property
    def number(self) -> int:
        return int(self.id.removeprefix("p"))

    @property
    def enough(self) -> bool:
        return self.independent >= self.needed or self.spec is not None

    @property
    def over(self) -> bool:
        return self.shipped is not None or self.discarded is not None

    @property
    def stage(self) -> Stage:
        """The problem's next stage; if the problem is shipped or discarded, its last stage."""
        if self.discarded is not None:
            found: Stage = self.discarded["stage"]
            return found
        done = (self.spec, self.cases, self.builds, self.verified, self.improved)
        waiting: tuple[Stage, ...] = ("spec", "cases", "build", "verify", "improve")
        if self.builds and self.verified is None and len(self.refusals) == len(self.builds):
            return "build"
        return next((stage for stage, event in zip(waiting, done, strict=True) if not event), "ship")

    @property
    def state(self) -> str:
        """``shipped``, ``discarded``, ``too little evidence``, or the name of the next stage."""
        if not self.enough:
            return "too little evidence"
        return "shipped" if self.shipped else "discarded" if self.discarded else self.stage


@dataclass(frozen=True, slots=True)
class Factory:
    """The state of a factory, computed from its ledger."""

    options: Options = Options()
    began: str = ""
    collected: Event | None = None
    evidence: Event | None = None
    batches: tuple[Event, ...] = ()
    """One event for each batch of posts in which the model has looked for problems, in order."""
    same: list[list[str]] | None = None
    """Groups of ids of problems that differ only in wording; None if the model was not asked yet."""
    listed: bool = False
    """True if the stage ``problem`` is over: all batches were read, and all problems are in the ledger."""
    problems: tuple[Problem, ...] = ()
    damaged: tuple[int, ...] = ()
    """Numbers of the ledger's lines that do not contain an event."""

    @property
    def taken(self) -> tuple[Problem, ...]:
        """The problems for which agents are made: at most ``options.problems`` problems with enough evidence.

        Problems with more evidence come first.
        """
        return tuple(problem for problem in self.problems if problem.enough)[: self.options.problems]

    @property
    def over(self) -> bool:
        return self.listed and all(problem.over for problem in self.taken)

    @property
    def stage(self) -> str:
        """The name of the next stage, or ``done``."""
        if self.collected is None:
            return "collect"
        if self.evidence is None:
            return "evidence"
        if not self.listed:
            return "problem"
        return next((problem.stage for problem in self.taken if not problem.over), "done")


def replay(events: Sequence[Event], damaged: Sequence[int] = ()) -> Factory:
    """Return the state of a factory after these events; events of an unknown kind are ignored.

    ``damaged`` has the numbers of lines that could not be read.  Raises LedgerError for an event that lacks a field.
    """
    state = Factory(damaged=tuple(damaged))
    problems: dict[str, Problem] = {}
    for number, event in enumerate(events, 1):
        try:
            state = _after(state, problems, event)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            said = f"event {number} of {FILE}, {event['event']!r}, is damaged: {type(error).__name__}: {error}"
            raise LedgerError(said, "put the file back from a copy, or begin another factory") from None
    needed = state.options.pieces  # a later call may have changed this option
    return replace(state, problems=tuple(replace(each, needed=needed) for each in problems.values()))


def _after(state: Factory, problems: dict[str, Problem], event: Event) -> Factory:
    """Return the state after one more event; an event about a problem changes ``problems`` in place."""
    kind = event["event"]
    if kind in ("began", "set"):
        known = {name: value for name, value in event["options"].items() if name in Options.__slots__}
        state = replace(state, options=replace(state.options, **known), began=state.began or event["time"])
    elif kind in ("collected", "evidence"):
        state = replace(state, collected=event) if kind == "collected" else replace(state, evidence=event)
    elif kind == "read":
        state = replace(state, batches=(*state.batches, event))
    elif kind == "merged":
        state = replace(state, same=event["same"])
    elif kind == "listed":
        state = replace(state, listed=True)
    elif kind == "problem":
        told = {name: event[name] for name in ("title", "statement", "independent", "needed")}
        problems[event["problem"]] = Problem(event["problem"], evidence=tuple(event["evidence"]), **told)
    elif (problem := problems.get(str(event.get("problem")))) is not None:
        problems[problem.id] = _with(problem, kind, event)
    return state


def _with(problem: Problem, kind: str, event: Event) -> Problem:
    if kind == "spec":
        return replace(problem, spec=event["spec"])
    if kind == "built":
        return replace(problem, builds=(*problem.builds, event))
    if kind == "refused":
        return replace(problem, refusals=(*problem.refusals, event))
    if kind in ("cases", "verified", "improved", "shipped", "discarded"):
        changed: Any = {kind: event}
        return replace(problem, **changed)
    return problem


@dataclass(frozen=True, slots=True)
class Book:
    """The folder of a factory: the paths in it, and functions that read and write its ledger."""

    root: Path

    @property
    def path(self) -> Path:
        return self.root / FILE

    @property
    def work(self) -> Path:
        """The folder with the posts, the calls to models, and the runs."""
        return self.root / WORK

    @property
    def posts(self) -> Path:
        """The file with all posts that were read."""
        return self.work / "posts.jsonl"

    @property
    def pieces(self) -> Path:
        """The file with the evidence: the posts that are not copies of earlier posts."""
        return self.work / "evidence.jsonl"

    def folder(self, problem: Problem) -> Path:
        return self.root / PROBLEMS / problem.id

    def lab(self, problem: Problem) -> Path:
        return self.folder(problem) / "lab"

    def read(self) -> Factory:
        """Return the factory's state.  Raises LedgerError when the ledger cannot be read."""
        found = read_events(self.path)
        return replay(found.events, found.damaged)

    def append(self, kind: str, **fields: Any) -> None:
        """Append one event to the ledger.  Raises LedgerError when the ledger cannot be written."""
        with writing(self.path) as writer:
            writer.append(kind, **fields)


def open_book(root: Path) -> Book:
    """Return the factory in a folder.  Raises LabError when the folder has no factory."""
    if not (root / FILE).is_file():
        raise LabError(f"there is no factory in {root}", "`autoresearch-mlx factory DIR --posts PATH` begins a factory")
    return Book(root)


@contextmanager
def held(root: Path) -> Iterator[Book]:
    """Lock the factory in the folder ``root`` until the end of the block; make the folder if it does not exist.

    Raises LockedError when another process works on the factory, and LabError when the folder cannot be made.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / WORK).mkdir(exist_ok=True)
        lock = (root / WORK / "lock").open("a+")
    except OSError as error:
        raise LabError(f"{root} cannot be written: {error.strerror}", "name another folder") from None
    with lock:
        if not take_lock(lock):
            lock.seek(0)
            said = f"another process works on this factory: process {lock.read().strip() or 'unknown'}"
            raise LockedError(said, "wait until that process ends, or stop it with Ctrl-C in its terminal")
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield Book(root)
        lock.truncate(0)
