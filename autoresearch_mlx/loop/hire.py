"""Make the agent of a session when a run begins, and end its processes when the run ends, even by an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from autoresearch_mlx.agents import load_agent
from autoresearch_mlx.agents.chat.opening import FormSize
from autoresearch_mlx.agents.office import Caps, Office
from autoresearch_mlx.agents.presets import command_line
from autoresearch_mlx.agents.prompt.brief import Brief
from autoresearch_mlx.errors import AgentError, LedgerError
from autoresearch_mlx.experiment import Agent, Context, History, Tenant
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.carry import Overlap, carried
from autoresearch_mlx.loop.control import live_run
from autoresearch_mlx.loop.first_context import first_context
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.store.forms import Form
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.minutes import Minute, minutes_of
from autoresearch_mlx.store.worktree import FOLDER, Worktree


@runtime_checkable
class Briefed(Protocol):
    """An agent that asks a model."""

    def next_brief(self, context: Context) -> Brief: ...


@runtime_checkable
class Formed(Protocol):
    """An agent that asks a model with a prompt in one of several forms, which differ in size."""

    def brief_in(self, context: Context, form: Form) -> Brief: ...

    def forms(self, context: Context) -> tuple[FormSize, ...]: ...


@runtime_checkable
class Lodger(Protocol):
    """An agent that knows whether its model fits into this machine's memory together with training."""

    def memory_words(self, history: History) -> str:
        """Return the words ``unloads before training``, or the reason why the model stays in memory."""
        ...


@contextmanager
def hired(session: Session, settings: Settings, say: Callable[[str], None]) -> Iterator[Agent]:
    """Yield the agent that the settings name, and end its processes when the block ends.  Raises AgentError."""
    agent = load_agent(settings.agent.name, office_of(session, settings, say))
    try:
        yield agent
    finally:
        if isinstance(agent, Tenant):
            agent.close()


@dataclass(frozen=True, slots=True)
class NextPrompt:
    """The prompt of the next experiment, and the prompt's size in each form.

    For a coding agent, ``forms`` is empty, because its prompt has one form only.
    """

    brief: Brief
    forms: tuple[FormSize, ...]


def next_prompt(session: Session, settings: Settings, say: Callable[[str], None], form: Form | None) -> NextPrompt:
    """Return the agent's prompt for the next experiment; if ``form`` is None, the agent chooses the form.

    Raises AgentError if the agent has no model, or if the prompt in this form is too long for the model.
    """
    journal = session.journal()
    files = session.workspace.read(session.incumbent(journal.history))
    context = session.context(journal.history, max(journal.next_number, 1), files)
    with hired(session, settings, say) as agent:
        return _prompt(agent, context, form)


def first_prompt(lab: Lab, settings: Settings, say: Callable[[str], None], form: Form | None) -> NextPrompt:
    """Return the prompt that the first experiment of a new session would have; no session is made.

    Raises the errors of :func:`next_prompt`, and LabError for a lab without a commit or without its editable files.
    """
    context, memory_bytes = first_context(lab, settings)
    agent = load_agent(
        settings.agent.name, Office(settings.agent, seed=context.seed, memory_bytes=memory_bytes, say=say)
    )
    try:
        return _prompt(agent, context, form)
    finally:
        if isinstance(agent, Tenant):
            agent.close()


def _prompt(agent: Agent, context: Context, form: Form | None) -> NextPrompt:
    if not isinstance(agent, Briefed):
        said = f"{agent.name} does not use a model, so there is no prompt"
        raise AgentError(said, "use --agent ollama:MODEL, or another agent with a model")
    if not isinstance(agent, Formed):
        if form is not None:
            raise AgentError(f"{agent.name} edits the files itself, so its prompt has one form", "leave out --form")
        return NextPrompt(agent.next_brief(context), ())
    forms = agent.forms(context)
    return NextPrompt(agent.brief_in(context, form) if form is not None else agent.next_brief(context), forms)


def memory_words(agent: Agent, history: History) -> str:
    """Return the agent's name and the plan for its memory, such as ``ollama:qwen3.5:9b unloads before training``."""
    return f"{agent.name} {agent.memory_words(history)}" if isinstance(agent, Lodger) else agent.name


def expected_words(settings: Settings, session: Session | None) -> str:
    """Return the result of :func:`memory_words` for the agent that the settings name, without starting the agent.

    If the agent is not available, the text gives the reason.
    """
    name = settings.agent.name
    if command_line(name) is not None:
        return name  # the agent needs the session's worktree, which may be in use
    memory = session.worker.memory_bytes if session is not None else read_machine().memory_bytes
    try:
        agent = load_agent(name, Office(settings.agent, memory_bytes=memory))
    except AgentError as error:
        return f"{name} is not available: {error}"
    try:
        return memory_words(agent, session.journal().history if session is not None else History((), "", "min"))
    finally:
        if isinstance(agent, Tenant):
            agent.close()


def office_of(session: Session, settings: Settings, say: Callable[[str], None]) -> Office:
    return Office(
        settings=settings.agent,
        seed=session.seed,
        folder=session.folder,
        lend=session.worker.worktree.lent,
        may_edit=session.workspace.may_edit,
        say=say,
        memory_bytes=session.worker.memory_bytes,
        caps=lambda: _caps(session, settings),
        team=settings.team,
        pool=lambda junior: Worktree(session.workspace, f"{FOLDER}-junior-{junior}").lent,
        record=lambda event, fields: session.append(event, time=now(), **fields),
        minutes=lambda: _minutes(session),
        carry=_carry,
    )


def _minutes(session: Session) -> tuple[Minute, ...]:
    journal = session.journal()
    return minutes_of(journal.briefs, journal.history)


def _carry(mine: Mapping[str, str], base: Mapping[str, str], theirs: Mapping[str, str]) -> Mapping[str, str] | str:
    found = carried(mine, base, theirs)
    return found.words if isinstance(found, Overlap) else found


def _caps(session: Session, settings: Settings) -> Caps:
    """Return the limits on tokens and cost: those of the current run, or those of the settings if there is no run.

    `policy set` may have changed the limits of the run.
    """
    try:
        run = live_run(session.folder)
    except LedgerError:
        run = None  # the loop has already reported the error
    limits = run.limits if run is not None else {}
    agent = settings.agent
    return Caps(limits.get("tokens", agent.max_tokens_total), limits.get("cost", agent.max_cost))
