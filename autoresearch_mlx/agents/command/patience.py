"""Decide whether a coding agent's call without an edit should be repeated later, and when."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from autoresearch_mlx.agents.command.outages import asks_for_a_person, outage
from autoresearch_mlx.agents.command.shell import Called
from autoresearch_mlx.errors import AgentAway
from autoresearch_mlx.trial.autopsy import how_it_ended
from autoresearch_mlx.trial.blame import blame

FIRST_REST, LONGEST_REST = 30.0, 1800.0
"""Seconds until a service that names no time is asked again: ``FIRST_REST`` after the first failure, and twice as long
after each further failure, up to ``LONGEST_REST``."""
_AT_ONCE_SECONDS = 2.0
"""A call that ends within this many seconds counts as ended at once: the program only started and ended."""
_ANSWER_LINES = 5
"""If a call ends without an error, and its output has more lines than this, the output counts as an answer, not as an
outage."""


class Patience:
    """Decides how long to wait for one coding agent.

    ``seconds`` is the longest time that an experiment waits if the program keeps ending at once.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._rest = FIRST_REST
        self._worked = False
        self._since: float | None = None
        """Start of the present series of calls that ended at once without a known reason; None between such series."""

    def answered(self) -> None:
        """Note that the agent has made an edit."""
        self._worked, self._since, self._rest = True, None, FIRST_REST

    def check(self, called: Called, log: Path, worked: bool) -> None:
        """Raise AgentAway if the call made no edit because of something that ends by itself, such as an outage.

        ``worked`` is true if the agent has made an edit before in this session.
        """
        ended, failed = called.ended, called.ended.returncode != 0
        whose = blame(ended, log) if failed else None
        if whose is not None and whose.party in ("machine", "tool"):
            raise AgentAway(f"the coding agent was ended by the machine: {whose.words}", whose.next_step, self._pause())
        short = len(called.output.strip().splitlines()) <= _ANSWER_LINES
        if (failed or short) and (found := outage(called.output)) is not None:
            seconds = found.seconds if found.seconds is not None else self._pause()
            raise AgentAway(f"the coding agent's service gives no answer now: {found.words}", seconds=seconds)
        at_once = failed and ended.killed is None and ended.seconds < _AT_ONCE_SECONDS
        passing = ended.returncode == 1 or worked or self._worked
        if at_once and passing and not asks_for_a_person(called.output):
            self._wait_a_while(how_it_ended(ended.returncode, log))

    def _wait_a_while(self, how: str) -> None:
        """Raise AgentAway until the experiment has waited ``seconds``.

        After that time the method returns, so the experiment ends without an edit.  The next experiment may wait again.
        """
        now = self._clock()
        self._since = now if self._since is None else self._since
        if now - self._since >= self._seconds:
            self._since = None
            return
        pause = min(self._pause(), max(self._seconds - (now - self._since), 1.0))
        raise AgentAway(f"the coding agent ends at once: {how}", seconds=pause)

    def _pause(self) -> float:
        pause, self._rest = self._rest, min(2 * self._rest, LONGEST_REST)
        return pause
