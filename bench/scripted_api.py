"""Serve a scripted model in the four forms that coding agents speak, offline, on a free port of this machine.

    with ScriptedModel(steps) as model:
        model.url        # http://127.0.0.1:PORT

The forms are Anthropic's messages, OpenAI's chat completions and responses, and Gemini's generateContent, each with and
without streaming.  A request that offers tools gets the next step of the script; one without tools, such as the request
for a title, gets a short text.  The server keeps no state: it counts the steps so far in the conversation that the
agent sends.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeAlias

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Shell:
    """Run a shell command; with ``until``, repeat it until the conversation contains that text."""

    command: str
    until: str = ""


@dataclass(frozen=True)
class Replace:
    """Replace one string in a file with another."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Say:
    """Answer with plain text."""

    text: str


Step: TypeAlias = Shell | Replace | Say


@dataclass(frozen=True)
class Tool:
    name: str
    properties: Mapping[str, Any]
    required: Sequence[str]


@dataclass(frozen=True)
class Call:
    name: str
    arguments: Json


@dataclass(frozen=True)
class Asked:
    """A request in neutral form: the tools it offers, the number of tool calls in its conversation, and its text."""

    tools: Mapping[str, Tool]
    calls: int
    stream: bool
    model: str
    text: str = ""


_SHELLS = ("Bash", "bash", "run_shell_command", "exec_command", "shell_command", "shell")
_EDITORS = ("Edit", "edit", "replace")
_READERS = ("Read", "read", "read_file")
_PATHS = ("file_path", "filePath", "absolute_path", "path")


class ScriptedModel:
    """A server that follows a script.  ``asked`` has the paths of the requests so far."""

    def __init__(self, steps: Sequence[Step], aside: str = "A title") -> None:
        self.steps, self.aside = tuple(steps), aside
        self.asked: list[str] = []
        self.bodies: list[Json] = []
        model = self

        class Handler(_Handler):
            script = model

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, asked: Asked) -> Say | Call:
        """Return the script's next step for a request, as a text or as a call of one of the tools on offer."""
        if not asked.tools:
            return self.steps[0] if isinstance(self.steps[0], Say) else Say(self.aside)
        made = 0
        for step in self.steps:
            if isinstance(step, Shell) and step.until and made <= asked.calls:
                if step.until not in asked.text:
                    return next(_moves(step, asked.tools))
                made = asked.calls  # only the next step is left
                continue
            for move in _moves(step, asked.tools):
                if made == asked.calls or isinstance(move, Say):
                    return move
                made += 1
        return Say("Done.")


def _moves(step: Step, tools: Mapping[str, Tool]) -> Iterator[Say | Call]:
    """Yield the calls that carry out a step with these tools.

    An edit takes two calls if the agent must read the file first.
    """
    shell = next((tools[name] for name in _SHELLS if name in tools), None)
    if isinstance(step, Say):
        yield step
    elif isinstance(step, Replace) and (editor := next((tools[n] for n in _EDITORS if n in tools), None)):
        if (reader := next((tools[name] for name in _READERS if name in tools), None)) is not None:
            yield _filled(reader, {_one(reader, _PATHS): step.path})
        yield _filled(editor, _edit(editor, step))
    elif shell is not None:
        command = step.command if isinstance(step, Shell) else f"sed -i.old 's/{step.old}/{step.new}/' '{step.path}'"
        yield _filled(shell, _command(shell, command))


def _one(tool: Tool, names: Sequence[str]) -> str:
    return next(name for name in names if name in tool.properties)


def _command(tool: Tool, command: str) -> Json:
    if "cmd" in tool.properties:
        return {"cmd": command}
    listed = tool.properties["command"].get("type") == "array"
    return {"command": ["bash", "-lc", command] if listed else command}


def _edit(tool: Tool, step: Replace) -> Json:
    path = {_one(tool, _PATHS): step.path}
    if "edits" in tool.properties:
        return {**path, "edits": [{"oldText": step.old, "newText": step.new}]}
    old, new = _one(tool, ("old_string", "oldString", "oldText")), _one(tool, ("new_string", "newString", "newText"))
    return {**path, old: step.old, new: step.new}


def _filled(tool: Tool, arguments: Json) -> Call:
    """Return a call that has every required argument."""
    more = {name: tool.properties[name].get("type") for name in tool.required if name not in arguments}
    return Call(tool.name, {**arguments, **{n: False if kind == "boolean" else "as asked" for n, kind in more.items()}})


class _Handler(BaseHTTPRequestHandler):
    script: ScriptedModel
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.script.asked.append(f"GET {self.path}")
        models = [{"id": "scripted", "object": "model", "created": 1, "owned_by": "bench"}]
        self._send({"object": "list", "data": models, "models": []})

    def do_POST(self) -> None:
        path = self.path.partition("?")[0]
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        self.script.asked.append(f"POST {path}")
        self.script.bodies.append(body)
        if path.endswith("count_tokens"):
            self._send({"input_tokens": 100})
        elif path.endswith("countTokens"):
            self._send({"totalTokens": 100})
        elif path.endswith("/messages"):
            self._reply(_from_messages(body), _message, _message_events, named=True)
        elif path.endswith("/chat/completions"):
            self._reply(_from_chat(body), _completion, _completion_events, end="[DONE]")
        elif path.endswith("/responses"):
            self._reply(_from_responses(body), _response, _response_events, named=True)
        elif "enerateContent" in path:
            self._reply(
                _from_gemini(body, "stream" in path), _content, lambda asked, move: iter([_content(asked, move)])
            )
        else:
            self._send({})

    def _reply(self, asked: Asked, whole: Any, events: Any, named: bool = False, end: str = "") -> None:
        move = self.script.answer(asked)
        if not asked.stream:
            return self._send(whole(asked, move))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for event in events(asked, move):
            name = f"event: {event['type']}\n" if named else ""
            self.wfile.write(f"{name}data: {json.dumps(event)}\n\n".encode())
        if end:
            self.wfile.write(f"data: {end}\n\n".encode())
        return None

    def _send(self, data: Json) -> None:
        text = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def _tools(found: Iterator[tuple[str, Json]]) -> dict[str, Tool]:
    return {n: Tool(n, schema.get("properties") or {}, schema.get("required") or ()) for n, schema in found}


# --- Anthropic's messages


def _from_messages(body: Json) -> Asked:
    tools = _tools((t["name"], t.get("input_schema") or {}) for t in body.get("tools") or ())
    blocks = [b for m in body["messages"] if isinstance(m["content"], list) for b in m["content"]]
    calls = sum(block.get("type") == "tool_use" for block in blocks)
    return Asked(tools, calls, bool(body.get("stream")), body["model"], json.dumps(body))


def _message(asked: Asked, move: Say | Call) -> Json:
    if isinstance(move, Say):
        block: Json = {"type": "text", "text": move.text}
    else:
        block = {"type": "tool_use", "id": f"toolu_{asked.calls}", "name": move.name, "input": move.arguments}
    return {
        "id": f"msg_{asked.calls}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [block],
        "stop_reason": "end_turn" if isinstance(move, Say) else "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 100, "output_tokens": 10},
    }


def _message_events(asked: Asked, move: Say | Call) -> Iterator[Json]:
    whole = _message(asked, move)
    yield {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}}
    (block,) = whole["content"]
    if isinstance(move, Say):
        start, delta = {**block, "text": ""}, {"type": "text_delta", "text": move.text}
    else:
        start = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(move.arguments)}
    yield {"type": "content_block_start", "index": 0, "content_block": start}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    ending = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": ending, "usage": {"output_tokens": 10}}
    yield {"type": "message_stop"}


# --- OpenAI's chat completions


def _from_chat(body: Json) -> Asked:
    found = ((t["function"]["name"], t["function"].get("parameters") or {}) for t in body.get("tools") or ())
    calls = sum(len(message.get("tool_calls") or ()) for message in body["messages"])
    return Asked(_tools(found), calls, bool(body.get("stream")), body["model"], json.dumps(body))


def _chat_message(asked: Asked, move: Say | Call) -> Json:
    if isinstance(move, Say):
        return {"role": "assistant", "content": move.text}
    function = {"name": move.name, "arguments": json.dumps(move.arguments)}
    call = {"index": 0, "id": f"call_{asked.calls}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _completion(asked: Asked, move: Say | Call) -> Json:
    ending = "stop" if isinstance(move, Say) else "tool_calls"
    choice = {"index": 0, "message": _chat_message(asked, move), "finish_reason": ending}
    return {**_completion_frame(asked, "chat.completion"), "choices": [choice], "usage": _USAGE}


_USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}


def _completion_frame(asked: Asked, kind: str) -> Json:
    return {"id": f"chat-{asked.calls}", "object": kind, "created": 1, "model": asked.model}


def _completion_events(asked: Asked, move: Say | Call) -> Iterator[Json]:
    frame = _completion_frame(asked, "chat.completion.chunk")
    yield {**frame, "choices": [{"index": 0, "delta": _chat_message(asked, move), "finish_reason": None}]}
    ending = "stop" if isinstance(move, Say) else "tool_calls"
    yield {**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": ending}], "usage": _USAGE}


# --- OpenAI's responses


def _from_responses(body: Json) -> Asked:
    found = ((t["name"], t.get("parameters") or {}) for t in body.get("tools") or () if t.get("type") == "function")
    items = body["input"] if isinstance(body["input"], list) else ()
    calls = sum(item.get("type") == "function_call" for item in items)
    return Asked(_tools(found), calls, bool(body.get("stream")), body["model"], json.dumps(body))


def _response(asked: Asked, move: Say | Call) -> Json:
    if isinstance(move, Say):
        content = {"type": "output_text", "text": move.text, "annotations": []}
        item: Json = {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [content],
        }
    else:
        arguments = json.dumps(move.arguments)
        item = {"type": "function_call", "id": f"fc_{asked.calls}", "call_id": f"call_{asked.calls}", "name": move.name}
        item |= {"arguments": arguments, "status": "completed"}
    usage: Json = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    about = {"id": f"resp_{asked.calls}", "object": "response", "created_at": 1, "model": asked.model}
    return {**about, "status": "completed", "output": [item], "usage": usage}


def _response_events(asked: Asked, move: Say | Call) -> Iterator[Json]:
    whole = _response(asked, move)
    (item,) = whole["output"]
    yield {"type": "response.created", "response": {**whole, "status": "in_progress", "output": [], "usage": None}}
    yield {"type": "response.output_item.added", "output_index": 0, "item": {**item, "status": "in_progress"}}
    if isinstance(move, Say):
        yield {"type": "response.output_text.delta", "item_id": item["id"], "output_index": 0, "content_index": 0,
               "delta": move.text}  # fmt: skip
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": "response.completed", "response": whole}


# --- Gemini's generateContent


_OPINION = {"reasoning": "short", "complexity_reasoning": "short", "complexity_score": 1, "model_choice": "flash"}
"""Answer to Gemini CLI's question which of its models should handle a task."""


def _from_gemini(body: Json, stream: bool) -> Asked:
    declared = [d for t in body.get("tools") or () for d in t.get("functionDeclarations") or ()]
    tools = _tools((d["name"], d.get("parametersJsonSchema") or d.get("parameters") or {}) for d in declared)
    parts = [part for content in body.get("contents") or () for part in content.get("parts") or ()]
    return Asked(tools, sum("functionCall" in part for part in parts), stream, "scripted", json.dumps(body))


def _content(asked: Asked, move: Say | Call) -> Json:
    call = None if isinstance(move, Say) else {"name": move.name, "args": move.arguments}
    part: Json = {"text": move.text} if isinstance(move, Say) else {"functionCall": call}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    usage = {"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "scripted"}
