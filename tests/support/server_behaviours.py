"""How a model's server may behave in one call, and the machinery that the two real servers share.

    with OllamaServer() as server:
        server.then(say("hello"), hang(), busy(retry_after=3))   # the next three chats
        server.default = say("and so on")                        # every chat after them
        ...
        server.requests[-1].body["options"]

``default`` may also be a function from a :class:`Received` to a behaviour.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

ReasoningField: TypeAlias = Literal["reasoning", "reasoning_content", "thinking", "inline"]


@dataclass(frozen=True)
class Behaviour:
    """The answer to one call; ``say`` and the functions below it make the usual answers."""

    text: str = ""
    reasoning: str = ""
    reasoning_field: ReasoningField = "reasoning"
    finish: str | None = "stop"
    refusal: str = ""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    """Text that is sent as it is, instead of a stream."""
    content_type: str = "application/json"
    first_seconds: float = 0.0
    """Seconds before anything is sent."""
    pause_seconds: float = 0.0
    """Seconds before each piece of the text."""
    hang: bool = False
    """True if nothing comes after the pieces, and the connection stays open."""
    drop: bool = False
    """True if the connection breaks after the pieces."""
    lingers: bool = False
    """True if everything was sent, but the stream does not end and the connection stays open."""
    error: str | None = None
    """An error object inside the stream, after the pieces."""
    usage: bool = True
    prompt_tokens: int | None = None
    """Number of tokens that the server claims to have read; None means the server's own count."""
    load_seconds: float = 0.0
    piece: int = 16
    """Number of characters in one chunk."""

    def pieces(self) -> Iterator[tuple[str, str]]:
        """Return (field, text) of each chunk, the reasoning first."""
        inline = self.reasoning and self.reasoning_field == "inline"
        text = f"<think>{self.reasoning}</think>{self.text}" if inline else self.text
        if self.reasoning and not inline:
            yield from ((self.reasoning_field, part) for part in _cut(self.reasoning, self.piece))
        yield from (("content", part) for part in _cut(text, self.piece))


def _cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def say(text: str, reasoning: str = "", reasoning_field: ReasoningField = "reasoning", **more: Any) -> Behaviour:
    return Behaviour(text=text, reasoning=reasoning, reasoning_field=reasoning_field, **more)


def empty() -> Behaviour:
    return Behaviour()


def cut_off(text: str = "half an ans") -> Behaviour:
    """Return a reply that reached the limit of tokens."""
    return Behaviour(text=text, finish="length")


def slow(text: str, pause_seconds: float = 0.1) -> Behaviour:
    return Behaviour(text=text, pause_seconds=pause_seconds, piece=1)


def late(text: str, first_seconds: float) -> Behaviour:
    return Behaviour(text=text, first_seconds=first_seconds)


def hang(text: str = "") -> Behaviour:
    """Return a reply that does not end; without a text, not even its first byte comes."""
    return Behaviour(text=text, hang=True)


def drop(text: str = "half an ans") -> Behaviour:
    return Behaviour(text=text, drop=True)


def fail(status: int, message: str, **headers: str) -> Behaviour:
    """Return an HTTP error; each server words its body in its own way."""
    return Behaviour(status=status, error=message, headers=tuple(headers.items()))


def busy(status: int = 429, retry_after: float | str | None = None) -> Behaviour:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return fail(status, "server busy, please try again", **headers)


def too_long() -> Behaviour:
    return fail(400, "the request exceeds the available context size: context length exceeded")


def html() -> Behaviour:
    return Behaviour(body="<html><body>It works!</body></html>", content_type="text/html")


def garbage() -> Behaviour:
    """Return a stream whose second line is not JSON."""
    return Behaviour(text="half an ans", body="garbage", content_type="garbage")


def broken(message: str, text: str = "half an ans") -> Behaviour:
    """Return an error object in the middle of a stream that began with status 200."""
    return Behaviour(text=text, error=message)


def filtered(text: str = "") -> Behaviour:
    return Behaviour(text=text, finish="content_filter")


@dataclass
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    """Headers, with names in lower case."""
    body: dict[str, Any]
    broke_off: threading.Event = field(default_factory=threading.Event)
    """Set when the client was gone before the answer was complete."""

    @property
    def prompt(self) -> str:
        return "\n".join(str(message.get("content")) for message in self.body.get("messages", ()))


class Gone(Exception):
    """Raised when the client has closed the connection, or when the server is to stop."""


class Handler(BaseHTTPRequestHandler):
    """A connection, which is closed after one answer, so that no test finds one that another test left open."""

    protocol_version = "HTTP/1.1"
    server: Listener

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def _serve(self) -> None:
        self.close_connection = True
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.loads(raw) if raw else {}
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.received = Received(self.command, self.path, headers, body)
        self.server.owner.requests.append(self.received)
        try:
            if self.path in self.server.owner.silent:
                self.wait(None)
            self.server.owner.answer(self, self.received)
        except (Gone, OSError):
            self.received.broke_off.set()

    def send_text(self, status: int, text: str, content_type: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        data = text.encode()
        self.send_response(status)
        for name, value in (("Content-Type", content_type), ("Content-Length", str(len(data))), *headers):
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def send_data(self, data: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.send_text(status, json.dumps(data), "application/json", headers)

    def start_stream(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def send_piece(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def wait(self, seconds: float | None) -> None:
        """Wait for a number of seconds, or for ever if it is None.

        Raises Gone when the client leaves or the server stops first.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            left = 0.02 if until is None else min(0.02, max(until - time.monotonic(), 0))
            readable, _, _ = select.select([self.connection], [], [], left)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                raise Gone
            if self.server.stopping.is_set():
                raise Gone


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def __init__(self, port: int, owner: ModelServer) -> None:
        self.owner = owner
        self.stopping = threading.Event()
        super().__init__(("127.0.0.1", port), Handler)


class ModelServer(ABC):
    """A real HTTP server on a free port, with threads of its own; its subclasses implement the APIs."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.default: Behaviour | Callable[[Received], Behaviour] = say("ok")
        self.silent: set[str] = set()
        """Paths that never get an answer."""
        self._queue: deque[Behaviour] = deque()
        self._listener: Listener | None = None
        self._port = 0

    def __enter__(self) -> Self:
        self.revive()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.die()

    @property
    def address(self) -> str:
        """Address of the server, ``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def then(self, *behaviours: Behaviour) -> None:
        """Set the answers of the next chats, one each; after them comes ``default``."""
        self._queue.extend(behaviours)

    def die(self) -> None:
        """Close the port; answers in progress break off."""
        if self._listener is not None:
            self._listener.stopping.set()
            self._listener.shutdown()
            self._listener.server_close()
            self._listener = None

    def revive(self) -> None:
        """Listen on the same port again."""
        self._listener = Listener(self._port, self)
        self._port = self._listener.server_port
        # a short interval, because shutdown waits for its end
        threading.Thread(target=self._listener.serve_forever, args=(0.01,), daemon=True).start()

    def of(self, path: str) -> list[Received]:
        """Return the requests for one path, in order."""
        return [request for request in self.requests if request.path == path]

    @property
    def chats(self) -> list[Received]:
        return self.of(self.chat_path)

    chat_path = ""

    def next_behaviour(self, request: Received) -> Behaviour:
        if self._queue:
            return self._queue.popleft()
        return self.default(request) if callable(self.default) else self.default

    @abstractmethod
    def answer(self, handler: Handler, request: Received) -> None:
        """Answer one request."""

    def stream(self, handler: Handler, behaviour: Behaviour, content_type: str, lines: Iterator[str]) -> None:
        """Send the pieces as the behaviour says; ``lines`` are whole events that are sent before the pieces."""
        if behaviour.hang and not behaviour.text:
            handler.wait(None)
        handler.start_stream(content_type)
        for line in lines:
            handler.wait(behaviour.pause_seconds)
            handler.send_piece(line)
        if behaviour.hang or behaviour.lingers:
            handler.wait(None)
        if behaviour.drop:
            handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        handler.end_stream()


def without_usage(behaviour: Behaviour) -> Behaviour:
    return replace(behaviour, usage=False)
