"""Prepare the next proposal while an experiment is measured, so that the machine does not wait for a model.

A thread asks the agent in the same way as the loop does.  If the loop would refuse the edit, the thread tells the agent
why and asks again.  The agent is told which experiment is being measured.  If this experiment is kept, the proposal is
carried over to the new incumbent.  Only an agent that implements :class:`ThinksAhead` is asked ahead of time, and only
while the agent allows it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from autoresearch_mlx.experiment import Agent, Context, History, Proposal, Tenant, Verdict
from autoresearch_mlx.judge.beside import slowed
from autoresearch_mlx.loop.attempt import Attempt
from autoresearch_mlx.loop.carry import Overlap, carried
from autoresearch_mlx.loop.control import Orders
from autoresearch_mlx.loop.policy import sofar
from autoresearch_mlx.loop.refusal import Candidate, ask, refuse, writable
from autoresearch_mlx.loop.session import Session

_LOOK_SECONDS = 0.1
_PATIENCE_SECONDS = 2.0
"""Longest wait at the end of a run for a thread in which the agent still thinks, in seconds."""


@runtime_checkable
class ThinksAhead(Protocol):
    """An agent that can prepare a proposal while an experiment is measured."""

    def ahead_refused(self, context: Context) -> str | None:
        """Return the reason why the agent must not think while an experiment is measured, or None if it may."""
        ...

    def ahead(self, context: Context) -> Proposal | None:
        """Return a proposal, or None if it is better to wait for the results of ``context.running``."""
        ...


@dataclass(slots=True)
class _Thought:
    """One conversation with the agent, in a thread."""

    context: Context
    beside: int
    """Number of the experiment that is measured during the conversation."""
    answer: Proposal | None = None
    """The agent's last answer."""
    seconds: float | None = None
    """Seconds for which the agent thought, or None if it is still thinking."""
    thread: threading.Thread | None = None
    waited: float = 0.0
    """Seconds for which the loop waited for the answer."""
    used: bool = False
    over: bool = False
    """Whether the run has ended, so that the answer is no longer needed."""


class Ahead:
    """Wraps an agent: returns a proposal that was prepared ahead of time, or asks the agent if there is none."""

    def __init__(self, session: Session, agent: Agent, orders: Orders, say: Callable[[str], None]) -> None:
        self.name = agent.name
        self.done = -1
        self.idle = 0
        """``done`` and ``idle`` are the counts of :class:`policy.Sofar` at the beginning of the running experiment.

        During the baseline, ``done`` is -1.
        """
        self._session, self._agent, self._orders, self._say = session, agent, orders, say
        self._thought: _Thought | None = None
        self._off = False

    def propose(self, context: Context) -> Proposal:
        """Return the prepared proposal, or ask the agent if no proposal was prepared.  Raises the agent's errors.

        If the agent is still preparing the proposal, this call waits.
        """
        thought = self._thought
        if thought is not None and thought.used and not context.feedback:
            thought = None  # its proposal was prepared for an earlier experiment
        if thought is not None and (answer := self._answer(thought, context)) is not None:
            return answer
        self._thought = None
        return self._agent.propose(context)

    def make_room(self, context: Context) -> Mapping[str, float]:
        return self._agent.make_room(context) if isinstance(self._agent, Tenant) else {}

    def close(self) -> None:
        """Wait briefly for a thread in which the agent still thinks; the agent itself is closed by whoever made it."""
        if self._thought is not None and self._thought.thread is not None:
            self._thought.over = True
            self._thought.thread.join(_PATIENCE_SECONDS)

    def begin(self, attempt: Attempt) -> None:
        """Let an agent that can think ahead prepare the next proposal while this experiment is measured.

        The loop calls this method before each run.  During the first run of a baseline the agent does not think, for
        two reasons: the first prompt needs the value of this run, and the memory that this run uses shows whether a
        model fits into memory beside a run.
        """
        agent = self._agent
        unused = self._thought is not None and not self._thought.used
        if not isinstance(agent, ThinksAhead) or self._off or unused or self._last(attempt.history):
            return
        if attempt.number == 0 and not attempt.measurements:
            return
        context = self._next_context(attempt)
        if agent.ahead_refused(context) is not None or self._disturbs(context):
            return
        thought = self._thought = _Thought(context, attempt.number)
        thought.thread = threading.Thread(target=self._think, args=(agent, thought), name="ahead", daemon=True)
        thought.thread.start()

    def _last(self, history: History) -> bool:
        """Return whether no proposal should be prepared, because of the run's limits or because of several lanes."""
        come = sofar(history, self._orders.policy, self.done + 1, self.idle + 1)
        both = None if come.next_seconds is None else 2 * come.next_seconds
        return self._session.lanes > 1 or self._orders.over(replace(come, next_seconds=both)) is not None

    def _next_context(self, attempt: Attempt) -> Context:
        """Return the context of the next experiment, as if the running experiment were discarded.

        If the running experiment is the baseline, the context is as if the baseline were kept.
        """
        session, history = self._session, attempt.history
        if attempt.number > 0:
            files = session.workspace.read(attempt.incumbent)
            return session.context(history, attempt.number + 1, files, running=(attempt.running(),))
        sofar = attempt.as_logged(Verdict("keep", "its first run"))
        history = replace(history, experiments=(*history.experiments, sofar))
        return session.context(history, 1, {**attempt.files, **attempt.proposal.files})

    def _disturbs(self, context: Context) -> bool:
        """Return whether thinking ahead has slowed down runs too much.

        If it has, the agent no longer thinks ahead, and one message says so.
        """
        found = slowed(context.history)
        if found is not None and found.too_much:
            self._off = True
            self._say(f"{self.name} no longer thinks while an experiment is measured: {found.words}")
        return self._off

    def _think(self, agent: ThinksAhead, thought: _Thought) -> None:
        """Ask the agent until the loop would accept its edit, and keep the last answer.

        After a refusal the agent is asked again, at most as often as the setting ``repairs`` says.
        """
        began = time.monotonic()
        feedback: tuple[str, ...] = ()
        try:
            for _ in range(self._session.repairs + 1):
                context = replace(thought.context, feedback=feedback)
                proposal = agent.ahead(context)
                if proposal is None or thought.over:
                    break
                before, thought.answer = thought.answer, writable(ask(_Answered(self.name, proposal), context))
                if thought.answer == before or (refused := self._refusal(context, thought.answer)) is None:
                    break
                feedback = (*feedback, refused)
        except Exception:
            # The loop will ask the agent again, so that the agent's error is reported as usual.
            thought.answer = None
        thought.seconds = time.monotonic() - began

    def _refusal(self, context: Context, proposal: Proposal) -> str | None:
        if proposal.base is not None:
            return None  # the loop checks this proposal, on the files of the commit on which it builds
        history, running = context.history, context.running
        origin = "the incumbent"
        candidate = Candidate(self._session, history, context.number, context.files, proposal, origin, running)
        refused = refuse(candidate)
        return None if refused is None else refused.reason

    def _answer(self, thought: _Thought, context: Context) -> Proposal | None:
        """Return the prepared proposal for this context, or None if the agent must be asked."""
        if context.feedback:
            return None
        began = time.monotonic()
        while thought.seconds is None:
            time.sleep(_LOOK_SECONDS)
        thought.waited += time.monotonic() - began
        if (found := thought.answer) is None:
            return None
        thought.used = True
        ahead: dict[str, object] = {
            "beside": thought.beside,
            "seconds": round(thought.seconds, 3),
            "waited": round(thought.waited, 3),
        }
        if found.base is None and context.files != thought.context.files:
            files = carried(found.files, thought.context.files, context.files)
            best = context.history.incumbent
            number = None if best is None else best.number
            if isinstance(files, Overlap):
                self._say(f"a proposal prepared ahead is dropped: experiment {number} was kept, and {files.words}")
                return None
            found, ahead = replace(found, files=files), {**ahead, "carried_onto": number}
        return replace(found, talk={**found.talk, "ahead": ahead})


@dataclass(frozen=True, slots=True)
class _Answered:
    """An agent that gives one fixed answer, so that ``ask`` can check this answer."""

    name: str
    answer: Proposal

    def propose(self, context: Context) -> Proposal:
        return self.answer


@contextmanager
def thinking_ahead(session: Session, agent: Agent, orders: Orders, say: Callable[[str], None]) -> Iterator[Ahead]:
    """Yield the agent wrapped in :class:`Ahead`; when the block ends, wait briefly for the agent's thread."""
    ahead = Ahead(session, agent, orders, say)
    try:
        yield ahead
    finally:
        ahead.close()
