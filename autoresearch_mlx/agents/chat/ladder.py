"""Find the form in which a model is asked: a ladder from a numbered menu to code, climbed by the model's own record.

    menu     the number of one of the optimiser's moves; no file is sent
    values   new values of at most three knobs, from a list of values for each
    blocks   search/replace blocks
    whole    the whole file, for a model whose search texts do not match

Nothing is stored: the rung is computed again from the ledger each time.  The model's name plays no part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autoresearch_mlx.agents.prompt.answer import Form
from autoresearch_mlx.experiment import Experiment, History
from autoresearch_mlx.lab.config import AgentSettings
from autoresearch_mlx.models.wire import ModelFacts

LADDER: tuple[Form, ...] = ("menu", "values", "blocks", "whole")
BLOCKS_FROM = 14.0
"""Size, in 1e9 parameters as the server reports them, from which a model begins with blocks."""
CLIMB = 2
"""Number of experiments in a row, measured at the first reply, after which the next form is tried."""
MOST_MISMATCHES = 2
"""After this many experiments in a row with blocks that match nothing, the whole file is asked for."""
TRIAL = 3
"""Number of measured experiments after which a form that has kept nothing gives way to a lower one that has."""
REST = 20
"""Number of the model's experiments for which a form that failed is not tried again."""
_CODE = ("blocks", "whole")


@dataclass(frozen=True, slots=True)
class Tally:
    """The record of one form: experiments in which it was asked for, those measured at the first reply, and keeps."""

    form: Form
    asked: int
    clean: int
    kept: int


def first_form(settings: AgentSettings, facts: ModelFacts) -> Form:
    """Return the form that the settings name, or else the one with which a model begins.

    A large model begins with blocks.  So does a remote one whose size nobody reports; any other begins with the menu.
    """
    if settings.format != "auto":
        return settings.format
    if facts.billions is None:
        return "menu" if facts.here else "blocks"
    return "blocks" if facts.billions >= BLOCKS_FROM else "menu"


def form_now(settings: AgentSettings, facts: ModelFacts, history: History, agent: str) -> Form:
    """Return the form for the next experiment: the one that the settings name, or the rung that the record gives."""
    form = first_form(settings, facts)
    return form if settings.format != "auto" else rung_after(form, asked_of(history, agent))


def proven(form: Form, settings: AgentSettings, facts: ModelFacts, history: History, agent: str) -> bool:
    """Return whether this model is known to master a form, or began with it; an unproven form is only a trial."""
    if settings.format != "auto" or form == first_form(settings, facts):
        return True
    return any(_form(e) == form and _clean(e) for e in asked_of(history, agent))


def asked_of(history: History, agent: str | None = None) -> list[Experiment]:
    """Return the experiments for which a model answered, oldest first; ``agent``: only those of this one."""
    return [
        e
        for e in history.experiments
        if e.talk.get("form") in LADDER and e.talk.get("calls") and agent in (None, e.talk.get("agent"))
    ]


def rung_after(first: Form, asked: Sequence[Experiment]) -> Form:
    """Return the rung after these experiments of one model."""
    rung, streak, missed = first, 0, 0
    rests: dict[Form, int] = {}
    for at, e in enumerate(asked):
        for fallen in _fallen(e):
            rests[fallen] = at + REST
        if (form := _form(e)) != rung:
            rung, streak, missed = form, 0, 0
        missed = missed + 1 if e.talk.get("mismatches") else 0
        streak = streak + 1 if _clean(e) else 0
        if rung == "blocks" and missed >= MOST_MISMATCHES:
            rung, streak = "whole", 0
        elif _lost(e):
            rests[rung] = at + REST
            rung, streak = _below(rung), 0
        elif (better := _kept_more(rung, asked[: at + 1])) is not None:
            rests[rung] = at + REST
            rung, streak = better, 0
        above = _above(rung)
        if streak >= CLIMB and above is not None and rests.get(above, -1) < at + 1:
            rung, streak = above, 0
    return rung


def tallies(asked: Iterable[Experiment]) -> tuple[Tally, ...]:
    """Return the record of each form that was asked for, lowest first."""
    found = list(asked)
    return tuple(_tally(form, found) for form in LADDER if any(form in _forms(e) for e in found))


def rung_words(history: History) -> str:
    """Say on which rung the model of the last answer stands, and what each form has brought; empty without a model."""
    newest = next(reversed(asked_of(history)), None)
    if newest is None:
        return ""
    asked = asked_of(history, newest.talk.get("agent"))
    first = next(iter(_forms(asked[0])))
    told = [f"{t.form} {t.clean} of {t.asked}{f' ({t.kept} kept)' if t.kept else ''}" for t in tallies(asked)]
    return f"{rung_after(first, asked)} next; measured at the first reply: {', '.join(told)}"


def _tally(form: Form, asked: Sequence[Experiment]) -> Tally:
    its = [e for e in asked if _form(e) == form]
    fallen = sum(form in _fallen(e) for e in asked)
    return Tally(form, len(its) + fallen, sum(map(_clean, its)), sum(e.status == "keep" for e in its))


def _form(e: Experiment) -> Form:
    form: Form = e.talk["form"]
    return form


def _fallen(e: Experiment) -> tuple[Form, ...]:
    """Return the forms that were tried first in the same experiment, and failed."""
    return tuple(form for form in e.talk.get("fallen", ()) if form in LADDER)


def _forms(e: Experiment) -> tuple[Form, ...]:
    return (*_fallen(e), _form(e))


def _clean(e: Experiment) -> bool:
    """Return whether the first reply in this form was an edit that could be measured."""
    return not _lost(e) and e.status != "crash" and e.talk.get("repairs", 0) <= len(_fallen(e))


def _lost(e: Experiment) -> bool:
    """Return whether nothing was measured because the answers were no edits, or repeated an earlier one."""
    return e.status in ("invalid", "duplicate") and not e.measurements


def _kept_more(rung: Form, asked: Sequence[Experiment]) -> Form | None:
    """Return the lower form that has kept something when this one, after a fair trial, has kept nothing."""
    its = [e for e in asked if _form(e) == rung]
    if rung in _CODE or len(its) < TRIAL or any(e.status == "keep" for e in its):
        return None
    lower = LADDER[: LADDER.index(rung)]
    return next((form for form in reversed(lower) if any(_form(e) == form and e.status == "keep" for e in asked)), None)


def _below(form: Form) -> Form:
    return "values" if form == "whole" else LADDER[max(0, LADDER.index(form) - 1)]


def _above(form: Form) -> Form | None:
    """Return the next form to climb to; the whole file is no step up from blocks, but a way out."""
    return LADDER[LADDER.index(form) + 1] if form in ("menu", "values") else None


def from_the_rung_down(rung: Form, wish: bool) -> tuple[Form, ...]:
    """Return the forms in the order in which they are tried until one fits: this one, those below, those above.

    A person's own idea (``wish``) is not on any menu, so it is asked for in code, or else in values.
    """
    if wish:
        return tuple(dict.fromkeys((rung if rung in _CODE else "blocks", "blocks", "values")))
    at = LADDER.index(rung)
    return (*reversed(LADDER[: at + 1]), *LADDER[at + 1 :])
