"""Answer only requests that use the bound address, carry the token of this start of the dashboard, and come from the
page itself.

Another site's page can send requests here; the Origin header reveals such requests.  Another site's host name can be
made to resolve to this address (DNS rebinding); the Host header reveals such a name.  No page of another site knows the
token.  The token is sent in a header.  A browser lets another origin set that header only after a preflight request,
and preflight requests are never answered.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "x-autoresearch-token"
LONGEST_BODY = 16_384
"""Maximum length of a request's body in bytes; a note has at most a thousand characters."""

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """The conditions that a request must meet; ``hosts`` are the accepted Host headers, with the port."""

    hosts: frozenset[str]
    token: str
    read_only: bool = False


class Guard:
    """ASGI middleware that refuses requests which break the rules, and passes on all other requests."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        refused = refuse(self._rules, scope["method"], scope["path"], scope["headers"])
        if refused is not None:
            await _answer(send, *refused)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_encoded(_HEADERS)]
            await send(message)

        await self._app(scope, receive, guarded)


def refuse(rules: Rules, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, str] | None:
    """Return HTTP status and reason if the request must be refused, or None if it may pass."""
    sent: dict[str, list[str]] = {}
    for name, value in headers:
        sent.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))

    def only(name: str) -> str:
        """Return the header's value if it was sent exactly once, or else an empty string."""
        values = sent.get(name, [])
        return values[0] if len(values) == 1 else ""

    host = only("host")
    if host not in rules.hosts:
        return 403, f"this dashboard answers at {', '.join(sorted(rules.hosts))} only"
    if method not in ("GET", "HEAD", "POST"):
        return 405, f"this dashboard does not answer {method}"
    if method == "POST" and (refused := _refuse_write(rules, host, only)) is not None:
        return refused
    if path.startswith("/api/") and not hmac.compare_digest(only(TOKEN).encode(), rules.token.encode()):
        return 401, "open the address that `autoresearch-mlx dashboard` printed last: it contains the current token"
    return None


def _refuse_write(rules: Rules, host: str, only: Any) -> tuple[int, str] | None:
    if rules.read_only:
        return 403, "this dashboard was started with --read-only"
    if only("origin") != f"http://{host}":
        return 403, "only the dashboard's own page may write"
    if only("content-type").split(";")[0].strip().lower() != "application/json":
        return 415, "the body must be application/json"
    length = only("content-length")
    if not (length.isascii() and length.isdigit()):
        return 411, "the length of the body is missing"
    return (413, f"the body may have at most {LONGEST_BODY} bytes") if int(length) > LONGEST_BODY else None


async def _answer(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"error": reason, "hint": ""}).encode()
    headers = {**_HEADERS, "content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
    await send({"type": "http.response.start", "status": status, "headers": _encoded(headers)})
    await send({"type": "http.response.body", "body": body})


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
