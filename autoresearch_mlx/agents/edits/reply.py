"""Turn a model's reply and the editable files into edits, each with new texts or with a problem.

A reply is prose, then one or more proposals.  Each proposal begins with a heading (``## Proposal 1``) or with its JSON
object, and contains

    a JSON object   title, axis, hypothesis, expected_gain, knobs
    code            search/replace blocks, or a whole file in a fence

Proposals are independent: each starts from the same files, and a bad proposal does not affect the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest

from autoresearch_mlx.agents.edits.apply import HOW_TO_SEND, changed
from autoresearch_mlx.agents.edits.example import is_copy, own_words, sample
from autoresearch_mlx.agents.edits.fields import TITLE, Fields, check
from autoresearch_mlx.agents.edits.knob_values import Beyond
from autoresearch_mlx.agents.edits.reply_parts import Original, Page, Part, parts, read_page, whole_part
from autoresearch_mlx.experiment import KnobChanges
from autoresearch_mlx.lab.source import axis_of, changed_knobs, describe, only_knobs_differ
from autoresearch_mlx.terms import one_line, printable

MOST_CHARACTERS = 400_000
"""Maximum number of characters of a reply; a longer reply is not read."""

_MOST_SAID = 6_000
_AXIS = re.compile(r"[a-z0-9_.]{1,60}")
_UNTITLED = "an edit without a title"


@dataclass(frozen=True, slots=True)
class Edit:
    """A proposal after reading: it has new texts of files, or a problem, or an idea that still needs code."""

    title: str
    axis: str | None
    hypothesis: str
    expected_gain: float | None
    files: Mapping[str, str]
    """Complete new text of each changed file; empty when there is a problem."""
    problem: str = ""
    """What is wrong, and what the model should send instead; empty if nothing is wrong.  The model gets this text."""
    mismatch: bool = False
    """True when search/replace blocks did not fit the file, or were incomplete."""
    wants_code: bool = False
    """True when the fields are fine, but there are neither knobs nor code."""
    beyond: Beyond = frozenset()
    """Pairs of a knob and a refused value, which is outside the range in the knob's comment."""


def read_reply(
    text: str, files: Mapping[str, str], fields: Fields | None = None, insisted: Beyond = frozenset()
) -> tuple[Edit, ...]:
    """Return the proposals of a reply, at least one and at most 16.  No text makes this function raise an error.

    ``files`` maps the path of every file that may change to its text.  ``fields`` are the fields from an earlier call.
    If ``fields`` are given, the text is read as the code for these fields, and JSON objects in the text are ignored.
    ``insisted`` has the values outside a knob's range that were refused before.  Such a value is accepted now.
    """
    if len(text) > MOST_CHARACTERS:
        said = f"The reply has {len(text):,} characters; at most {MOST_CHARACTERS:,} are read. Send a shorter one."
        return (_refused(fields or Fields(), "", said),)
    page = read_page(text)
    originals = {path: Original(path, raw) for path, raw in files.items()}
    if fields is not None:
        return (_edit(whole_part(page), page, originals, _own(fields), True, insisted),)
    return tuple(_read(part, page, originals, insisted) for part in parts(page))


def _read(part: Part, page: Page, originals: Mapping[str, Original], insisted: Beyond) -> Edit:
    """Return the edit of a proposal with its own fields; code without a JSON object also makes an edit."""
    if part.found is None:
        return _edit(part, page, originals, Fields(), True, insisted)
    if part.found.value is None:
        return _refused(Fields(), part.heading, f"{part.found.problem}. Send an object such as {_sample(originals)}")
    fields, problem = check(part.found.value)
    if fields is None:
        return _refused(Fields(), part.heading, f"{problem}. Send an object such as {_sample(originals)}")
    return _edit(part, page, originals, _own(fields), False, insisted)


def _sample(originals: Mapping[str, Original]) -> str:
    return sample({path: original.raw for path, original in originals.items()})


def _own(fields: Fields) -> Fields:
    """Return the fields without words that only repeat the prompt's example."""
    said = {"title": own_words(fields.title), "hypothesis": own_words(fields.hypothesis)}
    return fields.model_copy(update={**said, "axis": own_words(fields.axis or "") or None})


def _edit(
    part: Part, page: Page, originals: Mapping[str, Original], fields: Fields, asked: bool, insisted: Beyond
) -> Edit:
    """Return the edit of a proposal.  If ``asked`` is true, the model was asked for code, so no code is a problem."""
    files, outcome = changed(part, page, originals, fields.knobs, insisted)
    if outcome.problem:
        return _refused(fields, part.heading, outcome.problem, outcome.mismatch, outcome.beyond)
    if not outcome.has_code and not fields.knobs:
        return _without_code(part, originals, fields, asked)
    if not files:
        return _refused(fields, part.heading, f"The edit changes nothing{_already(fields)}. Send a different one.")
    before = {path: originals[path].raw for path in files}
    moved = {name: pair for path in files for name, pair in changed_knobs(before[path], files[path]).items()}
    if moved and all(only_knobs_differ(before[path], text) for path, text in files.items()):
        if is_copy({path: original.raw for path, original in originals.items()}, moved):
            said = f"{describe(moved)} is only the example of the prompt. Choose a change of your own."
            return _refused(Fields(), "", said)
        return _of_knobs(fields, moved, files)
    return Edit(
        title=fields.title or one_line(part.heading)[:TITLE] or _title(before, files),
        axis=_axis(fields, before, files),
        hypothesis=fields.hypothesis,
        expected_gain=fields.expected_gain,
        files=files,
    )


def _of_knobs(fields: Fields, moved: KnobChanges, files: Mapping[str, str]) -> Edit:
    """Return an edit that changes only knobs.

    Title and axis come from the changed knobs; the model's title and axis are ignored.
    """
    order = {name.rsplit(":", 1)[-1].upper(): at for at, name in enumerate(fields.knobs)}
    return Edit(
        title=_short(describe(moved)),
        axis=axis_of(min(moved, key=lambda knob: order.get(knob, len(order)))),
        hypothesis=fields.hypothesis or fields.title,
        expected_gain=fields.expected_gain,
        files=files,
    )


def _without_code(part: Part, originals: Mapping[str, Original], fields: Fields, asked: bool) -> Edit:
    if not asked:
        title = fields.title or one_line(part.heading)[:TITLE] or _UNTITLED
        return Edit(title, _axis(fields, {}, {}), fields.hypothesis, fields.expected_gain, {}, wants_code=True)
    if fields == Fields():
        said = f"There is no proposal in the reply. Send an object such as {_sample(originals)}. {HOW_TO_SEND}"
    else:
        said = f"There is no code in the reply. {HOW_TO_SEND}"
    return _refused(fields, part.heading, said)


def _refused(fields: Fields, heading: str, problem: str, mismatch: bool = False, beyond: Beyond = frozenset()) -> Edit:
    said = printable(problem)
    return Edit(
        title=fields.title or one_line(heading)[:TITLE] or _UNTITLED,
        axis=_axis(fields, {}, {}),
        hypothesis=fields.hypothesis,
        expected_gain=fields.expected_gain,
        files={},
        problem=said if len(said) <= _MOST_SAID else f"{said[:_MOST_SAID]} ...",
        mismatch=mismatch,
        beyond=beyond,
    )


def _already(fields: Fields) -> str:
    names = list(fields.knobs)[:8]
    has = "has this value" if len(names) == 1 else "have these values"
    return f": {', '.join(names)} already {has}" if names else ""


def _axis(fields: Fields, before: Mapping[str, str], after: Mapping[str, str]) -> str | None:
    """Return the axis that the model named, or else the axis of the changed knob that the model listed first."""
    said = (fields.axis or "").lower()
    if _AXIS.fullmatch(said):
        return said
    order = {name.rsplit(":", 1)[-1].upper(): at for at, name in enumerate(fields.knobs)}
    moved = [k for path in after for k, (was, _) in changed_knobs(before[path], after[path]).items() if was is not None]
    first = min(moved, key=lambda knob: order.get(knob, len(order)), default=None)
    return axis_of(first) if first is not None else None


def _title(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Describe the changed knobs, or else the first changed line."""
    for path, text in after.items():
        if knobs := changed_knobs(before[path], text):
            return _short(describe(knobs))
    path, text = next(iter(after.items()))
    pairs = zip_longest(before[path].split("\n"), text.split("\n"), fillvalue="")
    lines = ((number, old.strip(), new.strip()) for number, (old, new) in enumerate(pairs, start=1) if old != new)
    number, old, new = next((found for found in lines if found[1] or found[2]), (1, "", ""))
    return _short(f"{path}, line {number}: {new or f'without {old}'}")


def _short(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= TITLE else f"{line[: TITLE - 1]}…"
