"""Choose the model's task from a backlog of ideas; when the backlog runs out, ask the model for new ideas."""

from __future__ import annotations

from collections.abc import Mapping

from autoresearch_mlx.agents.chat.calls import Calls
from autoresearch_mlx.agents.edits.reply import Edit, read_reply
from autoresearch_mlx.agents.ideas.axes import known_axes
from autoresearch_mlx.agents.ideas.backlog import add_ideas, open_ideas, take
from autoresearch_mlx.agents.ideas.choose_task import Task, choose_task
from autoresearch_mlx.agents.ideas.idea import YOU, Idea
from autoresearch_mlx.agents.ideas.refill import read_ideas, refill_due, refill_request
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.prompt.tokens import estimate
from autoresearch_mlx.agents.team.brief import brief_of
from autoresearch_mlx.errors import EndpointError
from autoresearch_mlx.experiment import Context
from autoresearch_mlx.models.wire import Ask, Message

_REPLY_TOKENS = 1600
"""Maximum number of tokens of a reply with ideas: eight ideas of some sentences each."""
_SYSTEM = "You plan experiments that improve a small program. You answer with JSON only."


class TaskSource:
    """Chooses tasks.  Ideas are kept in the session's folder; without a folder, tasks depend on the history alone."""

    def __init__(self, office: Office, calls: Calls, source: str) -> None:
        self._office, self._calls, self._source = office, calls, source
        self.load_seconds: float | None = None
        """Seconds spent loading the model, if the model was asked for ideas before the last task; None otherwise."""

    def look(self, context: Context) -> Task:
        """Return the next task without marking its idea as taken and without asking the model."""
        ideas, brief = self._open(context), brief_of(context)
        if brief is not None and not self.wished(context):
            return Task("axis", brief.axis, brief.words, experiments=brief.evidence)
        return choose_task(context, ideas, known_axes(context, ideas))

    def refill(self, context: Context) -> None:
        """Ask the model for ideas when the backlog runs out.  Raises EndpointError and Spending."""
        self.load_seconds = None
        if (
            brief_of(context) is None
            and self._office.folder is not None
            and refill_due(self._office.folder, context.history)
        ):
            self._refill(context)

    def take(self, task: Task, number: int) -> None:
        """Mark the idea of a task as taken by experiment ``number``."""
        if task.idea is not None and self._office.folder is not None:
            take(self._office.folder, task.idea, number)

    def wished(self, context: Context) -> bool:
        """Return whether an idea of the user is waiting.

        In a team, ideas on an axis in the brief's ``must_not`` do not count.
        """
        brief = brief_of(context)
        others = () if brief is None else brief.must_not
        return any(idea.source == YOU and idea.axis not in others for idea in self._open(context))

    def _open(self, context: Context) -> tuple[Idea, ...]:
        return open_ideas(self._office.folder, context.history) if self._office.folder is not None else ()

    def _refill(self, context: Context) -> None:
        """Ask the model for eight ideas on different axes.  After an unusable answer, the backlog stays as it is."""
        assert self._office.folder is not None
        request, schema = refill_request(context, known_axes(context, self._open(context)))
        messages = (Message("system", _SYSTEM), Message("user", request))
        ask = Ask(
            messages=messages,
            prompt_tokens=sum(estimate(m.content) for m in messages),
            max_tokens=_REPLY_TOKENS,
            seconds=self._office.settings.timeout_seconds,
            schema=schema,
            temperature=self._office.settings.temperature,
            seed=self._office.seed + 1000 * context.number + 500,
            think=self._office.settings.think,
        )
        try:
            reply, _ = self._calls.make(context.number, "ideas", ask)
        except EndpointError as error:
            if error.kind != "overflow":
                raise
            text = ""  # this request is too long for the model, so there are no new ideas
        else:
            self.load_seconds, text = reply.load_seconds, reply.text
        drafts, _ = read_ideas(text)
        add_ideas(self._office.folder, drafts, f"model:{self._source}")


class SpareEdits:
    """A queue of edits from earlier replies: all edits of a reply except its first edit."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, int]] = []

    def put(self, reply: str, others: int) -> None:
        """Keep the edits of a reply after its first edit; ``others`` is the number of these edits."""
        self._waiting += [(reply, index) for index in range(1, others + 1)]

    def pick(self, files: Mapping[str, str]) -> Edit | None:
        """Return the next edit that fits these files, and drop the edits before it; None if no edit fits."""
        while self._waiting:
            reply, index = self._waiting.pop(0)
            edits = read_reply(reply, files)
            if index < len(edits) and edits[index].files and not edits[index].problem:
                return edits[index]
        return None
