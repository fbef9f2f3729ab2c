"""Read from the ledger in which form each model had to answer, and choose the form of its next answer.

The forms are the rungs of a ladder, from easy to hard.  A model moves up or down according to its own record.  The rung
is not stored, but computed each time from the experiments.  The model's name plays no part.

    menu     the number of one of the optimiser's moves; no file is sent
    values   new values of at most three knobs, from a list of values for each
    blocks   search/replace blocks
    whole    the whole file, for a model whose search texts do not match
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from autoresearch_mlx.experiment import Experiment, History

Form: TypeAlias = Literal["menu", "values", "blocks", "whole"]
"""The form of an answer: a number from a menu, values of knobs, code as search/replace blocks, or the whole file."""
LADDER: tuple[Form, ...] = ("menu", "values", "blocks", "whole")
CODE = ("blocks", "whole")
CLIMB = 2
"""Number of experiments in a row after which the next form is tried, if the present form has had a keep.

An experiment whose first reply could not be measured ends the row, and the count starts again.
"""
PATIENCE = 6
"""Number of experiments in a row after which the next form is tried, if the present form has had no keep.

If the server enforces a schema, every answer can be measured, so a measured answer proves no skill.  But a form that
has long led to no keep may be the wrong one for the model.
"""
MOST_MISMATCHES = 2
"""After this number of experiments in a row whose search texts match nothing in the file, the model is asked for the
whole file."""
TRIAL = 3
"""After this number of experiments without a keep, a form is replaced by a lower form that has had a keep."""
REST = 20
"""For this number of the model's experiments, a form that has failed is not tried again."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Record of one form, in numbers of experiments: asked for this form, measured at the first reply, and kept."""

    form: Form
    asked: int
    clean: int
    kept: int


def asked_of(history: History, agent: str | None = None) -> list[Experiment]:
    """Return the experiments for which a model answered, oldest first.

    If ``agent`` is given, only experiments of that agent are used.
    """
    return [
        e
        for e in history.experiments
        if e.talk.get("form") in LADDER and e.talk.get("calls") and agent in (None, e.talk.get("agent"))
    ]


def rung_after(first: Form, asked: Sequence[Experiment]) -> Form:
    """Return the form in which a model is asked after the experiments ``asked``; it began with the form ``first``."""
    rung, streak, missed = first, 0, 0
    rests: dict[Form, int] = {}
    for at, e in enumerate(asked):
        for fallen in _fallen(e):
            rests[fallen] = at + REST
        if (form := form_of(e)) != rung:
            rung, streak, missed = form, 0, 0
        missed = missed + 1 if e.talk.get("mismatches") else 0
        streak = streak + 1 if is_clean(e) else 0
        if rung == "blocks" and missed >= MOST_MISMATCHES:
            rung, streak = "whole", 0
        elif _lost(e):
            rests[rung] = at + REST
            rung, streak = _below(rung), 0
        elif (better := _kept_more(rung, asked[: at + 1])) is not None:
            rests[rung] = at + REST
            rung, streak = better, 0
        above = _above(rung)
        if streak >= _needed(rung, asked[: at + 1]) and above is not None and rests.get(above, -1) < at + 1:
            rung, streak = above, 0
    return rung


def _needed(rung: Form, asked: Sequence[Experiment]) -> int:
    """Return how many clean answers in a row lead to the next form."""
    return CLIMB if any(form_of(e) == rung and e.status == "keep" for e in asked) else PATIENCE


def tallies(asked: Iterable[Experiment]) -> tuple[Tally, ...]:
    """Return the record of each form that was asked for, lowest first."""
    found = list(asked)
    return tuple(_tally(form, found) for form in LADDER if any(form in _forms(e) for e in found))


def rung_words(history: History) -> str:
    """Say in which form the model that answered last is asked next, and how often each form has worked.

    The text is empty if no model has answered.
    """
    newest = next(reversed(asked_of(history)), None)
    if newest is None:
        return ""
    asked = asked_of(history, newest.talk.get("agent"))
    first = next(iter(_forms(asked[0])))
    told = [f"{t.form} {t.clean} of {t.asked}{f' ({t.kept} kept)' if t.kept else ''}" for t in tallies(asked)]
    return f"{rung_after(first, asked)} next; measured at the first reply: {', '.join(told)}"


def _tally(form: Form, asked: Sequence[Experiment]) -> Tally:
    its = [e for e in asked if form_of(e) == form]
    fallen = sum(form in _fallen(e) for e in asked)
    return Tally(form, len(its) + fallen, sum(map(is_clean, its)), sum(e.status == "keep" for e in its))


def form_of(e: Experiment) -> Form:
    form: Form = e.talk["form"]
    return form


def _fallen(e: Experiment) -> tuple[Form, ...]:
    """Return the forms that were tried in the same experiment before its final form, and failed."""
    return tuple(form for form in e.talk.get("fallen", ()) if form in LADDER)


def _forms(e: Experiment) -> tuple[Form, ...]:
    return (*_fallen(e), form_of(e))


def is_clean(e: Experiment) -> bool:
    """Return whether the first reply in this form was an edit that could be measured."""
    return not _lost(e) and e.status != "crash" and e.talk.get("repairs", 0) <= len(_fallen(e))


def _lost(e: Experiment) -> bool:
    """Return whether nothing was measured, because no answer had an edit or because the edit repeated an earlier
    edit."""
    return e.status in ("invalid", "duplicate") and not e.measurements


def _kept_more(rung: Form, asked: Sequence[Experiment]) -> Form | None:
    """Return a lower form that has had a keep, if ``rung`` has had no keep after a fair trial; otherwise None."""
    its = [e for e in asked if form_of(e) == rung]
    if rung in CODE or len(its) < TRIAL or any(e.status == "keep" for e in its):
        return None
    lower = LADDER[: LADDER.index(rung)]
    return next(
        (form for form in reversed(lower) if any(form_of(e) == form and e.status == "keep" for e in asked)), None
    )


def _below(form: Form) -> Form:
    return "values" if form == "whole" else LADDER[max(0, LADDER.index(form) - 1)]


def _above(form: Form) -> Form | None:
    """Return the next higher form.

    The form ``whole`` is not above ``blocks``, because it is for models whose blocks fail.
    """
    return LADDER[LADDER.index(form) + 1] if form in ("menu", "values") else None
