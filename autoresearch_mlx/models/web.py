"""Make one HTTP call to a model's server, without proxies; cut the connection at the deadline of the call.

A read timeout is not enough, because a server that sends one byte a minute never exceeds the timeout.  Also, after a
read timeout the server may go on generating text; if the connection is cut, the server stops at its next write.  The
second half of this file sorts failures into kinds of EndpointError.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

from autoresearch_mlx.errors import EndpointError, EndpointKind

if TYPE_CHECKING:
    import httpx2

START = "start the server there"
CONNECT_SECONDS = 10.0
_LONGEST = 400
_LOOK_SECONDS = 1.0
"""Seconds between two checks of a deadline; each part of a reply that arrives may move the deadline."""
_OVERFLOW = re.compile(
    r"context[ _](length|size|window)|exceed_context|maximum context|prompt is too long|too many (input )?tokens"
    r"|input length .* exceeds|longer than the context",
    re.IGNORECASE | re.DOTALL,
)
_BEARER = re.compile(r"(Bearer\s+)\S+", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/@\s]+@")
_SHORTEST_KEY = 5
"""Smallest length of a real key in characters.  A shorter key is a placeholder, which may be an ordinary word."""


class Deadline:
    """The time by which a call must be over, on the monotonic clock.

    If ``idle_seconds`` is given, the deadline also passes this many seconds after the last call of :meth:`hear`.
    """

    def __init__(self, seconds: float, idle_seconds: float | None = None) -> None:
        self.seconds = seconds
        self._began = monotonic()
        self._last_moment = self._began + seconds
        self._idle_seconds = idle_seconds
        self._heard: float | None = None

    def hear(self) -> None:
        """Note that a part of the reply has just arrived."""
        self._heard = monotonic()

    @property
    def _end(self) -> float:
        if self._heard is None or self._idle_seconds is None:
            return self._last_moment
        return min(self._last_moment, self._heard + self._idle_seconds)

    @property
    def spent(self) -> float:
        """Seconds since the call began."""
        return monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds until the deadline, at least 0.001, because some clients read 0 as no limit."""
        return max(self._end - monotonic(), 0.001)

    @property
    def passed(self) -> bool:
        return monotonic() >= self._end

    @property
    def in_words(self) -> str:
        """How the server failed to meet this deadline, as text."""
        if self._end < self._last_moment:
            return f"sent nothing more for {self._idle_seconds:g} s in the middle of its answer"
        return f"did not finish within {self.seconds:g} s"


class _Cutter:
    """Records the sockets of one client, and shuts down all these sockets at the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._sockets: list[socket.socket] = []
        self._over = threading.Event()

    def __enter__(self) -> _Cutter:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(min(self._deadline.left, _LOOK_SECONDS)):
            if self._deadline.passed:
                return self._cut()

    def watch(self, request: httpx2.Request) -> None:
        request.extensions["trace"] = self._trace

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        # With TLS, the first socket is wrapped in a second socket; then the second socket must be cut.
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._sockets.append(info["return_value"].get_extra_info("socket"))
            if self._deadline.passed:
                self._cut()

    def _cut(self) -> None:
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def web_client(url: str, deadline: Deadline, connect_seconds: float = CONNECT_SECONDS) -> Iterator[httpx2.Client]:
    """Yield a client for one call to a server.

    Each call gets a new client: minutes of training pass between two calls, and a connection that is kept so long is
    often dead.  Redirects are not followed, because the server at the new address would get the key.
    """
    import httpx2

    with _Cutter(deadline) as cutter:
        timeout = httpx2.Timeout(deadline.left, connect=min(connect_seconds, deadline.left))
        hooks = {"request": [cutter.watch]}
        # Without TLS there is nothing to verify, and loading the certificates would take longer than a short call.
        verify = not url.lower().startswith("http://")
        with httpx2.Client(trust_env=False, verify=verify, timeout=timeout, event_hooks=hooks) as client:
            yield client


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer, which may have any status.  ``data`` is None when the text is not JSON."""

    status: int
    headers: Mapping[str, str]
    text: str
    data: Any


def fetch(
    url: str,
    where: str,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float = 10.0,
    connect_seconds: float = CONNECT_SECONDS,
    start: str = START,
) -> Answer:
    """Make one GET call, or a POST call if ``body`` is given, and return the answer with any status.

    ``where`` names the server in errors, and ``start`` says how to start the server.  Raises EndpointError
    (unreachable, hung, dropped).
    """
    import httpx2

    deadline = Deadline(seconds)
    with web_client(url, deadline, connect_seconds) as web:
        try:
            response = web.request("GET" if body is None else "POST", url, json=body, headers=headers)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            failure = of_transport(error, where, deadline, start=start)
        else:
            return Answer(response.status_code, response.headers, response.text, as_json(response.text))
    raise failure


def as_json(text: str) -> Any:
    """Return the value of a JSON text; None for a text that is not JSON, or is nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def is_here(host: str) -> bool:
    """Return whether a host is this machine: a loopback name, or an address of an interface of this machine.

    Another machine in the same network has its own memory, so its addresses do not count.
    """
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost") or name == socket.gethostname().lower():
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((name, 0))  # only an address of this machine can be bound; nothing is sent
    except OSError:
        return False
    return True


def hide(text: str, key: str | None) -> str:
    """Return the text with ``[key]`` instead of the key."""
    return text.replace(key, "[key]") if key and len(key) >= _SHORTEST_KEY else text


def quote(text: str, key: str | None = None) -> str:
    """Return a server's message as one line of limited length, without the key, which some servers repeat."""
    text = " ".join(_USER.sub("", _BEARER.sub(r"\1[key]", hide(text, key))).split())
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."


def overflowed(text: str) -> bool:
    """Return whether the text of an error says that prompt and reply do not fit into the context."""
    return bool(_OVERFLOW.search(text))


_LIMITS = (
    r'"n_ctx"\s*:\s*(\d+)',
    r"available context size \((\d+)",
    r"context (?:length|window|size)(?: is| of| limit of|:)? (?:only )?\(?(\d+)",
    r"context of (\d+)",
    r"exceed\w* (?:the )?context window of (\d+)",
)
_ASKED = (r'"n_prompt_tokens"\s*:\s*(\d+)', r"\((\d+) in the messages", r"(?:request|prompt) \((\d+) tokens")


def sizes_in(text: str) -> tuple[int | None, int | None]:
    """Return the sizes of context and prompt in a refusal's text, in tokens; None for a size that is not there."""
    return _first_size(_LIMITS, text), _first_size(_ASKED, text)


def _first_size(patterns: Iterable[str], text: str) -> int | None:
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    found = (re.search(pattern, plain, re.IGNORECASE) for pattern in patterns)
    return next((int(match[1]) for match in found if match is not None and int(match[1]) > 0), None)


def kind_of(status: int, text: str) -> EndpointKind:
    """Return the kind of a failed call, by its HTTP status and the text of its error."""
    if overflowed(text) and (status in (400, 413, 422) or status >= 500):
        return "overflow"
    if status == 429 and "insufficient_quota" in text:
        return "refused"
    return "busy" if status in (408, 409, 425, 429) or status >= 500 else "refused"


def wait_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a Retry-After header (a number or a date) asks for; None without this header.

    The names in ``headers`` are in lower case.
    """
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
    deadline: Deadline,
    partial: str = "",
    key: str | None = None,
    start: str = START,
) -> EndpointError:
    """Return the error for a failed connection.

    ``partial`` is the reply so far.  ``start`` says how to start the server; it is the hint when no server answers.
    """
    import httpx2

    partial = hide(partial, key)
    said = quote(str(error), key) if error is not None and str(error) else type(error).__name__
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return EndpointError("unreachable", f"no server answers at {where}: {said}", start)
    if deadline.passed or isinstance(error, httpx2.TimeoutException):
        hint = "raise timeout_seconds under [agent] in lab.toml, or use a smaller model"
        return EndpointError("hung", f"{where} {deadline.in_words}", hint, partial=partial)
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        hint = "write the address like http://127.0.0.1:8080/v1"
        return EndpointError("refused", f"{where} cannot be called: {said}", hint)
    when = "in the middle of its answer" if partial else "before it answered"
    hint = "the server may have died or run out of memory: see its own log"
    return EndpointError("dropped", f"{where} broke the connection {when}: {said}", hint, partial=partial)
