"""Open the conversation of one experiment: choose the form, write the prompt, and set the limits of the reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autoresearch_mlx.agents.chat.ladder import form_now, from_the_rung_down, proven
from autoresearch_mlx.agents.chat.sizes import AT_ONCE, Room, count_at_once, own_limit, predicted_seconds, reply_limit
from autoresearch_mlx.agents.chat.task_source import TaskSource
from autoresearch_mlx.agents.chat.thread import Thread
from autoresearch_mlx.agents.edits.choices import menu_schema, values_schema
from autoresearch_mlx.agents.edits.example import example_for
from autoresearch_mlx.agents.edits.fields import schema
from autoresearch_mlx.agents.ideas.choose_task import CHOICE, Task
from autoresearch_mlx.agents.knobs.choices import knob_values, menu
from autoresearch_mlx.agents.knobs.state_summary import describe_state
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.prompt.brief import Form, PromptTooLong, write_brief
from autoresearch_mlx.agents.prompt.short import menu_brief, values_brief
from autoresearch_mlx.experiment import Context
from autoresearch_mlx.lab.source import read_knobs
from autoresearch_mlx.models.wire import ModelFacts
from autoresearch_mlx.store.forms import LADDER

TAIL = 1 / 8
"""Share of the context that is reserved for a bad answer and an explanation of its problem."""
SHORT_TAIL = 600
"""Tokens that are reserved for a bad answer and an explanation in a form without code, where answers are short."""

MENU = 5
"""Number of moves on a menu.

A menu of ten moves would make the prompt a quarter longer without being better: random moves from ten were not kept
more often than random moves from five (docs/log.md).
"""


class NothingToChoose(PromptTooLong):
    """Raised when there is no entry for a menu, or no knob for a question about values."""


@dataclass(frozen=True, slots=True)
class FormSize:
    """The size of the next question if it has this form: tokens of the prompt, and the most tokens of the reply.

    ``problem`` says why the form cannot be used; it is empty if the form can be used.
    """

    form: Form
    tokens: int | None
    reply_tokens: int | None
    problem: str = ""
    next: bool = False
    """True if the next question uses this form."""


class Opener:
    """Opens conversations with one model."""

    def __init__(self, name: str, office: Office, tasks: TaskSource) -> None:
        self._name, self._office, self._tasks = name, office, tasks
        self.thinks = False
        """True if this model has been seen to think before it answers."""
        self._wishes_fit = True
        self.seconds: float | None = None
        """Longest expected time of an answer, in seconds, with which a form on trial is used; None for no limit."""

    def open(self, context: Context, facts: ModelFacts, most: int, looking: bool = False) -> Thread:
        """Return the conversation of the next experiment, in the first form that fits a context of ``most`` tokens.

        If ``looking`` is true, the prompt is only shown, and no idea is marked as taken.  Raises PromptTooLong when no
        form fits.
        """
        self._tasks.load_seconds = None
        if not looking and form_now(self._office.settings, facts, context.history, self._name) in ("blocks", "whole"):
            self._tasks.refill(context)
        task, wish = self._tasks.look(context), self.wished(context)
        try:
            thread = self._first_fitting(context, facts, most, self._forms(context, facts, wish), task, wish)
        except PromptTooLong as error:
            if not wish:
                raise
            self._wishes_fit = False
            self._office.say(f"your idea waits for a model with a longer context: {error}")
            thread = self._first_fitting(context, facts, most, self._forms(context, facts, False), CHOICE, False)
        if looking:
            return thread
        self._tasks.take(thread.task, context.number)
        thread.loading = self._tasks.load_seconds
        return thread

    def wished(self, context: Context) -> bool:
        """Return whether one of the user's own ideas is waiting for this model."""
        return self._wishes_fit and self._tasks.wished(context)

    def lower(self, old: Thread, context: Context, facts: ModelFacts) -> Thread | None:
        """Return a conversation in a simpler form after a bad answer; None if the model should repair the answer.

        A form on trial is given up after its first bad answer.  A model that is asked for values may repair one answer;
        after a second bad answer, the model gets the menu.
        """
        if old.form == "menu" or (old.short and not old.repairs and self._proven(old.form, context, facts)):
            return None
        if not old.short and self._proven(old.form, context, facts):
            return None
        wish = old.task.idea is not None
        below = [form for form in LADDER[: LADDER.index(old.form)] if not wish or form == "values"]
        if self._office.settings.format != "auto" or not below:
            return None
        forms = [form for form in reversed(below) if form in ("menu", "values")]
        try:
            new = self._first_fitting(context, facts, old.context_tokens, forms, old.task, wish)
        except PromptTooLong:
            return None
        new.fallen = (*old.fallen, old.form)
        new.replies, new.files_kept, new.loading = old.replies, old.files_kept, old.loading
        new.mismatches = old.mismatches
        return new

    def in_form(self, form: Form, context: Context, facts: ModelFacts, most: int) -> Thread:
        """Return the conversation in this form, without taking an idea.  Raises PromptTooLong when it does not fit."""
        return self._thread(form, context, facts, most, self._tasks.look(context), self.wished(context))

    def sizes(self, context: Context, facts: ModelFacts, most: int) -> tuple[FormSize, ...]:
        """Return the size of the next question in each form, and mark the form that would be used."""
        task, wish = self._tasks.look(context), self.wished(context)
        try:
            chosen: Form | None = self.open(context, facts, most, looking=True).form
        except PromptTooLong:
            chosen = None
        return tuple(self._size(form, context, facts, most, task, form == chosen, wish) for form in LADDER)

    # --- the form

    def _proven(self, form: Form, context: Context, facts: ModelFacts) -> bool:
        return proven(form, self._office.settings, facts, context.history, self._name)

    def _forms(self, context: Context, facts: ModelFacts, wish: bool) -> Sequence[Form]:
        rung = form_now(self._office.settings, facts, context.history, self._name)
        return (rung,) if self._office.settings.format != "auto" else from_the_rung_down(rung, wish)

    def _first_fitting(
        self, context: Context, facts: ModelFacts, most: int, forms: Sequence[Form], task: Task, wish: bool
    ) -> Thread:
        """Return the conversation in the first of these forms whose prompt fits; skip forms on trial that are slow."""
        slow: Thread | None = None
        failures: list[PromptTooLong] = []
        for form in forms:
            try:
                thread = self._thread(form, context, facts, most, task, wish)
            except PromptTooLong as error:
                failures.append(error)
                continue
            if not self._too_slow(thread, context, facts):
                return thread
            slow = slow or thread
        if slow is not None:
            return slow
        raise next((e for e in failures if not isinstance(e, NothingToChoose)), failures[0])

    def _too_slow(self, thread: Thread, context: Context, facts: ModelFacts) -> bool:
        if self.seconds is None or thread.short or self._proven(thread.form, context, facts):
            return False
        needed = predicted_seconds(context.history, self._name, thread.brief.tokens + thread.max_tokens // 2)
        return needed is not None and needed > self.seconds

    def _size(
        self, form: Form, context: Context, facts: ModelFacts, most: int, task: Task, chosen: bool, wish: bool
    ) -> FormSize:
        try:
            thread = self._thread(form, context, facts, most, task, wish)
        except PromptTooLong as error:
            return FormSize(form, None, None, str(error))
        return FormSize(form, thread.brief.tokens, thread.max_tokens, next=chosen)

    # --- one form

    def _thread(self, form: Form, context: Context, facts: ModelFacts, most: int, task: Task, wish: bool) -> Thread:
        if form in ("menu", "values"):
            return self._choice(form, context, facts, most, task if wish else CHOICE)
        return self._code(form, context, facts, most, task)

    def _choice(self, form: Form, context: Context, facts: ModelFacts, most: int, task: Task) -> Thread:
        setting, strict = own_limit(self._office.settings), facts.enforces_schema
        limit = reply_limit(form, context.files, setting, self.thinks, strict)
        room = most - limit - min(SHORT_TAIL, most // 4)
        plain = replace(context, feedback=())
        shape: dict[str, Any]
        if form == "menu":
            choices = menu(context, MENU)
            if not choices:
                raise NothingToChoose("the optimiser has no untried move left", _WIDEN)
            brief, shape = menu_brief(plain, room, choices, strict), menu_schema(len(choices))
        else:
            choices, knobs = (), knob_values(context)
            if not knobs:
                raise NothingToChoose("no constant in the files may be changed", _WIDEN)
            brief = values_brief(plain, room, knobs, task.text, "" if strict else _shown(context.files))
            shape = values_schema(knobs)
        return Thread(
            number=context.number,
            files=context.files,
            brief=brief,
            form=form,
            task=task,
            agent=self._name,
            schema=shape,
            max_tokens=limit,
            code_tokens=limit,
            context_tokens=most,
            room=most - limit - brief.tokens,
            choices=choices,
        )

    def _code(self, form: Form, context: Context, facts: ModelFacts, most: int, task: Task) -> Thread:
        files = context.read(task.base) if task.base else context.files
        settings = self._office.settings
        count = settings.proposals
        if count == "auto":
            count = AT_ONCE if count_at_once(context.history, self._name, form) else 1
        asks_fields = facts.enforces_schema and count == 1
        room = Room(form, files, own_limit(settings), most, self.thinks)
        brief = write_brief(
            replace(context, files=files, feedback=()),
            int(most * (1 - TAIL)) - room.reserved,
            form,
            asks="fields" if asks_fields else "all",
            proposals=count,
            task=task.text,
            optimiser=describe_state(context),
        )
        knobs = [name for text in files.values() for name in read_knobs(text)]
        return Thread(
            number=context.number,
            files=files,
            brief=brief,
            form=form,
            task=task,
            agent=self._name,
            base=task.base,
            schema=schema(knobs) if asks_fields else None,
            max_tokens=room.fields if asks_fields else room.limit * count,
            code_tokens=room.limit,
            context_tokens=most,
            room=most - room.reserved - brief.tokens,
            offered=count,
        )


_WIDEN = "widen the ranges in the '# knob:' comments, or set format = \"blocks\" under [agent] in lab.toml"


def _shown(files: Mapping[str, str]) -> str:
    found = example_for(files)
    return found.fields([{"name": found.knob, "value": found.after}]) if found is not None else ""
