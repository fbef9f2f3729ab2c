"""What a stream of OpenAI's chunks has said so far, and the words of an error in any of its shapes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from autoresearch_mlx.models.web import as_json
from autoresearch_mlx.models.wire import Finish


@dataclass
class Heard:
    """What has come of a stream so far."""

    parts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    refusal: str = ""
    reason: str | None = None
    model: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    chunks: int = 0

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def finished(self) -> bool:
        """A reason was given, or at least the usage, which comes last."""
        return self.reason is not None or self.completion_tokens is not None

    @property
    def finish(self) -> Finish:
        if self.refusal or self.reason == "content_filter":
            return "refused"
        known: dict[str | None, Finish] = {"stop": "stop", "length": "length"}
        return known.get(self.reason, "unknown")

    def take(self, chunk: Any) -> None:
        """Raises ValueError for something that is no chunk."""
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
            if name == "content":
                self.parts.append(said)
            elif name == "refusal":
                self.refusal += said
            elif name == "reasoning" or not delta.get("reasoning"):  # some servers send the same under both names
                self.thoughts.append(said)


def _objects(value: Any) -> list[dict[str, Any]]:
    items: Iterable[Any] = value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, dict)]


def _count(value: Any, otherwise: int | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else otherwise


def words_of(text: str) -> str:
    """The message in an error's JSON, in any of its usual shapes, else the text itself."""
    data = as_json(text)
    error = data.get("error", data) if isinstance(data, dict) else None
    if isinstance(error, str):
        return error
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        extra = [f"{key} {error[key]}" for key in ("param", "code") if error.get(key)]
        return f"{error['message']} ({', '.join(extra)})" if extra else str(error["message"])
    return text
