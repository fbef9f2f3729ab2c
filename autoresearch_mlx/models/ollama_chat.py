"""A chat with Ollama as it goes over the wire: one JSON body out, lines of JSON back.  No network here."""

from __future__ import annotations

from typing import Any

from autoresearch_mlx.models.web import as_json
from autoresearch_mlx.models.wire import Ask


def request(model: str, ask: Ask, context: int, keep_alive: str | int, thinks: bool) -> dict[str, Any]:
    """The body for /api/chat.  ``context``: tokens of prompt and reply; ``thinks``: may be told how to think."""
    room = max(1, context - ask.prompt_tokens)
    options: dict[str, Any] = {
        "num_ctx": context,
        "num_predict": min(ask.max_tokens, room),
        "temperature": ask.temperature,
    }
    if ask.seed is not None:
        options["seed"] = ask.seed
    payload: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in ask.messages],
        "stream": True,
        "options": options,
        "keep_alive": keep_alive,
        "truncate": False,
        "shift": False,
    }
    if ask.schema is not None:
        payload["format"] = ask.schema
    if ask.think != "auto" and thinks:
        level = ask.think if "gpt-oss" in model else True
        payload["think"] = False if ask.think == "off" else level
    return payload


class Heard:
    """What has come of an answer so far."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.thoughts: list[str] = []
        self.last: dict[str, Any] = {}

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def take(self, line: str) -> str:
        """What is wrong with a line of the stream; empty when nothing is."""
        if not line.strip():
            return ""
        data = as_json(line)
        if not isinstance(data, dict):
            return f"with no JSON: {line!r}"
        if "error" in data:
            return f"an error inside its answer: {data['error']}"
        message = data["message"] if isinstance(data.get("message"), dict) else {}
        for name, into in (("content", self.parts), ("thinking", self.thoughts)):
            said = message.get(name)
            if isinstance(said, str):
                into.append(said)
        if data.get("done") is True:
            self.last = data
        return ""
