"""Start the agent of a session when a run begins, and close it when the run ends, however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from autoresearch_mlx.agents import load_agent
from autoresearch_mlx.agents.office import Caps, Office
from autoresearch_mlx.agents.presets import command_line
from autoresearch_mlx.agents.prompt.brief import Brief
from autoresearch_mlx.errors import AgentError, LedgerError
from autoresearch_mlx.experiment import Agent, Context, History, Tenant
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.loop.control import live_run
from autoresearch_mlx.loop.session import Session


@runtime_checkable
class Briefed(Protocol):
    """An agent that asks a model."""

    def next_brief(self, context: Context) -> Brief: ...


@runtime_checkable
class Lodger(Protocol):
    """An agent whose model may share this machine's memory with training."""

    def memory_words(self, history: History) -> str:
        """Return ``unloads before training``, or the reason why the model stays in memory."""
        ...


@contextmanager
def hired(session: Session, settings: Settings, say: Callable[[str], None]) -> Iterator[Agent]:
    """Yield the agent that the settings name; when the block ends, end its processes too.  Raises AgentError."""
    agent = load_agent(settings.agent.name, office_of(session, settings, say))
    try:
        yield agent
    finally:
        if isinstance(agent, Tenant):
            agent.close()


def next_brief(session: Session, settings: Settings, say: Callable[[str], None]) -> Brief:
    """Return the agent's prompt for the next experiment.  Raises AgentError for an agent without a model."""
    with hired(session, settings, say) as agent:
        if not isinstance(agent, Briefed):
            said = f"{agent.name} does not use a model, so there is no prompt"
            raise AgentError(said, "use --agent ollama:MODEL, or another agent with a model")
        journal = session.journal()
        files = session.workspace.read(session.incumbent(journal.history))
        return agent.next_brief(session.context(journal.history, max(journal.next_number, 1), files))


def memory_words(agent: Agent, history: History) -> str:
    """Return the agent's name and what happens to its memory: ``ollama:qwen3.5:9b unloads before training``."""
    return f"{agent.name} {agent.memory_words(history)}" if isinstance(agent, Lodger) else agent.name


def expected_words(settings: Settings, session: Session | None) -> str:
    """Return :func:`memory_words` for the agent that the settings name, without starting it, or why there is none."""
    name = settings.agent.name
    if command_line(name) is not None:
        return name  # it needs the session's worktree, which may be in use
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
    )


def _caps(session: Session, settings: Settings) -> Caps:
    """Return the caps of the current run, which `policy set` may have changed; else those of the settings."""
    try:
        run = live_run(session.folder)
    except LedgerError:
        run = None  # the loop has reported it already
    limits = run.limits if run is not None else {}
    agent = settings.agent
    return Caps(limits.get("tokens", agent.max_tokens_total), limits.get("cost", agent.max_cost))
