"""Serve the dashboard: its socket, its routes and its event stream.

/                                   the page; its style and scripts beside it
GET  /api/sessions                  the sessions of this lab
GET  /api/sessions/TAG/events       server-sent events: sessions, session, now, trouble
GET  /api/sessions/TAG/experiments/N
POST /api/sessions/TAG/ACTION       see :mod:`steering`
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoresearch_mlx.errors import AutoresearchError, ConfigError
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.report.dashboard.guard import Guard, Rules
from autoresearch_mlx.report.dashboard.steering import actions
from autoresearch_mlx.report.dashboard.views import experiment_view, sendable
from autoresearch_mlx.report.dashboard.watch import WatchedLab

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_PAGE = Path(__file__).parent / "page"
_SHARED = Path(__file__).parent.parent / "assets"
"""Files that the page shares with the static report."""
_FILES = {
    "/": (_PAGE / "index.html", "text/html"),
    **{f"/{name}": (_PAGE / name, "text/javascript") for name in ("app.js", "parts.js", "loss.js", "wire.js")},
    **{f"/{name}": (_SHARED / name, "text/javascript") for name in ("words.js", "elements.js", "plot.js", "strips.js")},
    "/style.css": (_PAGE / "style.css", "text/css"),
    "/plot.css": (_SHARED / "plot.css", "text/css"),
    "/icon.svg": (_PAGE / "icon.svg", "image/svg+xml"),
}
_LOOK_SECONDS = 0.5
_ALIVE_SECONDS = 10.0
_WILD = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Bound:
    """A listening socket, the Host headers that it accepts, and its address."""

    socket: socket.socket
    hosts: frozenset[str]
    url: str


@contextmanager
def bound(host: str, port: int) -> Iterator[Bound]:
    """Listen at a host and port, where port 0 means any free port.  Raises ConfigError when the system refuses."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(128)  # the address must work as soon as it is printed
        except (OSError, OverflowError) as error:
            said = f"the dashboard cannot listen at {host}:{port}: {getattr(error, 'strerror', None) or error}"
            raise ConfigError(said, "name another --port; 0 chooses a free port") from None
        port = listening.getsockname()[1]
        names = _addresses(host)
        yield Bound(listening, frozenset(f"{name}:{port}" for name in names), f"http://{names[0]}:{port}/")


def _addresses(host: str) -> list[str]:
    """Return the names that a browser may send in its Host header.

    For 0.0.0.0, these names are all addresses of this machine.
    """
    if host not in _WILD:
        return [f"[{host}]" if ":" in host else host]
    import psutil

    found = [a for each in psutil.net_if_addrs().values() for a in each]
    four = [a.address for a in found if a.family == socket.AF_INET]
    six = [f"[{a.address.partition('%')[0]}]" for a in found if a.family == socket.AF_INET6]
    return ["127.0.0.1", *(a for a in (*four, *(six if host == "::" else [])) if a != "127.0.0.1")]


def serve(lab: Lab, at: Bound, token: str, read_only: bool) -> None:
    """Answer requests until the process is interrupted."""
    import uvicorn

    ending: list[Callable[[], bool]] = []
    app = application(lab, Rules(at.hosts, token, read_only), lambda: any(ends() for ends in ending))
    # There is no access log, so the token is not written anywhere.
    config = uvicorn.Config(app, log_level="critical", access_log=False, server_header=False, ws="none")
    server = uvicorn.Server(config)
    ending.append(lambda: server.should_exit)
    server.run(sockets=[at.socket])


def new_token() -> str:
    return secrets.token_urlsafe(24)


def application(lab: Lab, rules: Rules, ending: Callable[[], bool]) -> Starlette:
    """Build the routes behind their guard; ``ending`` returns True when open streams should close."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.routing import Route

    answers = _Answers(WatchedLab(lab), rules, ending)
    routes = [Route(path, answers.file) for path in _FILES]
    routes += [
        Route("/api/sessions", answers.sessions),
        Route("/api/sessions/{tag}/events", answers.events),
        Route("/api/sessions/{tag}/experiments/{number:int}", answers.experiment),
        Route("/api/sessions/{tag}/{action}", answers.action, methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, rules=rules)], lifespan=answers.lifespan)


class _Answers:
    """Answers requests, with one method for each route."""

    def __init__(self, watched: WatchedLab, rules: Rules, ending: Callable[[], bool]) -> None:
        self._watched, self._rules, self._ending = watched, rules, ending

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(self._watch())
        yield
        watching.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.to_thread(self._watched.watch)
            await asyncio.sleep(_LOOK_SECONDS)

    async def file(self, request: Request) -> Response:
        from starlette.responses import Response

        path, kind = _FILES[request.url.path]
        return Response(path.read_bytes(), media_type=kind)

    async def sessions(self, request: Request) -> Response:
        sessions = await asyncio.to_thread(self._watched.sessions)
        return _json(self._of_lab(sessions))

    def _of_lab(self, sessions: Any) -> dict[str, Any]:
        current = self._watched.lab.current()
        return {"sessions": sessions, "current": current, "read_only": self._rules.read_only}

    async def experiment(self, request: Request) -> Response:
        tag, number = request.path_params["tag"], request.path_params["number"]
        if self._watched.session(tag) is None:
            return _no_session(tag)
        lab = self._watched.lab
        return await _answered(lambda: experiment_view(lab.root, lab.folder(tag), number))

    async def action(self, request: Request) -> Response:
        tag, action = request.path_params["tag"], actions().get(request.path_params["action"])
        if self._watched.session(tag) is None:
            return _no_session(tag)
        if action is None:
            return _json({"error": "this dashboard has no such action", "hint": "reload the page"}, 404)
        try:
            sent = json.loads(await request.body())
        except (ValueError, RecursionError):
            sent = None
        if not isinstance(sent, Mapping):
            return _json({"error": "the body is not a JSON object", "hint": "reload the page"}, 400)
        return await _answered(lambda: {"said": action(self._watched.lab.folder(tag), sent)})

    async def events(self, request: Request) -> Response:
        from starlette.responses import StreamingResponse

        tag = request.path_params["tag"]
        if self._watched.session(tag) is None:
            return _no_session(tag)
        return StreamingResponse(self._stream(tag), media_type="text/event-stream")

    async def _stream(self, tag: str) -> AsyncIterator[str]:
        """Twice a second, send the events whose data have changed."""
        before: dict[str, Any] = {}
        spoken = time.monotonic()
        while not self._ending():
            for name, data in (await asyncio.to_thread(self._look, tag)).items():
                if before.get(name) != data:
                    before[name], spoken = data, time.monotonic()
                    yield f"event: {name}\ndata: {data}\n\n"
            if time.monotonic() - spoken > _ALIVE_SECONDS:
                spoken = time.monotonic()
                yield ": still here\n\n"
            await asyncio.sleep(_LOOK_SECONDS)

    def _look(self, tag: str) -> dict[str, str]:
        """Read the session, and return the events for the page by name, each as one line of JSON."""
        found: dict[str, Any] = {"sessions": self._of_lab(self._watched.sessions())}
        try:
            session = self._watched.session(tag)
            if session is None:
                raise ConfigError(f"session {tag} no longer exists", "choose another session")
            look = session.look()
            found |= {"session": look.session, "now": look.now, "trouble": None}
        except AutoresearchError as error:
            found["trouble"] = {"error": str(error), "hint": error.hint}
        return {name: json.dumps(value, allow_nan=False) for name, value in found.items()}


async def _answered(do: Callable[[], dict[str, Any]]) -> Response:
    try:
        return _json(await asyncio.to_thread(do))
    except AutoresearchError as error:
        return _json({"error": str(error), "hint": error.hint}, 409)


def _no_session(tag: str) -> Response:
    return _json({"error": f"there is no session {tag}", "hint": "choose another session"}, 404)


def _json(value: Any, status: int = 200) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(sendable(value), status)
