"""Serve the model and the tools to the agent on 127.0.0.1, and count the agent's use of them.

Each case has a secret path of its own, so a process that one case left running cannot spend another case's budget.
After the budget is used up, every call is refused with status 429.  Calls and tokens are counted here, whatever the
agent reports.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from autoresearch_mlx.errors import AutoresearchError
from autoresearch_mlx.targets.evals.conditions import EvalsConditions
from autoresearch_mlx.targets.evals.scorer import Scorer
from autoresearch_mlx.targets.evals.upstream import Away, Refused, Upstream

_MOST_BYTES = 4 * 2**20
_MOST_THREADS = 32
_LONGEST = 4000
"""Largest number of characters of a text in a trace."""


@dataclass(slots=True)
class Account:
    """The calls and tokens that one case has used, and the trace of the case."""

    seed: int
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    calls: int = 0
    tool_calls: int = 0
    tokens: int | None = 0
    """Tokens of all calls, or None if the server did not report them."""
    refused: str = ""
    """Message that says which budget is used up, or an empty string if none is used up."""
    trace: list[dict[str, Any]] = field(default_factory=list)
    away: Exception | None = None
    """Error that ended the case: the model's server failed, or a setting is wrong."""


class Proxy:
    """A server for the cases of one measurement; ``open`` begins a case and ends the previous case."""

    def __init__(self, conditions: EvalsConditions, upstream: Upstream, scorer: Scorer) -> None:
        self.conditions, self.upstream, self.scorer = conditions, upstream, scorer
        self.account: Account | None = None
        self.turn = threading.Lock()
        self.threads = threading.BoundedSemaphore(_MOST_THREADS)
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def open(self, seed: int) -> Account:
        with self.turn:
            self.account = Account(seed)
            return self.account

    def url(self, account: Account) -> str:
        return f"http://127.0.0.1:{self.port}/{account.token}"

    def end_case(self) -> None:
        """Refuse all further calls until the next case begins."""
        with self.turn:
            self.account = None

    def answer(self, path: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and the JSON object that answer one request."""
        token, _, what = path.strip("/").partition("/")
        account = self.account
        if account is None or not secrets.compare_digest(token.encode(), account.token.encode()):
            return _error(403, "this case is over")
        if what == "v1/chat/completions":
            return self._model(account, body)
        kind, _, name = what.partition("/")
        return self._tool(account, name, body) if kind == "tools" and name else _error(404, f"no such path: {what}")

    def _model(self, account: Account, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        messages = body.get("messages")
        if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
            return _error(400, "messages is not a list of objects with role and content")
        c = self.conditions
        with self.turn:
            spent = account.tokens is not None and account.tokens >= c.tokens
            if account.calls >= c.calls or spent:
                used = f"{c.tokens:,} tokens" if spent else f"{c.calls} calls of the model"
                account.refused = account.refused or f"the budget of this case, {used}, is used up"
                return _error(429, account.refused)
            account.calls += 1
            seed = account.seed
        try:
            reply = self.upstream.chat(body, seed, c.seconds)
        except Refused as refused:
            return _error(400, str(refused))
        except (Away, AutoresearchError) as away:
            account.away = away
            return _error(503, "the model's server does not answer")
        used_tokens = (reply.get("usage") or {}).get("total_tokens")
        with self.turn:
            counted = isinstance(used_tokens, int) and not isinstance(used_tokens, bool) and used_tokens >= 0
            known = account.tokens is not None and counted
            account.tokens = account.tokens + used_tokens if known else None  # type: ignore[operator]
            said = reply["choices"][0].get("message", {})
            asked = [{"role": m.get("role"), "content": _cut(m.get("content"))} for m in messages[-2:]]
            account.trace.append({"asked": asked, "said": _cut(said.get("content") or said.get("tool_calls"))})
        return 200, reply

    def _tool(self, account: Account, name: str, arguments: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        with self.turn:
            if account.tool_calls >= self.conditions.tool_calls:
                account.refused = f"the budget of this case, {self.conditions.tool_calls} calls of tools, is used up"
                return _error(429, account.refused)
            account.tool_calls += 1
        found = self.scorer.ask(do="tool", name=name, arguments=dict(arguments))
        shown = found.get("result", found.get("error"))
        with self.turn:
            account.trace.append({"tool": name, "arguments": dict(arguments), "result": _cut(shown)})
        return (200, {"result": found["result"]}) if "result" in found else _error(400, str(found.get("error")))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a broken connection: the agent's process at the other end was killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: _Server

    def do_POST(self) -> None:
        proxy = self.server.proxy
        if not proxy.threads.acquire(blocking=False):
            return self._send(*_error(503, f"more than {_MOST_THREADS} calls at once"))
        try:
            status, data = self._answered(proxy)
        finally:
            proxy.threads.release()
        self._send(status, data)

    def do_GET(self) -> None:
        model = {"id": self.server.proxy.conditions.model, "object": "model"}
        self._send(200, {"object": "list", "data": [model]})

    def _answered(self, proxy: Proxy) -> tuple[int, dict[str, Any]]:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MOST_BYTES:
            self.close_connection = True
            return _error(400, f"a request needs a Content-Length of at most {_MOST_BYTES:,} bytes")
        try:
            body = json.loads(self.rfile.read(int(length)) or b"{}")
        except (ValueError, RecursionError):
            return _error(400, "the request is not JSON")
        if not isinstance(body, dict):
            return _error(400, "the request is not a JSON object")
        return proxy.answer(self.path, body)

    def _send(self, status: int, data: Mapping[str, Any]) -> None:
        text = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Write nothing, because the traces record the calls."""


def _error(status: int, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"message": message, "type": "budget" if status == 429 else "error", "code": status}}


def _cut(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} [{len(text) - _LONGEST} characters left out]"
