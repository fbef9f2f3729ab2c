"""A real server that speaks OpenAI's chat completions, correctly or not; and LM Studio's own API if a test wants it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from server_behaviours import Behaviour, Handler, ModelServer, Received


class OpenAIServer(ModelServer):
    """A server with a ``base_url`` that ends in /v1, which behaves as its attributes say.

    ``models`` are the entries of /v1/models; None means that the server has no such list.  ``key`` is the key that it
    accepts, if it wants one.  It refuses ``unknown_fields`` with a 400 that names them.  ``lmstudio`` has the entries
    of LM Studio's own list, with ``loaded_instances``; if ``unloads`` is False, these stay loaded whatever is asked.
    """

    chat_path = "/v1/chat/completions"

    def __init__(self) -> None:
        super().__init__()
        self.models: list[dict[str, Any]] | None = [{"id": "tiny-1b", "object": "model", "owned_by": "us"}]
        self.key: str | None = None
        self.unknown_fields: set[str] = set()
        self.refusal_status = 400
        self.props: dict[str, Any] | None = None
        """The answer of llama-server to /props."""
        self.lmstudio: list[dict[str, Any]] | None = None
        self.lmstudio_v0: list[dict[str, Any]] | None = None
        self.unloads = True

    @property
    def base_url(self) -> str:
        return self.url + "/v1"

    def answer(self, handler: Handler, request: Received) -> None:
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.key is not None and sent != self.key:
            return _error(handler, 401, f"Incorrect API key provided: {sent}")
        if request.path == self.chat_path:
            return self._chat(handler, request)
        if request.path == "/v1/models" and self.models is not None:
            return handler.send_data({"object": "list", "data": self.models})
        if request.path == "/props" and self.props is not None:
            return handler.send_data(self.props)
        if request.path == "/api/v0/models" and self.lmstudio_v0 is not None:
            return handler.send_data({"object": "list", "data": self.lmstudio_v0})
        if request.path == "/api/v1/models" and self.lmstudio is not None:
            return handler.send_data({"models": self.lmstudio})
        if request.path == "/api/v1/models/unload" and self.lmstudio is not None:
            return self._unload(handler, request.body["instance_id"])
        if self.lmstudio is not None or self.lmstudio_v0 is not None:
            # LM Studio answers an unknown path with 200.
            return handler.send_data({"error": f"Unexpected endpoint or method. ({request.path})"})
        return _error(handler, 404, f"no such path: {request.path}")

    def _unload(self, handler: Handler, instance: str) -> None:
        for model in self.lmstudio or ():
            if self.unloads:
                model["loaded_instances"] = [each for each in model["loaded_instances"] if each["id"] != instance]
        handler.send_data({"instance_id": instance})

    def _chat(self, handler: Handler, request: Received) -> None:
        for name in self.unknown_fields & set(request.body):
            return _error(handler, self.refusal_status, f"Unsupported parameter: {name!r} is not supported", name)
        behaviour = self.next_behaviour(request)
        handler.wait(behaviour.first_seconds)
        if behaviour.status != 200:
            return _error(handler, behaviour.status, behaviour.error or "no", None, behaviour.headers)
        if behaviour.body is not None and behaviour.content_type != "garbage":
            return handler.send_text(200, behaviour.body, behaviour.content_type)
        if not request.body.get("stream"):
            return handler.send_data(_whole(request, behaviour))
        self.stream(handler, behaviour, "text/event-stream", _events(request, behaviour))
        return None


def _error(
    handler: Handler, status: int, message: str, param: str | None = None, headers: tuple[tuple[str, str], ...] = ()
) -> None:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": None}}
    handler.send_data(body, status, headers)


def _usage(request: Received, behaviour: Behaviour) -> dict[str, int]:
    read = behaviour.prompt_tokens if behaviour.prompt_tokens is not None else max(len(request.prompt) // 4, 1)
    said = max((len(behaviour.text) + len(behaviour.reasoning)) // 4, 1)
    return {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}


def _whole(request: Received, behaviour: Behaviour) -> dict[str, Any]:
    message = {"role": "assistant", "content": behaviour.text}
    choice = {"index": 0, "message": message, "finish_reason": behaviour.finish}
    usage = {"usage": _usage(request, behaviour)} if behaviour.usage else {}
    return {"id": "1", "object": "chat.completion", "model": request.body["model"], "choices": [choice], **usage}


def _events(request: Received, behaviour: Behaviour) -> Iterator[str]:
    if behaviour.hang and behaviour.text:
        yield ": still here\n\n"  # a comment, which some servers send to keep a connection open
    for name, text in behaviour.pieces():
        yield _event(request, {name: text})
        if behaviour.body is not None:
            yield 'data: {"choices": [{"delta": \n\n'
            return
    if behaviour.hang or behaviour.drop:
        return
    if behaviour.error is not None:
        yield f"data: {json.dumps({'error': {'message': behaviour.error, 'type': 'server_error'}})}\n\n"
        return
    if behaviour.refusal:
        yield _event(request, {"refusal": behaviour.refusal})
    yield _event(request, {}, behaviour.finish)
    if behaviour.lingers:
        return
    if behaviour.usage and request.body.get("stream_options", {}).get("include_usage"):
        yield _data({**_chunk(request), "choices": [], "usage": _usage(request, behaviour)})
    yield "data: [DONE]\n\n"


def _chunk(request: Received) -> dict[str, Any]:
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": request.body["model"]}


def _event(request: Received, delta: dict[str, str], finish: str | None = None) -> str:
    return _data({**_chunk(request), "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _data(data: Any) -> str:
    return f"data: {json.dumps(data)}\n\n"
