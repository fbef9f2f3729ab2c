"""Read what an OpenAI-compatible server sends: the chunks of a streamed reply, and the message of an error."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from autoresearch_mlx.models.web import as_json
from autoresearch_mlx.models.wire import Finish


@dataclass
class StreamedReply:
    """The part of a streamed reply that has arrived so far."""

    parts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    refusal: str = ""
    reason: str | None = None
    model: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    chunks: int = 0
    _length: int = 0

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def characters(self) -> int:
        """Number of characters of text and thoughts."""
        return self._length

    @property
    def finished(self) -> bool:
        """True if the reply is complete: the finish reason has arrived, or the token counts, which are sent last."""
        return self.reason is not None or self.completion_tokens is not None

    @property
    def finish(self) -> Finish:
        if self.refusal or self.reason == "content_filter":
            return "refused"
        known: dict[str | None, Finish] = {"stop": "stop", "length": "length"}
        return known.get(self.reason, "unknown")

    def take(self, chunk: Any) -> None:
        """Add one chunk of the stream to the reply.  Raises ValueError if ``chunk`` is malformed."""
        if not isinstance(chunk, dict):
            raise ValueError(f"a chunk is {chunk!r}")
        self.chunks += 1
        if isinstance(chunk.get("model"), str):
            self.model = chunk["model"]
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self.prompt_tokens = _count(usage.get("prompt_tokens"), self.prompt_tokens)
            self.completion_tokens = _count(usage.get("completion_tokens"), self.completion_tokens)
        for choice in _objects(chunk.get("choices"))[:1]:
            self._say(choice.get("delta") or choice.get("message") or {})
            if isinstance(choice.get("finish_reason"), str):
                self.reason = choice["finish_reason"]

    def _say(self, delta: Any) -> None:
        for name in ("content", "reasoning", "reasoning_content", "refusal"):
            said = delta.get(name) if isinstance(delta, dict) else None
            if said is None:
                continue
            if not isinstance(said, str):
                raise ValueError(f"{name} is {said!r}, not text")
            self._length += len(said)
            if name == "content":
                self.parts.append(said)
            elif name == "refusal":
                self.refusal += said
            elif name == "reasoning" or not delta.get("reasoning"):  # "reasoning" may repeat "reasoning_content"
                self.thoughts.append(said)


def _objects(value: Any) -> list[dict[str, Any]]:
    items: Iterable[Any] = value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, dict)]


def _count(value: Any, otherwise: int | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else otherwise


def words_of(text: str) -> str:
    """Return the message in an error's JSON, in any of the usual forms; if there is no message, return the text."""
    data = as_json(text)
    error = data.get("error", data) if isinstance(data, dict) else None
    if isinstance(error, str):
        return error
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        extra = [f"{key} {error[key]}" for key in ("param", "code") if error.get(key)]
        return f"{error['message']} ({', '.join(extra)})" if extra else str(error["message"])
    return text
