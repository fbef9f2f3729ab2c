"""Turn what other labs published into hints for prompts and ideas for the backlog.

Words of another lab are quoted, with the lab's name.  The numbers are gains, each over the incumbent of the same lab;
the values of the metric are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoresearch_mlx import terms
from autoresearch_mlx.agents.ideas.backlog import add_ideas, open_ideas
from autoresearch_mlx.agents.ideas.idea import Draft
from autoresearch_mlx.agents.prompt.quoting import phrase
from autoresearch_mlx.lab.source import literal, read_knobs
from autoresearch_mlx.share.place import Pulled, pulled_here
from autoresearch_mlx.share.question import question_here
from autoresearch_mlx.share.result import Effect, Result
from autoresearch_mlx.store.ledger import Journal

MOST, MOST_OF_ONE_LAB = 8, 3
"""Largest number of hints in a prompt, and of hints from one lab."""
SOURCE = "lab:"
"""First part of an idea's ``source`` when the idea comes from another lab; the lab's name follows."""
_OPEN = 4
"""Largest number of open ideas from other labs; the backlog has room for sixteen ideas."""


def hints(state: Path, journal: Journal, root: Path) -> tuple[str, ...]:
    """Return a line for each of the newest results of other labs on this session's question, wins first.

    ``state`` is the folder ``.autoresearch``.  Raises LedgerError.
    """
    received = pulled_here(state)
    if not received:
        return ()
    asked = question_here(journal.comparability or {}, journal, root)
    chosen = _chosen([each.result for each in received if each.result.question == asked])
    return tuple(_hint(result) for result in chosen)


def _chosen(results: Sequence[Result]) -> list[Result]:
    """Return the newest results, wins first, and only a few from each lab."""
    newest = sorted(results, key=lambda r: r.finished, reverse=True)
    counts: Counter[str] = Counter()
    chosen: list[Result] = []
    for result in sorted(newest, key=lambda r: r.status != "keep"):
        counts[result.lab] += 1
        if counts[result.lab] <= MOST_OF_ONE_LAB:
            chosen.append(result)
    return chosen[:MOST]


def _hint(result: Result) -> str:
    changed = changes_in_words(result) or "a change of code"
    axis = f" (axis {result.axis})" if result.axis else ""
    words = f'; this lab calls the change "{phrase(result.title, 60)}"' if result.title and not result.knobs else ""
    return f"lab {result.lab} on {phrase(result.chip, 40)}{axis}: {changed}: {outcome(result)}{words}"


def changes_in_words(result: Result) -> str:
    """Return changed knobs as ``DEPTH 8 -> 6``, or an empty string for a change of code."""
    pairs = ((name, *change) for name, change in result.knobs.items())
    return phrase(", ".join(f"{name} {_value(was)} -> {_value(now)}" for name, was, now in pairs), 160)


def _value(value: object) -> str:
    return "?" if value is None else literal(value)


def outcome(result: Result) -> str:
    """Return a result's status and its gain in the other lab: ``keep, gain there +0.0021 (90 %: +0.0008 to
    +0.0034)``."""
    return f"{result.status}, gain there {effect_in_words(result.effect)}" if result.effect else result.status


def effect_in_words(effect: Effect | None) -> str:
    if effect is None:
        return terms.UNKNOWN
    interval = ""
    if effect.low is not None and effect.high is not None:
        interval = f" (90 %: {effect.low:+.2g} to {effect.high:+.2g})"
    return f"{effect.gain:+.2g}{interval}"


def add_to_backlog(folder: Path, new: Sequence[Pulled], journal: Journal, files: Mapping[str, str], root: Path) -> int:
    """Add an idea for each win of another lab that can be tried here; return the number of added ideas.

    An idea's title becomes a task for a model, so this lab writes the title.  The other lab's words are quoted in the
    idea's reason only.  The idea has no expected gain, because the gain was measured on another machine.  Raises
    LedgerError.
    """
    asked = question_here(journal.comparability or {}, journal, root)
    room = _OPEN - sum(idea.source.startswith(SOURCE) for idea in open_ideas(folder, journal.history))
    known = {name: knob.value for text in files.values() for name, knob in read_knobs(text).items()}
    tried = [{name: now for name, (_, now) in e.knobs.items()} for e in journal.history.experiments if e.measurements]
    added = 0
    for each in new:
        result = each.result
        if added >= room or result.status != "keep" or result.question != asked:
            continue
        values = {name: now for name, (_, now) in result.knobs.items()}
        if values and any(name not in known for name in values):
            continue
        if values and (values in tried or all(known[name] == value for name, value in values.items())):
            continue  # the edit was tried here, or the incumbent already has these values
        added += len(add_ideas(folder, [_draft(each, values)], f"{SOURCE}{result.lab}"))
    return added


def _draft(each: Pulled, values: Mapping[str, object]) -> Draft:
    result = each.result
    if values:
        title = "set " + ", ".join(f"{name} to {_value(value)}" for name, value in values.items())
    else:
        on = f" on the axis {result.axis}" if result.axis else ""
        title = f"a change of code{on} that won in another lab; `share log` lists it as result {each.number}"
    quoted = phrase(f"{result.title}. {result.note}", 160)
    why = f'The change won on {phrase(result.chip, 40)} in another lab, whose unchecked words are: "{quoted}"'
    return Draft(phrase(title, 110), result.axis, why, knobs=dict(values))
