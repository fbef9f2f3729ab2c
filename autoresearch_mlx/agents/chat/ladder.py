"""Choose the form in which a model is asked.

If the settings name no form, the model's record decides.  A model without a record begins with the form that suits its
size.
"""

from __future__ import annotations

from autoresearch_mlx.experiment import History
from autoresearch_mlx.lab.config import AgentSettings
from autoresearch_mlx.models.wire import ModelFacts
from autoresearch_mlx.store.forms import CODE, LADDER, Form, asked_of, form_of, is_clean, rung_after

BLOCKS_FROM = 14.0
"""Number of parameters in 1e9, as the server reports it, from which a model begins with search/replace blocks."""


def first_form(settings: AgentSettings, facts: ModelFacts) -> Form:
    """Return the form that the settings name, or else the form with which a model begins.

    A large model, or a model of unknown size on another machine, begins with blocks.  Any other model begins with the
    menu.
    """
    if settings.format != "auto":
        return settings.format
    if facts.billions is None:
        return "menu" if facts.here else "blocks"
    return "blocks" if facts.billions >= BLOCKS_FROM else "menu"


def form_now(settings: AgentSettings, facts: ModelFacts, history: History, agent: str) -> Form:
    """Return the form for the next experiment: the form in the settings, or else the form that suits the record."""
    form = first_form(settings, facts)
    return form if settings.format != "auto" else rung_after(form, asked_of(history, agent))


def proven(form: Form, settings: AgentSettings, facts: ModelFacts, history: History, agent: str) -> bool:
    """Return whether this form is no longer on trial.

    A form is on trial until the model has used it once without an error.  The form with which a model begins is never
    on trial.
    """
    if settings.format != "auto" or form == first_form(settings, facts):
        return True
    return any(form_of(e) == form and is_clean(e) for e in asked_of(history, agent))


def from_the_rung_down(rung: Form, wish: bool) -> tuple[Form, ...]:
    """Return the forms in the order in which they are tried until a prompt fits.

    ``rung`` comes first, then the simpler forms, then the richer forms.

    If ``wish`` is true, the task is an idea of the user, which is on no menu.  Then the model is asked for code, or, if
    the prompt for code does not fit, for values.
    """
    if wish:
        return tuple(dict.fromkeys((rung if rung in CODE else "blocks", "blocks", "values")))
    at = LADDER.index(rung)
    return (*reversed(LADDER[: at + 1]), *LADDER[at + 1 :])
