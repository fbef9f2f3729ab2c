"""Define the conversation of one experiment: the question, the last answer, and its cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoresearch_mlx.agents.edits.fields import Fields
from autoresearch_mlx.agents.edits.knob_values import Beyond
from autoresearch_mlx.agents.ideas.choose_task import Task
from autoresearch_mlx.agents.knobs.ranked_moves import RankedMove
from autoresearch_mlx.agents.prompt.answer import repair_choice
from autoresearch_mlx.agents.prompt.brief import Brief, Form, ask_for_code, repair
from autoresearch_mlx.agents.prompt.tokens import CHARS_PER_TOKEN, estimate
from autoresearch_mlx.experiment import Proposal
from autoresearch_mlx.models.wire import Message, Reply

_LONGEST_ECHO = 8_000
"""Maximum number of tokens of a bad reply that are sent back to the model, together with the error message."""
_LONGEST_SHORT_ECHO = 200
"""Maximum number of tokens of a bad reply to a menu that are sent back; the end of an endless reply is no help."""


@dataclass(slots=True)
class Thread:
    """The conversation of one experiment.  Only the last answer is sent again, so that the prompt stays short."""

    number: int
    files: Mapping[str, str]
    """The editable files from which the edit starts."""
    brief: Brief
    form: Form
    task: Task
    agent: str
    base: str | None = None
    schema: Mapping[str, Any] | None = None
    max_tokens: int = 0
    """Maximum number of tokens of the next reply."""
    code_tokens: int = 0
    """Maximum number of tokens of a reply with code."""
    context_tokens: int = 0
    """Maximum number of tokens of prompt and reply together."""
    room: int = 0
    """Maximum number of tokens in the messages after the brief, so that prompt and reply still fit into the context."""
    loading: float | None = None
    """Seconds spent loading the model for an earlier call, before this conversation began."""
    thinking: bool = True
    """True if the model may think; False after the model has spent a whole reply on thinking."""
    fields: Fields | None = None
    """Fields of a proposal that has no code yet, while the model is asked for the code."""
    tail: tuple[Message, ...] = ()
    mismatches: int = 0
    offered: int = 1
    """Number of proposals asked for in one reply."""
    choices: tuple[RankedMove, ...] = ()
    """The entries of the menu, in the order in which they were shown."""
    fallen: tuple[Form, ...] = ()
    """Forms that were tried earlier in this experiment and failed."""
    beyond: Beyond = frozenset()
    """Values outside a knob's range that were refused in this conversation."""
    cut_offs: int = 0
    """Number of endless or stalled replies that were cut off."""
    proposal: Proposal | None = None
    """The proposal of the last answer."""
    files_kept: list[str] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    repairs: int = 0

    def messages(self) -> tuple[Message, ...]:
        return (Message("system", self.brief.system), Message("user", self.brief.user), *self.tail)

    def heard(self, reply: Reply, file: str | None) -> None:
        self.replies.append(reply)
        if file is not None:
            self.files_kept.append(file)

    def want_code(self, fields: Fields, said: str) -> None:
        """Add a message that asks for the code of an idea whose fields have arrived."""
        self.fields, self.schema, self.max_tokens = fields, None, max(self.max_tokens, self.code_tokens)
        self._end_with(said, ask_for_code(fitting(said, self.room // 2), self.form))

    def want_repair(self, problem: str) -> None:
        """Add a message that asks for a repair of the last answer, and says why this answer has no usable edit."""
        said = self.replies[-1].text if self.replies else ""
        self.repairs += 1
        if self.short:
            said = fitting(said, _LONGEST_SHORT_ECHO)
            return self._end_with(said, repair_choice(fitting(problem, self.room // 2), len(self.choices)))
        if self.schema is not None:
            return self._end_with(said, repair_choice(fitting(problem, self.room // 2), 0))
        return self._end_with(said, repair(fitting(problem, self.room // 2), self.form))

    @property
    def short(self) -> bool:
        """True if the model only chooses from what the prompt offers, and sees no file."""
        return self.form in ("menu", "values")

    def _end_with(self, said: str, question: str) -> None:
        echo = fitting(said, min(_LONGEST_ECHO, self.room - estimate(question)))
        # Some servers refuse a message without content.
        nothing = "(left out: too long)" if said.strip() else "(an empty reply)"
        self.tail = (Message("assistant", echo if echo.strip() else nothing), Message("user", question))

    def talk(self) -> dict[str, Any]:
        """Return the part of the conversation that the ledger keeps."""
        return {
            "agent": self.agent,
            "model": self.replies[-1].model if self.replies else None,
            "task": self.task.kind,
            "idea": self.task.idea,
            "experiments": list(self.task.experiments),
            "form": self.form,
            "calls": len(self.replies),
            "repairs": self.repairs + len(self.fallen),
            "mismatches": self.mismatches,
            **({"fallen": list(self.fallen)} if self.fallen else {}),
            "prompt_tokens": _sum(r.prompt_tokens for r in self.replies),
            "completion_tokens": _sum(r.completion_tokens for r in self.replies),
            "load_seconds": _sum([self.loading, *(r.load_seconds for r in self.replies)]),
            "think_seconds": _sum(r.think_seconds for r in self.replies),
            "cut": list(self.brief.cut),
            "files": list(self.files_kept),
        }


def fitting(text: str, tokens: int) -> str:
    """Return the beginning of a text, at most ``tokens`` long by our estimate."""
    text = text[: max(int(tokens * CHARS_PER_TOKEN), 0)]
    while text and estimate(text) > tokens:
        text = text[: len(text) * 4 // 5]
    return text


def _sum(counts: Any) -> Any:
    known = [c for c in counts if c is not None]
    return round(sum(known), 3) if known else None
