"""The one way to a server: no proxies, one deadline for a whole call, and a connection that is cut when it passes.

A read timeout alone is no deadline: a server that drips a byte a minute never trips it.  And a server that is
left by a plain timeout may go on generating; one whose connection is gone stops at its next write.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from autoresearch_mlx.models.failures import START, of_transport

if TYPE_CHECKING:
    import httpx2

CONNECT_SECONDS = 10.0


class Deadline:
    """The end of a call, on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds; never quite 0, which some clients take for no limit."""
        return max(self._end - monotonic(), 0.001)

    @property
    def passed(self) -> bool:
        return monotonic() >= self._end


class _Cutter:
    """Knows the sockets of one client, and shuts them all down when the time has come."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(deadline.left, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> _Cutter:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def watch(self, request: httpx2.Request) -> None:
        request.extensions["trace"] = self._trace

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        # TLS wraps the first socket in a second one, which then is the one to cut.
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
    """A client for one call to a server.

    It is a fresh one because minutes of training lie between two calls, and a connection kept over them is often
    dead.  Redirects are not followed: a key would go along.
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
    """What came back, whichever status it has; ``data`` is ``None`` when the text is no JSON."""

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
    """GET, or POST when there is a body.  ``where`` names the server in errors, ``start`` how it is started.

    Raises EndpointError (unreachable, hung, dropped); a status is the caller's to judge.
    """
    import httpx2

    deadline = Deadline(seconds)
    with web_client(url, deadline, connect_seconds) as web:
        try:
            response = web.request("GET" if body is None else "POST", url, json=body, headers=headers)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            failure = of_transport(error, where, seconds, deadline.passed, start=start)
        else:
            return Answer(response.status_code, response.headers, response.text, as_json(response.text))
    raise failure


def as_json(text: str) -> Any:
    """``None`` for a text that is no JSON, or nested without end."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def is_here(host: str) -> bool:
    """Whether a host is this machine: a loopback name, or an address of one of its own interfaces.

    Another machine of the same network is not: its memory is its own.
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
