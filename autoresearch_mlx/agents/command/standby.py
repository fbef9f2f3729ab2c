"""Let the optimiser propose while a coding agent's service has an outage or the person's limit is used up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from autoresearch_mlx.agents.command.coding_agent import CodingAgent
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.errors import AgentAway, AgentError
from autoresearch_mlx.experiment import Agent, Context, Proposal

if TYPE_CHECKING:
    from autoresearch_mlx.agents.prompt.brief import Brief

DEFAULT_SECONDS = 60.0
"""Seconds until the agent is asked again when it does not say when."""


class Standby:
    """A coding agent, replaced by the optimiser while it is away."""

    name = "command"

    def __init__(
        self, agent: CodingAgent, optimiser: Agent, office: Office, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._agent, self._optimiser, self._office, self._clock = agent, optimiser, office, clock
        self._author: Agent = agent
        self._number: int | None = None
        self._away_until = 0.0
        self._away: AgentAway | None = None

    def propose(self, context: Context) -> Proposal:
        """Propose an edit.  Raises AgentAway when neither has one now, AgentError when the coding agent gives up."""
        if not context.feedback or context.number != self._number:
            self._number = context.number
            self._author = self._agent if self._clock() >= self._away_until else self._optimiser
        return self._ask_agent(context) if self._author is self._agent else self._ask_optimiser(context)

    def next_brief(self, context: Context) -> Brief:
        """Return the coding agent's next prompt, whether or not it is away."""
        return self._agent.next_brief(context)

    def _ask_agent(self, context: Context) -> Proposal:
        try:
            proposal = self._agent.propose(context)
        except AgentAway as away:
            self._away, seconds = away, DEFAULT_SECONDS if away.seconds is None else away.seconds
            self._away_until = self._clock() + seconds
            self._author = self._optimiser
            # The refused edits came from the agent, so the optimiser does not see them.
            return self._ask_optimiser(replace(context, feedback=()), said=False)
        if self._away is not None:
            self._away = None
            self._office.say("the coding agent answers again")
        return proposal

    def _ask_optimiser(self, context: Context, said: bool = True) -> Proposal:
        try:
            proposal = self._optimiser.propose(context)
        except AgentError:
            if self._away is None:
                raise
            left = max(self._away_until - self._clock(), 0.0)
            raise AgentAway(str(self._away), self._away.hint, left) from None
        if not said:
            left = self._away_until - self._clock()
            at = time.strftime("%H:%M", time.localtime(time.time() + left))
            self._office.say(f"{self._away}; {self._optimiser.name} goes on alone until {at}")
        return proposal
