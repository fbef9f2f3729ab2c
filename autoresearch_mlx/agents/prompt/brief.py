"""Assemble the whole prompt within a limit of tokens.

Parts that seldom change come first (rules, program.md, the files).  Some servers cache the beginning of a prompt, and
need not read this beginning again.  If the prompt is too long, parts are cut one after the other, in the order of
``CUTS``, until the prompt fits.  The prompt names the cuts.  The rules, the files, the numbers to beat, the newest
note, the task, and how to answer are never cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from autoresearch_mlx.agents.prompt import answer, prompt_sections
from autoresearch_mlx.agents.prompt.answer import Asks, ask_for_code, repair
from autoresearch_mlx.agents.prompt.prompt_sections import ROWS, Detail, Material
from autoresearch_mlx.agents.prompt.tokens import estimate
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Context
from autoresearch_mlx.store.forms import Form
from autoresearch_mlx.terms import plural

__all__ = ["CUTS", "Asks", "Brief", "Form", "agent_brief", "ask_for_code", "repair", "write_brief"]

Words: TypeAlias = str | Callable[[Context], str]

FEWER_ROWS, FEWEST_ROWS = ROWS // 2, 4
FEWER_NOTES = 3
SHORTER_HOOKS = 2000


def _rows_cut(before: int, after: int) -> Callable[[Context], str]:
    return lambda context: plural(min(before, len(context.history.experiments)) - after, "older experiment")


def _notes_cut(before: int | None, after: int) -> Callable[[Context], str]:
    def words(context: Context) -> str:
        notes = sum(bool(note.strip()) for note in context.notes)
        return plural((notes if before is None else min(before, notes)) - after, "older note")

    return words


CUTS: tuple[tuple[Mapping[str, Any], Words], ...] = (
    ({"curves": False}, "loss curves"),
    ({"hints": False}, "H100 results"),
    ({"elsewhere": False}, "reports of other labs"),
    ({"rows": FEWER_ROWS}, _rows_cut(ROWS, FEWER_ROWS)),
    ({"logs": False}, "logs of failures"),
    ({"code": False}, "code of failures"),
    ({"optimiser": False}, "state of the optimiser"),
    ({"axes": False}, "tries by axis"),
    ({"findings": 0.5}, "the second half of what the runs showed"),
    ({"program": 0.5}, "the second half of program.md"),
    ({"rows": FEWEST_ROWS}, _rows_cut(FEWER_ROWS, FEWEST_ROWS)),
    ({"hooks": SHORTER_HOOKS}, f"what the hooks printed after {SHORTER_HOOKS:,} characters"),
    ({"notes": FEWER_NOTES}, _notes_cut(None, FEWER_NOTES)),
    ({"failures": False}, "failures"),
    ({"findings": 0.0}, "what the runs showed"),
    ({"program": 0.25}, "another quarter of program.md"),
    ({"notes": 1}, _notes_cut(FEWER_NOTES, 1)),
    ({"rows": 0}, _rows_cut(FEWEST_ROWS, 0)),
    ({"program": 0.0}, "the rest of program.md"),
    ({"hooks": 0}, "what the hooks printed"),
)
"""The cuts in their order, each with its name in the prompt.  A cut that does not change the prompt is not named."""


class PromptTooLong(AgentError):
    """Raised when even the shortest prompt does not fit."""


@dataclass(frozen=True, slots=True)
class Brief:
    """A prompt of two messages: the system's and the user's."""

    system: str
    user: str
    tokens: int
    """Estimated number of tokens of both messages together."""
    cut: tuple[str, ...]
    """Names of the parts that were cut, in the order of the cuts."""


def write_brief(
    context: Context,
    room: int,
    form: Form,
    *,
    asks: Asks = "all",
    proposals: int = 1,
    task: str = "",
    optimiser: str = "",
) -> Brief:
    """Return the prompt of the next experiment, in at most ``room`` tokens.

    With ``asks="fields"``, the prompt asks for the JSON only, and a second call asks for the code.  ``task`` is the
    text of the task; if it is empty, the model chooses freely.  ``optimiser`` describes what the optimiser knows.
    Raises PromptTooLong when even the shortest prompt does not fit.
    """
    system = answer.system(context)
    material = prompt_sections.gather(context, task, optimiser)
    ending = answer.how_to_answer(context, form, asks, proposals)
    cut: tuple[str, ...] = ()
    user = ""
    for detail, words in _levels():
        longer, user = user, _user(material, detail, ending)
        if longer and user != longer:
            cut = (*cut, words if isinstance(words, str) else words(context))
        tokens = estimate(system) + estimate(user)
        if tokens <= room:
            return Brief(system, user, tokens, cut)
    raise too_small(context, room, tokens)


def _levels() -> Iterator[tuple[Detail, Words]]:
    """Yield the levels of detail, most detailed first, each with the name of the cut that leads to it."""
    detail = Detail()
    yield detail, ""
    for change, words in CUTS:
        detail = replace(detail, **change)
        yield detail, words


def _user(material: Material, detail: Detail, ending: str) -> str:
    context = material.context
    parts = [
        prompt_sections.program(context.program, detail.program),
        prompt_sections.machine(context),
        material.files,
        *_record(material, detail),
        prompt_sections.measured_now(context.running),
        prompt_sections.refused(context.feedback),
        prompt_sections.hooked(context.hooks, detail.hooks),
        prompt_sections.wishes(context.notes, detail.notes),
        prompt_sections.mission(context, material.task),
        ending,
    ]
    return "\n\n".join(part for part in parts if part)


def _record(material: Material, detail: Detail) -> list[str]:
    """Return the sections about experiments of this session and of other machines."""
    context = material.context
    return [
        prompt_sections.standing(context),
        prompt_sections.experiments(context, detail.rows),
        prompt_sections.tried(context) if detail.axes else "",
        prompt_sections.curves(context) if detail.curves else "",
        prompt_sections.found(context, detail.findings),
        prompt_sections.failed(material.failures, detail.code, detail.logs) if detail.failures else "",
        prompt_sections.hinted(material.hints) if detail.hints else "",
        prompt_sections.published(context.elsewhere) if detail.elsewhere else "",
        prompt_sections.optimised(material.optimiser) if detail.optimiser else "",
    ]


def too_small(context: Context, room: int, least: int, files: bool = True) -> PromptTooLong:
    """Return the error for a prompt that does not fit; ``files`` is true if the prompt contains the editable files."""
    inside = sum(estimate(text) for text in context.files.values())
    of_them = f", of which {inside:,} are the text of {', '.join(context.files)}" if files else ""
    return PromptTooLong(
        f"the shortest prompt has about {least:,} tokens{of_them}; there is room for {room:,}",
        "raise `[agent] context_tokens` in lab.toml, choose a model with a longer context, or use --agent knobs",
    )


def agent_brief(context: Context, task: str = "", optimiser: str = "") -> str:
    """Return the prompt for a coding agent, which reads and edits the files in the lab's directory itself.

    Nothing is cut, because a coding agent manages its own context.
    """
    material = prompt_sections.gather(context, task, optimiser)
    parts = [
        answer.for_an_agent(context, answer.rules(context)),
        prompt_sections.program(context.program, 1.0),
        prompt_sections.machine(context),
        *_record(material, Detail()),
        prompt_sections.measured_now(context.running),
        prompt_sections.refused(context.feedback),
        prompt_sections.hooked(context.hooks),
        prompt_sections.wishes(context.notes, None),
        prompt_sections.mission(context, task),
        answer.agents_ending(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
