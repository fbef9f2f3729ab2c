"""Write the two prompts for small models: a numbered menu, and values of the knobs.  The prompts contain no file.

Each prompt gives the best result so far, the last experiments, and the user's notes; then come the choices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autoresearch_mlx import terms
from autoresearch_mlx.agents.knobs.choices import KnobValues
from autoresearch_mlx.agents.knobs.ranked_moves import RankedMove
from autoresearch_mlx.agents.prompt import prompt_sections, results
from autoresearch_mlx.agents.prompt.brief import Brief, too_small
from autoresearch_mlx.agents.prompt.elsewhere import record_elsewhere
from autoresearch_mlx.agents.prompt.prompt_sections import section
from autoresearch_mlx.agents.prompt.quoting import phrase, tame
from autoresearch_mlx.agents.prompt.tokens import estimate
from autoresearch_mlx.experiment import Context
from autoresearch_mlx.lab.source import literal

ROWS = 3
NOTES = 3
HOOKS = 800
"""Maximum number of characters of each text that a hook printed."""
_LEVELS = ((ROWS, True), (ROWS, False), (0, False))
"""Levels of detail, longest first.  Each has the number of recent experiments to show, and whether to show the records
of other machines."""
_CUTS = ("records of other machines", "the last experiments")


def menu_brief(context: Context, room: int, choices: Sequence[RankedMove], json: bool) -> Brief:
    """Return the prompt that asks for one entry of a menu, in at most ``room`` tokens.

    If ``json`` is true, the server enforces a schema, and the prompt asks for a JSON object.  Raises AgentError when
    even the shortest prompt is too long.
    """
    gains = f"the gain in {context.history.metric} that it expects" if any(c.gain is not None for c in choices) else ""

    def body(elsewhere: bool) -> str:
        records = {c.axis: record_elsewhere(c.axis, context.history.metric) if elsewhere else "" for c in choices}
        kept = "how many such changes were kept, of those tried, on other machines" if any(records.values()) else ""
        told = "; then ".join(words for words in (gains, kept) if words)
        lines = [_line(number, choice, records[choice.axis]) for number, choice in enumerate(choices, start=1)]
        head = f"{_head(choices)}{f' Behind each: {told}.' if told else ''}"
        return section("The choices", "\n".join([head, *lines]))

    how = (
        'Answer with one JSON object: in "choice" the number of one line, in "why" your reason in one short sentence.'
        if json
        else "Answer with the number of one line. After it you may give your reason in one sentence."
    )
    task = f"Choose the one change that you expect to improve {context.history.metric} most. {how}"
    return _fitted(context, room, body, task)


def values_brief(context: Context, room: int, knobs: Sequence[KnobValues], task: str, example: str) -> Brief:
    """Return the prompt that asks for new values of knobs, in at most ``room`` tokens.

    ``task`` is the text of a task, such as the user's own idea.  ``example`` is an answer to show; it is empty when
    the server enforces the schema.  Raises AgentError when even the shortest prompt is too long.
    """
    head = "Each constant with its value now, then the values that it may get:"

    def body(elsewhere: bool) -> str:
        lines = [f"{k.name} = {literal(k.now)}: {_values(k, short=not example)}" for k in knobs]
        return section("The constants", "\n".join([head, *lines]))

    asked = [
        task or f"Choose one constant, at most three, and a new value for each, to improve {context.history.metric}.",
        'Answer with one JSON object: in "knobs" a list of objects with name and value, in "hypothesis" your reason in'
        " one sentence.",
        f"An example of the form, whose change would be refused: {example}" if example else "",
    ]
    return _fitted(context, room, body, "\n".join(part for part in asked if part))


def _values(knob: KnobValues, short: bool) -> str:
    """Return the values of a knob as text; if ``short`` is true, only the lowest and the highest number.

    A short text saves time: a model on a CPU reads only ten to a hundred tokens a second, and the schema, if it is
    enforced, contains all values.
    """
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in knob.values)
    if short and numbers and len(knob.values) > 2:
        return f"{literal(min(knob.values))} to {literal(max(knob.values))}"
    return ", ".join(map(literal, knob.values))


def _fitted(context: Context, room: int, body: Callable[[bool], str], task: str) -> Brief:
    system = _system(context)
    cut: tuple[str, ...] = ()
    user, tokens = "", 0
    for at, (rows, elsewhere) in enumerate(_LEVELS):
        longer, user = user, _user(context, rows, body(elsewhere), task)
        if longer and longer != user:
            cut = (*cut, _CUTS[at - 1])
        tokens = estimate(system) + estimate(user)
        if tokens <= room:
            return Brief(system, user, tokens, cut)
    raise too_small(context, room, tokens, files=False)


def _system(context: Context) -> str:
    history = context.history
    return (
        f"You choose the next experiment of a research loop. The number that counts is {history.metric}"
        f" ({results.better(history)}). Each experiment changes one program a little and measures it."
    )


def _user(context: Context, rows: int, body: str, task: str) -> str:
    parts = [
        prompt_sections.machine(context),
        # Parts that change least come first, because a server caches the beginning that two prompts have in common.
        prompt_sections.wishes(context.notes, NOTES),
        prompt_sections.standing(context, short=True),
        section("The last experiments", _last(context, rows)),
        prompt_sections.measured_now(context.running),
        prompt_sections.hooked(context.hooks, HOOKS),
        body,
        section("Your task", f"This is experiment {context.number}.\n{tame(task)}"),
    ]
    return "\n\n".join(part for part in parts if part)


def _last(context: Context, rows: int) -> str:
    tried = [e for e in context.history.experiments if e.number > 0 and e.measurements][-rows:] if rows else []
    return "\n".join(f"- {phrase(e.title, 80)}: {e.status}, gain {terms.gain(e.gain)}" for e in tried)


def _head(choices: Sequence[RankedMove]) -> str:
    """Return the line before the menu.  It names the point where all moves start, if this is not the incumbent."""
    name = choices[0].name
    said = "An optimiser would make one of these changes next"
    if name.number is None:
        return f"{said}."
    return f"{said}. All of them start from experiment {name.number}, which is expected to be best: {name.start_words}."


def _line(number: int, choice: RankedMove, record: str) -> str:
    told = []
    if choice.gain is not None and choice.deviation is not None:
        told.append(terms.estimate(choice.gain, choice.deviation, 1))
    if choice.failing >= 0.1:
        told.append(f"{choice.failing:.0%} likely to fail")
    if record:
        told.append(record)
    return f"{number}. {choice.name.words}" + (f" ({'; '.join(told)})" if told else "")
