"""Let the optimiser propose while a coding agent is away (an outage, a usage limit), or let both take turns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from autoresearch_mlx.agents.command.coding_agent import CodingAgent
from autoresearch_mlx.agents.hybrid import share_now, turn
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.errors import AgentAway, AgentError
from autoresearch_mlx.experiment import Agent, Context, Proposal

if TYPE_CHECKING:
    from autoresearch_mlx.agents.prompt.brief import Brief

DEFAULT_SECONDS = 60.0
"""Seconds until an agent is asked again, if it does not say when it will be back."""


class Standby:
    """A coding agent, and the optimiser, which proposes while the agent is away.

    ``share`` is the agent's share of the proposals.  If ``share`` is below 1, the agent and the optimiser take turns as
    in ``hybrid``, and the optimiser continues alone when the agent gives up.
    """

    def __init__(
        self,
        agent: CodingAgent,
        optimiser: Agent,
        office: Office,
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = agent.name if share >= 1 else "hybrid"
        self._agent, self._optimiser, self._office, self._share, self._clock = agent, optimiser, office, share, clock
        self._author: Agent = agent
        self._number: int | None = None
        self._away_until = 0.0
        self._away: AgentAway | None = None

    def propose(self, context: Context) -> Proposal:
        """Propose an edit.

        Raises AgentAway when neither agent can propose an edit now, and AgentError when the coding agent gives up.
        """
        if not context.feedback or context.number != self._number:
            self._number = context.number
            self._author = self._agent if self._agents_turn(context) else self._optimiser
        return self._ask_agent(context) if self._author is self._agent else self._ask_optimiser(context)

    def _agents_turn(self, context: Context) -> bool:
        there = self._clock() >= self._away_until
        return there and (self._share >= 1 or turn(context.number, share_now(self._share, context.history)))

    def next_brief(self, context: Context) -> Brief:
        """Return the coding agent's next prompt, even while the agent is away."""
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
        except AgentError as error:
            if self._share >= 1:
                raise
            self._away_until, self._author = math.inf, self._optimiser
            hint = f" ({error.hint})" if error.hint else ""
            self._office.say(f"{error}{hint}; {self._optimiser.name} continues alone for the rest of this run")
            return self._ask_optimiser(replace(context, feedback=()))
        if self._away is not None:
            self._away = None
            self._office.say("the coding agent answers again")
        return proposal

    def _ask_optimiser(self, context: Context, said: bool = True) -> Proposal:
        try:
            proposal = self._optimiser.propose(context)
        except AgentError:
            if said and self._share < 1 and self._clock() >= self._away_until:
                self._author = self._agent
                return self._ask_agent(replace(context, feedback=()))
            if self._away is None or self._away_until == math.inf:
                raise
            left = max(self._away_until - self._clock(), 0.0)
            raise AgentAway(str(self._away), self._away.hint, left) from None
        if not said:
            left = self._away_until - self._clock()
            at = time.strftime("%H:%M", time.localtime(time.time() + left))
            self._office.say(f"{self._away}; {self._optimiser.name} continues alone until {at}")
        return proposal
