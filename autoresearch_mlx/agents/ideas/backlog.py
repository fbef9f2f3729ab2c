"""Keep the backlog of ideas: a journal in the session's folder, from which the ideas are read.

``ideas.jsonl`` contains the events ``added``, ``dropped``, ``taken`` and ``refilled``.  Whether an idea is done
follows from the ledger, which has the ``talk`` of the experiment that took the idea.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoresearch_mlx.agents.ideas.axis_names import clean_axis
from autoresearch_mlx.agents.ideas.idea import (
    LONGEST_TITLE,
    MODEL,
    YOU,
    Draft,
    Idea,
    distinct_axes_first,
    finite,
    same,
    tidy,
    welcome,
)
from autoresearch_mlx.errors import ConfigError, LabError
from autoresearch_mlx.experiment import Experiment, History
from autoresearch_mlx.store.journal import Event, Writer, now, read_events, writing
from autoresearch_mlx.terms import one_line

FILE = "ideas.jsonl"
MOST_INTERRUPTED = 3
"""If this many experiments took an idea without trying it, the idea is dropped: it may crash the machine, or be too
hard for the model."""
_TEXTS = ("axis", "title", "hypothesis", "source", "time", "cost")


def add_yours(folder: Path, title: str, axis: str | None = None, why: str = "") -> Idea:
    """Add an idea of the user to the backlog, and return it.

    Raises ConfigError for an invalid title or axis, or if the same idea is open already.  Raises LedgerError when the
    journal cannot be written.
    """
    title = _title(title)
    if axis is not None and clean_axis(axis) != axis:
        raise ConfigError(f"{axis!r} is not the name of an axis", "lower-case words joined by dots, such as lr.matrix")
    added = add_ideas(folder, [Draft(title, axis, why)], YOU)
    if not added:
        known = same_open(folder, title, YOU)
        which = f"idea {known.id}" if known is not None else "an idea of yours"
        raise ConfigError(f"{which} already says that", "`autoresearch-mlx ideas` lists the open ideas")
    return added[0]


def _title(text: str) -> str:
    title = one_line(text)
    if not title:
        hint = 'for example: autoresearch-mlx ideas add "halve the batch" --axis batch'
        raise ConfigError("an idea needs a title", hint)
    if len(title) > LONGEST_TITLE:
        said = f"a title has at most {LONGEST_TITLE} characters, but this title has {len(title)}"
        raise ConfigError(said, "say the rest with --why")
    return title


def read_backlog(folder: Path, history: History | None = None) -> tuple[Idea, ...]:
    """Return all ideas, oldest first, each with the state that follows from the journal and the history.

    Raises LedgerError when the journal cannot be read.
    """
    return _replay(read_events(folder / FILE).events, history)


def open_ideas(folder: Path, history: History | None = None) -> tuple[Idea, ...]:
    """Return the open ideas, oldest first.  Raises LedgerError when the journal cannot be read.

    If an experiment took an idea and ended without trying it, the idea is open again.
    """
    return tuple(idea for idea in read_backlog(folder, history) if idea.state == "open")


def add_ideas(folder: Path, drafts: Sequence[Draft], source: str) -> tuple[Idea, ...]:
    """Add the drafts that are new, and return the ideas that were added.

    Drafts without a title are skipped, and so are drafts that repeat an earlier idea.  The user may repeat an idea: an
    open idea from another source becomes the user's own, and an idea that is no longer open is added again.  If the
    backlog gets full, drafts on axes without an open idea are added first.  Raises LedgerError when the journal cannot
    be read or written.
    """
    new: list[Idea] = []
    with writing(folder / FILE) as journal:
        old = _replay(journal.events, None)
        for draft in distinct_axes_first(map(tidy, drafts), old):
            if welcome(draft, [*old, *new], source):
                if source == YOU:
                    _take_over(draft, old, journal)
                new.append(_idea(max((i.id for i in (*old, *new)), default=0) + 1, draft, source))
                journal.append("added", **_fields(new[-1]))
        if source.startswith(MODEL):
            journal.append("refilled", source=source, offered=len(drafts), added=len(new))
    return tuple(new)


def _take_over(draft: Draft, ideas: Sequence[Idea], journal: Writer) -> None:
    """Make the user the source of each open idea that the user has added again."""
    for idea in ideas:
        if idea.state == "open" and idea.source != YOU and same(draft, idea):
            journal.append("dropped", id=idea.id)


def same_open(folder: Path, title: str, source: str) -> Idea | None:
    """Return the open idea that has this source and title; None if there is no such idea.

    Raises LedgerError when the journal cannot be read.
    """
    draft = tidy(Draft(title))
    return next((i for i in open_ideas(folder) if i.source == source and same(draft, i)), None)


def drop(folder: Path, id: int, history: History | None = None) -> Idea:
    """Mark the idea with this number as dropped, and return it.

    Raises LabError when the number is unknown, or the idea is done or dropped.  Raises LedgerError when the journal
    cannot be read or written.
    """
    with writing(folder / FILE) as journal:
        idea = _found(_replay(journal.events, history), id, folder)
        if idea.state in ("done", "dropped"):
            how = "dropped already" if idea.state == "dropped" else f"done: experiment {idea.experiment}"
            raise LabError(f"idea {id} is {how}", "`autoresearch-mlx ideas` lists the open ideas")
        journal.append("dropped", id=id)
    return replace(idea, state="dropped")


def take(folder: Path, id: int, experiment: int) -> Idea:
    """Mark the idea ``id`` as taken by the experiment with this number, and return it.

    If the experiment's ``talk`` does not name the idea (``{"idea": id}``), the idea becomes open again after the
    experiment.  Raises LabError when ``id`` is unknown, and LedgerError when the journal cannot be read or written.
    """
    with writing(folder / FILE) as journal:
        idea = _found(_replay(journal.events, None), id, folder)
        journal.append("taken", id=id, experiment=experiment)
    return replace(idea, state="taken", experiment=experiment)


def refilled(folder: Path) -> str | None:
    """Return the time of the last refill, with or without new ideas; None before the first refill.

    Raises LedgerError when the journal cannot be read.
    """
    times = [event.get("time") for event in read_events(folder / FILE).events if event["event"] == "refilled"]
    return next((time for time in reversed(times) if isinstance(time, str)), None)


# --- replay


def _replay(events: Sequence[Event], history: History | None) -> tuple[Idea, ...]:
    ideas: dict[int, Idea] = {}
    takers: dict[int, set[int]] = {}
    for event in events:
        id = event.get("id")
        if type(id) is not int:
            continue
        if event["event"] == "added" and id not in ideas and (idea := _read(id, event)) is not None:
            ideas[id] = idea
        elif event["event"] == "dropped" and id in ideas:
            ideas[id] = replace(ideas[id], state="dropped")
        elif event["event"] == "taken" and id in ideas and type(number := event.get("experiment")) is int:
            takers.setdefault(id, set()).add(number)
            ideas[id] = replace(ideas[id], experiment=number)
    finished = {e.number: e for e in history.experiments} if history is not None else {}
    return tuple(_settled(idea, takers.get(idea.id, set()), finished) for idea in ideas.values())


def _settled(idea: Idea, takers: Set[int], finished: Mapping[int, Experiment]) -> Idea:
    """Return the idea in the state that follows from the ledger."""
    if idea.state == "dropped" or idea.experiment is None:
        return idea
    experiment = finished.get(idea.experiment)
    if experiment is None:
        return replace(idea, state="taken")
    if _tried(experiment, idea.id):
        return replace(idea, state="done")
    missed = sum(number in finished and (finished[number].cut_off or _no_edit(finished[number])) for number in takers)
    return replace(idea, state="dropped") if missed >= MOST_INTERRUPTED else replace(idea, experiment=None)


def _tried(experiment: Experiment, id: int) -> bool:
    """Return whether an experiment tried idea ``id``: the model sent an edit for the idea, and the run was finished."""
    talk = experiment.talk
    if experiment.cut_off or _no_edit(experiment):
        return False
    return talk.get("idea") == id and talk.get("calls") != 0


def _no_edit(experiment: Experiment) -> bool:
    """Return whether the model answered, but its answer could not be measured."""
    calls = experiment.talk.get("calls")
    return experiment.status == "invalid" and not experiment.measurements and calls != 0


def _read(id: int, event: Event) -> Idea | None:
    texts = {name: event[name] for name in _TEXTS if isinstance(event.get(name), str)}
    expected, knobs = event.get("expected"), event.get("knobs")
    if not texts.get("title"):
        return None
    return Idea(
        id=id,
        axis=texts.get("axis"),
        title=texts["title"],
        hypothesis=texts.get("hypothesis", ""),
        expected=finite(expected),
        source=texts.get("source", ""),
        added=texts.get("time", ""),
        cost=texts.get("cost"),
        knobs=knobs if isinstance(knobs, dict) else {},
    )


def _fields(idea: Idea) -> dict[str, Any]:
    names = ("id", "axis", "title", "hypothesis", "expected", "source", "cost", "knobs")
    return {name: getattr(idea, name) for name in names}


def _found(ideas: Sequence[Idea], id: int, folder: Path) -> Idea:
    found = next((idea for idea in ideas if idea.id == id), None)
    if found is None:
        raise LabError(f"session {folder.name} has no idea {id}", "`autoresearch-mlx ideas --all` lists all ideas")
    return found


def _idea(id: int, draft: Draft, source: str) -> Idea:
    return Idea(
        id=id,
        axis=draft.axis,
        title=draft.title,
        hypothesis=draft.hypothesis,
        expected=draft.expected,
        source=source,
        added=now(),
        cost=draft.cost,
        knobs=draft.knobs,
    )
