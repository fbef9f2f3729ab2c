"""Make calls to one endpoint: retry failed calls, keep to the session's caps, store every call.

If a server is down, busy or hung, or breaks off a reply, the call is repeated after a pause.  Each pause is twice as
long as the pause before.  A request that the server rejects is not repeated.  Each try is stored as a file under
``talks/``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.errors import AgentError, EndpointError
from autoresearch_mlx.lab.config import AgentSettings
from autoresearch_mlx.models.wire import Ask, Endpoint, ModelFacts, Reply
from autoresearch_mlx.store import talks
from autoresearch_mlx.store.journal import now

Answer = TypeVar("Answer")
_PASSING = ("unreachable", "busy", "hung", "dropped", "garbled")
"""Kinds of failure that may disappear on another try."""
_AT_ONCE = ("dropped", "garbled")
"""Kinds of failure that show that the server is alive.  After such a failure, the call is repeated one time without a
pause, even if ``patience`` is 0."""
_LONGEST_PAUSE = 60.0
_SECRET = 8
"""Least length of a key, in characters; a shorter value of an environment variable is not treated as a key."""


class Spending(AgentError):
    """Raised when the session may spend no more tokens or money."""


class Calls:
    """Makes the calls to one endpoint, adds up the tokens and the money spent, and stores each call in a file."""

    def __init__(self, endpoint: Endpoint, office: Office, patience_seconds: float | None = None) -> None:
        self._endpoint = endpoint
        self._office = office
        self.patience = office.settings.patience_seconds if patience_seconds is None else patience_seconds
        """Seconds that one call may wait for a server that is down or busy."""
        self._secrets = secrets_of(office.settings)
        self.spent = talks.spent(office.folder) if office.folder else talks.Spent()
        self._closed = False

    def make(self, experiment: int, purpose: str, ask: Ask, cut: Sequence[str] = ()) -> tuple[Reply, str | None]:
        """Return a reply, and the name of the file in which the call is stored (None without a session's folder).

        Raises Spending before a call that the caps forbid.  Raises EndpointError when the time for retries is over, or
        when another try would not help.
        """

        def once() -> tuple[Reply, str | None]:
            self._afford(ask)
            return self._once(experiment, purpose, ask, cut)

        return self._patiently(once)

    def close(self) -> None:
        """Stop repeating failed calls, because the run has ended."""
        self._closed = True

    def facts(self) -> ModelFacts:
        """Return what the server reports about the model; a failed call is retried as in :meth:`make`.

        Raises EndpointError when the time for retries is over, or when another try would not help.
        """
        return self._patiently(self._endpoint.facts)

    def _patiently(self, once: Callable[[], Answer]) -> Answer:
        began, tries = None, 0
        while True:
            tries += 1
            try:
                answer = once()
            except EndpointError as error:
                began = time.monotonic() if began is None else began
                pause = error.retry_after if error.retry_after is not None else min(2.0 ** (tries - 1), _LONGEST_PAUSE)
                if not self._worth_waiting(error, tries, time.monotonic() - began + pause):
                    raise
                self._wait(error, tries, 0.0 if error.kind in _AT_ONCE and tries == 1 else pause)
                continue
            if tries > 1:
                self._office.say(f"{self._endpoint.name} answers again")
            return answer

    def _worth_waiting(self, error: EndpointError, tries: int, spent_then: float) -> bool:
        if self._closed or error.kind not in _PASSING or (error.kind == "hung" and error.partial.strip()):
            return False  # a reply that stalled midway would stall again, with the same prompt and seed
        return spent_then <= self.patience or (tries == 1 and error.kind in _AT_ONCE)

    def _wait(self, error: EndpointError, tries: int, pause: float) -> None:
        if tries == 1:
            self._office.say(f"{self._endpoint.name}: {error}; asking again for up to {self.patience:g} s")
        time.sleep(pause)

    def _once(self, experiment: int, purpose: str, ask: Ask, cut: Sequence[str]) -> tuple[Reply, str | None]:
        began = time.monotonic()
        try:
            reply = _without(self._endpoint.ask(ask), self._secrets)
        except EndpointError as error:
            said = error.partial or None
            self._keep(self._call(experiment, purpose, ask, cut, None, f"{error.kind}: {error}", said, began))
            raise
        return reply, self._keep(self._call(experiment, purpose, ask, cut, reply, None, reply.text, began))

    def _call(
        self,
        experiment: int,
        purpose: str,
        ask: Ask,
        cut: Sequence[str],
        reply: Reply | None,
        error: str | None,
        text: str | None,
        began: float,
    ) -> talks.Call:
        return talks.Call(
            experiment=experiment,
            model=self._endpoint.name,
            purpose=purpose,
            messages=[{"role": m.role, "content": m.content} for m in ask.messages],
            time=now(),
            reply=text,
            reasoning=reply.reasoning if reply else "",
            finish=reply.finish if reply else None,
            error=error,
            prompt_tokens=reply.prompt_tokens if reply else None,
            completion_tokens=reply.completion_tokens if reply else None,
            # A call without a reply counts no prompt tokens, because nobody knows whether the server read the prompt.
            estimated_prompt_tokens=ask.prompt_tokens if text else 0,
            load_seconds=reply.load_seconds if reply else None,
            think_seconds=round(reply.think_seconds if reply else time.monotonic() - began, 3),
            context_tokens=reply.context_tokens if reply else None,
            cut=tuple(cut),
        )

    def _keep(self, call: talks.Call) -> str | None:
        folder: Path | None = self._office.folder
        if folder is None:
            self.spent = self.spent.plus(call)
            return None
        try:
            file = talks.keep(folder, call, self._secrets)
        except OSError as error:
            raise AgentError(
                f"the call to {call.model} cannot be stored: {error.strerror}", "free some space, then run again"
            ) from None
        self.spent = self.spent.plus(call)
        return file

    def _afford(self, ask: Ask) -> None:
        settings, spent, most = self._office.settings, self.spent, self._office.most()
        if most.tokens is not None and spent.tokens + ask.prompt_tokens > most.tokens:
            said = f"{spent.tokens:,} of max_tokens_total = {most.tokens:,} tokens are spent"
            hint = (
                "raise the cap: run --max-tokens N, or max_tokens_total under [agent] in lab.toml; or use --agent knobs"
            )
            raise Spending(f"{said}, and the next prompt has about {ask.prompt_tokens:,}", hint)
        cost = spent.cost(settings.price_in, settings.price_out)
        if most.cost is not None and cost is not None and cost >= most.cost:
            said = f"{cost:.4f} of max_cost = {most.cost:g} is spent"
            raise Spending(
                said, "raise the cap: run --max-cost X, or max_cost under [agent] in lab.toml; or use --agent knobs"
            )


def secrets_of(settings: AgentSettings, environment: Callable[[str], str | None] = os.environ.get) -> tuple[str, ...]:
    """Return the values of the variables that may hold a key, so that they can be removed from all stored texts."""
    names = dict.fromkeys(name for name in (settings.api_key_env, "OPENAI_API_KEY") if name)
    # Blanks around the value are removed, because they are not sent to the server either.
    return tuple(value for name in names if len(value := (environment(name) or "").strip()) >= _SECRET)


def _without(reply: Reply, secrets: Sequence[str]) -> Reply:
    """Return the reply without the keys that the server repeated in it; replies become titles, files and commits."""
    return replace(reply, text=talks.blotted(reply.text, secrets), reasoning=talks.blotted(reply.reasoning, secrets))
