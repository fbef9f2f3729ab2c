"""Call the session's model, which runs on a server or is the user's script."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.targets.evals.scorer import Scorer

_PASSED_ON = ("messages", "tools", "tool_choice", "response_format", "stop")
"""Fields of an agent's request that are passed to the model; the session sets all other fields."""


class Away(Exception):
    """Raised when the model's server does not answer; the agent is not to blame."""


class Refused(Exception):
    """Raised when the server refuses one request, such as a prompt that is too long."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """One model, whose name, temperature and longest reply are fixed.

    An empty ``endpoint`` means the scripted model.
    """

    model: str
    endpoint: str
    api_key_env: str
    temperature: float
    max_tokens: int
    scorer: Scorer

    def chat(self, request: Mapping[str, Any], seed: int, seconds: float) -> dict[str, Any]:
        """Return the reply as an object of OpenAI's API.

        Raises Away, Refused, and ConfigError if the server refuses the key or does not know the model.
        """
        if not self.endpoint:
            return self._scripted(request.get("messages") or [], seed, seconds)
        pinned = {"model": self.model, "temperature": self.temperature, "seed": seed, "stream": False}
        wanted = request.get("max_tokens")
        most = min(self.max_tokens, wanted) if isinstance(wanted, int) and wanted > 0 else self.max_tokens
        body = {name: request[name] for name in _PASSED_ON if name in request} | pinned | {"max_tokens": most}
        return self._served(body, seconds)

    def answers(self, seconds: float) -> bool:
        """Return whether the model answers a one-word question.  Raises ConfigError as :meth:`chat` does."""
        try:
            self.chat({"messages": [{"role": "user", "content": "Say ok."}], "max_tokens": 1}, 0, seconds)
        except Away:
            return False
        except Refused:
            return True
        return True

    @property
    def _verify(self) -> bool:
        return not self.endpoint.lower().startswith("http://")

    @property
    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self.api_key_env, "") if self.api_key_env else ""
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _served(self, body: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        import httpx2

        try:
            # An agent's request can contain values that JSON in UTF-8 cannot express: NaN, halves of surrogate pairs.
            sent = json.dumps(dict(body), allow_nan=False, ensure_ascii=True).encode()
        except (ValueError, RecursionError) as error:
            raise Refused(f"the request cannot be sent: {error}") from None
        headers = {"Content-Type": "application/json", **self._headers}
        try:
            with httpx2.Client(trust_env=False, timeout=seconds, verify=self._verify) as client:
                url = f"{self.endpoint.rstrip('/')}/chat/completions"
                answer = client.post(url, content=sent, headers=headers)
                found = answer.json() if answer.status_code == 200 else None
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, RecursionError) as error:
            raise Away(f"{self.endpoint}: {type(error).__name__}: {error}") from None
        if answer.status_code in (401, 403, 404):
            said = f"{self.endpoint} answered {answer.status_code} for the model {self.model!r}: {answer.text[:200]}"
            raise ConfigError(said, "correct model, endpoint and api_key_env in [target.options]")
        if answer.status_code == 429 or answer.status_code >= 500:
            raise Away(f"{self.endpoint} answered {answer.status_code}: {answer.text[:200]}")
        if answer.status_code != 200:
            raise Refused(f"the model's server answered {answer.status_code}: {answer.text[:500]}")
        if not is_reply(found):
            raise Away(f"{self.endpoint} sent no reply: {answer.text[:200]}")
        return found

    def _scripted(self, messages: Sequence[Any], seed: int, seconds: float) -> dict[str, Any]:
        found = self.scorer.ask(seconds, do="model", messages=messages, seed=seed)
        if "error" in found:
            raise Refused(f"the scripted model failed: {found['error']}")
        read, said = sum(len(str(m.get("content", "")).split()) for m in messages), len(found["text"].split())
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": found["text"]}}
        # A scripted model has no tokens, so its words are counted instead.
        usage = {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}
        reply = {"object": "chat.completion", "created": int(time.time()), "model": self.model}
        return {"id": "scripted", **reply, "choices": [choice], "usage": usage}


def is_reply(found: Any) -> TypeGuard[dict[str, Any]]:
    """Return whether a server's JSON is a reply: ``choices`` must have a message, and any ``usage`` must be an
    object."""
    choices = found.get("choices") if isinstance(found, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    return isinstance(message, dict) and isinstance(found.get("usage") or {}, dict)
