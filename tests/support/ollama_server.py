"""A real server that speaks Ollama's own API, correctly or not: models, loaded models, chats, unloading."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from server_behaviours import Behaviour, Handler, ModelServer, Received

GB = 2**30


@dataclass
class OllamaModel:
    """A model that the server has."""

    name: str
    size: int = 4 * GB
    parameters: str = "7.6B"
    context: int = 32768
    format: str = "gguf"
    capabilities: tuple[str, ...] = ("completion", "tools")
    remote_host: str = ""
    lists_capabilities: bool = True
    """False for older versions, which report capabilities by /api/show only."""

    def listed(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": self.name, "model": self.name, "size": self.size, "details": self.details()}
        if self.lists_capabilities:
            entry["capabilities"] = list(self.capabilities)
        return entry | ({"remote_host": self.remote_host} if self.remote_host else {})

    def shown(self) -> dict[str, Any]:
        info = {"general.architecture": "qwen2", "qwen2.context_length": self.context}
        shown = {"details": self.details(), "model_info": info, "capabilities": list(self.capabilities)}
        return shown | ({"remote_host": self.remote_host} if self.remote_host else {})

    def details(self) -> dict[str, str]:
        return {"format": self.format, "family": "qwen2", "parameter_size": self.parameters}


class OllamaServer(ModelServer):
    """A server with the given models, which behaves as its attributes say.

    ``models`` are its models, and ``loaded`` maps the names of those in memory to their contexts.  If ``context`` is
    set, every model is loaded with that context, as by a server that ignores num_ctx, and a longer prompt is cut to
    half of it.  ``polls_to_unload`` says how often /api/ps still lists a model that should be unloaded; None means for
    ever.  ``version`` is the answer of /api/version.
    """

    chat_path = "/api/chat"

    def __init__(self, *models: OllamaModel) -> None:
        super().__init__()
        self.models = list(models) or [OllamaModel("tiny:1b")]
        self.loaded: dict[str, int] = {}
        self.context: int | None = None
        self.polls_to_unload: int | None = 1
        self.version = "0.34.0"
        self._leaving: dict[str, int | None] = {}

    def answer(self, handler: Handler, request: Received) -> None:
        if request.path == "/api/tags":
            return handler.send_data({"models": [model.listed() for model in self.models]})
        if request.path == "/api/ps":
            return handler.send_data({"models": self._in_memory()})
        if request.path == "/api/version":
            return handler.send_data({"version": self.version})
        if request.path not in ("/api/show", "/api/generate", self.chat_path):
            return handler.send_text(404, "404 page not found", "text/plain")
        model = self._find(str(request.body.get("model")))
        if model is None:
            return handler.send_data({"error": f"model '{request.body.get('model')}' not found"}, 404)
        if request.path == "/api/show":
            return handler.send_data(model.shown())
        if request.path == "/api/generate":
            return self._unload(handler, model)
        return self._chat(handler, request, model)

    def _find(self, name: str) -> OllamaModel | None:
        full = name if ":" in name else f"{name}:latest"
        return next((model for model in self.models if model.name == full), None)

    def _in_memory(self) -> list[dict[str, Any]]:
        for name, polls in list(self._leaving.items()):
            if polls is not None:
                self._leaving[name] = polls - 1
            if polls is not None and polls <= 0:
                self.loaded.pop(name, None)
                del self._leaving[name]
        return [{"name": name, "size": GB, "context_length": context} for name, context in self.loaded.items()]

    def _unload(self, handler: Handler, model: OllamaModel) -> None:
        self._leaving[model.name] = self.polls_to_unload
        handler.send_data({"model": model.name, "response": "", "done": True, "done_reason": "unload"})

    def _chat(self, handler: Handler, request: Received, model: OllamaModel) -> None:
        if request.body.get("think") and "thinking" not in model.capabilities:
            return handler.send_data({"error": f'"{model.name}" does not support thinking'}, 400)
        behaviour = self.next_behaviour(request)
        handler.wait(behaviour.first_seconds)
        if behaviour.status != 200:
            return handler.send_data({"error": behaviour.error}, behaviour.status, behaviour.headers)
        if behaviour.body is not None and behaviour.content_type != "garbage":
            return handler.send_text(200, behaviour.body, behaviour.content_type)
        self.loaded[model.name] = self.context or request.body["options"]["num_ctx"]
        self._leaving.pop(model.name, None)
        lines = self._lines(request, behaviour, self.loaded[model.name])
        self.stream(handler, behaviour, "application/x-ndjson", lines)
        return None

    def _lines(self, request: Received, behaviour: Behaviour, context: int) -> Iterator[str]:
        for name, text in behaviour.pieces():
            message = {"role": "assistant", "content": "", ("content" if name == "content" else "thinking"): text}
            yield _line({"model": request.body["model"], "message": message, "done": False})
            if behaviour.body is not None:
                yield '{"model": \n'
                return
        if behaviour.hang or behaviour.drop:
            return
        if behaviour.error is not None:
            yield _line({"error": behaviour.error})
            return
        yield _line(self._last(request, behaviour, context))

    def _last(self, request: Received, behaviour: Behaviour, context: int) -> dict[str, Any]:
        tokens = max(len(request.prompt) // 4, 1)
        read = tokens if tokens < context else context // 2
        last = {
            "model": request.body["model"],
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": behaviour.finish,
            "load_duration": int(behaviour.load_seconds * 1e9),
        }
        if behaviour.usage:
            last["prompt_eval_count"] = read if behaviour.prompt_tokens is None else behaviour.prompt_tokens
            last["eval_count"] = max((len(behaviour.text) + len(behaviour.reasoning)) // 4, 1)
        return last


def _line(data: Any) -> str:
    return json.dumps(data) + "\n"
