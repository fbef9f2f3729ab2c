"""Run the dashboard in a process of its own, and read it by plain HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from forked_command import Started
from live_run import working

from autoresearch_mlx.lab.lab import Lab


@dataclass(frozen=True)
class Board:
    url: str
    """The complete address, with its token."""
    process: Started

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def token(self) -> str:
        return urlsplit(self.url).fragment

    def ask(
        self, path: str, method: str = "GET", body: Any = None, raw: bytes | None = None, **headers: str | None
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request as the page does; headers are given by name with ``_`` for ``-``, and None omits a header."""
        sent: dict[str, str | None] = {"Host": self.host, "X-Autoresearch-Token": self.token}
        if method == "POST":
            sent |= {"Origin": f"http://{self.host}", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        connection = http.client.HTTPConnection(self.host, timeout=20)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        if data is not None and "Content-Length" not in sent:
            connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        answer = connection.getresponse()
        got = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        connection.close()
        return got

    def status(self, path: str, method: str = "POST", body: Any = None, **headers: str | None) -> int:
        return self.ask(path, method, {} if body is None and method == "POST" else body, **headers)[0]

    def events(self, tag: str) -> Iterator[tuple[str, Any]]:
        """Yield (name, data) of the events as they come."""
        connection = http.client.HTTPConnection(self.host, timeout=20)
        connection.request("GET", f"/api/sessions/{tag}/events", headers={"X-Autoresearch-Token": self.token})
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("content-type", "").split(";")[0]) == (200, "text/event-stream")
        name = ""
        try:
            while line := answer.readline().decode().rstrip("\n"):
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    yield name, json.loads(line[6:])
                    answer.readline()
        finally:
            connection.close()


@contextmanager
def board_of(lab: Lab, *options: str) -> Iterator[Board]:
    with working(lab, "dashboard", "--no-open", *options, interrupt=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), process.communicate(timeout=5)
        yield Board(url, process)
