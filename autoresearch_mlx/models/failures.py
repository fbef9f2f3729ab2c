"""From what went wrong on the way to a server to an EndpointError of the right kind; no message holds a key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from autoresearch_mlx.errors import EndpointError, EndpointKind

START = "start the server there"
_LONGEST = 400
_OVERFLOW = re.compile(
    r"context[ _](length|size|window)|exceed_context|maximum context|prompt is too long|too many (input )?tokens"
    r"|input length .* exceeds|longer than the context",
    re.IGNORECASE | re.DOTALL,
)
_BEARER = re.compile(r"(Bearer\s+)\S+", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/@\s]+@")
_SHORTEST_KEY = 5
"""A shorter one is a placeholder, which may be a word of a server's sentence."""


def hide(text: str, key: str | None) -> str:
    """The text without the key."""
    return text.replace(key, "[key]") if key and len(key) >= _SHORTEST_KEY else text


def quote(text: str, key: str | None = None) -> str:
    """A server's words on one line, cut to some length, without the key that servers like to echo."""
    text = " ".join(_USER.sub("", _BEARER.sub(r"\1[key]", hide(text, key))).split())
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."


def overflowed(text: str) -> bool:
    """Whether an error's text says that prompt and reply do not fit into the context."""
    return bool(_OVERFLOW.search(text))


def kind_of(status: int, text: str) -> EndpointKind:
    """The kind of a failed call by its status and the text of its error."""
    if overflowed(text) and (status in (400, 413, 422) or status >= 500):
        return "overflow"
    if status == 429 and "insufficient_quota" in text:
        return "refused"
    return "busy" if status in (408, 409, 425, 429) or status >= 500 else "refused"


def wait_of(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Retry-After header asks for: a number or a date.  Names of headers in lower case."""
    said = headers.get("retry-after", "").strip()
    if not said:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", said):
        return float(said)
    try:
        when = parsedate_to_datetime(said)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max((when - datetime.now(UTC)).total_seconds(), 0.0)


def of_transport(
    error: BaseException | None,
    where: str,
    seconds: float,
    late: bool,
    partial: str = "",
    key: str | None = None,
    start: str = START,
) -> EndpointError:
    """The connection failed; ``seconds`` is the deadline of the call and ``late`` whether it has passed.

    ``start``: how the server is started, the hint where nobody listens."""
    import httpx2

    partial = hide(partial, key)
    said = quote(str(error), key) if error is not None and str(error) else type(error).__name__
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return EndpointError("unreachable", f"nobody answers at {where}: {said}", start)
    if late or isinstance(error, httpx2.TimeoutException):
        hint = "timeout_seconds in lab.toml gives a call more time; a smaller model needs less"
        return EndpointError("hung", f"{where} did not finish within {seconds:g} s", hint, partial=partial)
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        hint = "an address is like http://127.0.0.1:8080/v1"
        return EndpointError("refused", f"{where} cannot be asked: {said}", hint)
    when = "in the middle of its answer" if partial else "before it answered"
    hint = "the server may have died or run out of memory: its own log says"
    return EndpointError("dropped", f"{where} broke the connection {when}: {said}", hint, partial=partial)
