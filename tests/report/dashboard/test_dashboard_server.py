"""The dashboard over plain HTTP: what it shows, what it does, and which requests it refuses."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_runs import STEPS, call, data, refused, script
from conftest import write_command_lab
from dashboard_process import Board, board_of
from live_run import finished, going, slow_lab, started, sweep, until

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.control import FILE as CONTROL
from autoresearch_mlx.loop.control import live_run
from autoresearch_mlx.store.journal import read_events
from autoresearch_mlx.store.ledger import FILE
from autoresearch_mlx.store.notes import read_notes


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Make a lab with two sessions, neither of which is running."""
    lab = write_command_lab(tmp_path_factory.mktemp("dashboard") / "lab")
    for tag, count in (("first", "0"), ("t", "5")):
        done = call(lab, "run", "--tag", tag, "--agent", script(lab, *STEPS), "--experiments", count)
        assert done.returncode == 0, done.stderr
    return lab


@pytest.fixture(scope="module")
def board(lab: Lab) -> Iterator[Board]:
    with board_of(lab) as board:
        yield board


def view(board: Board, name: str = "session", tag: str = "t") -> dict[str, object]:
    return next(d for n, d in board.events(tag) if n == name)  # type: ignore[no-any-return]


# --- what it shows


@pytest.mark.slow
def test_the_page_and_all_that_it_needs_come_from_here(board: Board) -> None:
    status, headers, page = board.ask("/", X_Autoresearch_Token=None)
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/html")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert b"http" not in page.replace(b"http-equiv", b""), "nothing from elsewhere"
    for name in (
        "style.css",
        "plot.css",
        "app.js",
        "parts.js",
        "loss.js",
        "wire.js",
        "words.js",
        "elements.js",
        "plot.js",
        "icon.svg",
    ):
        assert board.ask(f"/{name}")[0] == 200
    for path in ("/../server.py", "/page/../server.py", "/%2e%2e/server.py", "/server.py", "/docs"):
        assert board.ask(path)[0] == 404


def test_the_scripts_never_write_markup() -> None:
    import autoresearch_mlx.report.dashboard as dashboard

    page = Path(dashboard.__file__).parent / "page"
    for script_file in page.glob("*.js"):
        text = script_file.read_text()
        for way in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "srcdoc",
        ):
            assert way not in text, (script_file.name, way)


@pytest.mark.slow
def test_a_session_is_told_as_status_and_log_tell_it(board: Board, lab: Lab) -> None:
    session = view(board)
    assert session["status"] == data(lab, "status", "--tag", "t")
    rows = session["experiments"]
    assert [(r["number"], r["status"]) for r in rows] == list(reversed(finished(lab).items()))  # type: ignore[attr-defined]
    assert (session["run"], session["plan"]) == (None, None)
    now = view(board, "now")
    assert (now["running"], now["points"]) == (None, [])


def test_sessions_are_told_newest_first(board: Board) -> None:
    _, _, body = board.ask("/api/sessions")
    assert json.loads(body) == {
        "sessions": [{"tag": "t", "live": False}, {"tag": "first", "live": False}],
        "current": "t",
        "read_only": False,
    }
    assert view(board, tag="first")["tag"] == "first"


def test_an_experiment_is_told_with_its_diff_and_log(board: Board) -> None:
    status, _, body = board.ask("/api/sessions/t/experiments/3")
    one = json.loads(body)
    assert (status, one["status"], one["title"]) == (200, "crash", "broken")
    assert "+X = 1 / 0" in one["diff"] and "ZeroDivisionError" in one["log_tail"]
    status, _, body = board.ask("/api/sessions/t/experiments/99")
    assert (status, json.loads(body)["error"]) == (409, "session t has no experiment 99")
    assert board.ask("/api/sessions/nope/experiments/1")[0] == 404
    assert board.ask("/api/sessions/..%2f..%2fx/events")[0] == 404


def test_a_damaged_ledger_is_told_and_told_mended(board: Board, lab: Lab) -> None:
    path = lab.folder("first") / FILE
    whole = path.read_bytes()
    stream = (event for event in board.events("first") if event[0] == "trouble")
    try:
        assert next(stream)[1] is None
        path.write_bytes(whole + b"spoilt\n")
        trouble = next(stream)[1]
        assert "line" in trouble["error"] and trouble["hint"]
    finally:
        path.write_bytes(whole)
    assert next(stream)[1] is None


# --- what it does


def test_ideas_and_notes_go_where_the_commands_put_them(board: Board, lab: Lab) -> None:
    assert board.status("/api/sessions/t/note", body={"text": "smaller batches\nfirst"}) == 200
    assert read_notes(lab.folder("t")) == ("smaller batches first",)
    assert board.status("/api/sessions/t/idea", body={"title": "Y higher", "why": "near 5", "axis": ""}) == 200
    assert [i["title"] for i in data(lab, "ideas", "--tag", "t")] == ["Y higher"]
    session = view(board)
    assert (session["notes"], len(session["ideas"])) == (["smaller batches first"], 1)  # type: ignore[arg-type]
    assert board.status("/api/sessions/t/idea", body={"title": "y HIGHER"}) == 409
    assert board.status("/api/sessions/t/drop-idea", body={"id": 1}) == 200
    assert board.status("/api/sessions/t/clear-notes", body={}) == 200
    assert (data(lab, "ideas", "--tag", "t"), read_notes(lab.folder("t"))) == ([], ())


@pytest.mark.parametrize(
    ("action", "body", "status"),
    [
        ("note", {"text": ""}, 409),
        ("note", {"text": "x" * 1001}, 409),
        ("note", {"text": 3}, 409),
        ("idea", {"title": "x" * 121}, 409),
        ("drop-idea", {"id": "1"}, 409),
        ("skip", {"number": True}, 409),
        ("note", [], 400),
        ("dance", {}, 404),
    ],
)
def test_what_cannot_be_done_is_said(board: Board, action: str, body: object, status: int) -> None:
    got, _, said = board.ask(f"/api/sessions/t/{action}", "POST", body)
    assert got == status
    assert json.loads(said)["error"]


def test_no_run_is_steered_where_none_goes_on(board: Board) -> None:
    for action in ("pause", "resume", "stop", "skip"):
        status, _, body = board.ask(f"/api/sessions/t/{action}", "POST", {"number": 1})
        assert (status, "no run in progress" in json.loads(body)["error"]) == (409, True)
    assert board.ask("/api/sessions/t/note", "POST", raw=b"{")[0] == 400


@pytest.mark.slow
def test_a_run_is_watched_and_steered_and_outlives_the_dashboard(tmp_path: Path) -> None:
    lab = slow_lab(tmp_path / "lab")
    with going(lab, sweep(40, X=9.0)) as run:
        until(lambda: started(lab) == 1, "the first experiment")
        with board_of(lab) as board:
            now = next(d["running"] for n, d in board.events("t") if n == "now" and d["running"]["number"] == 1)
            assert (now["pid"], now["title"]) == (run.pid, "to be skipped")
            assert board.status("/api/sessions/t/skip", body={"number": 7}) == 200, "the page was behind"
            assert board.status("/api/sessions/t/pause") == 200
            sessions = (d for n, d in board.events("t") if n == "session")
            assert next(s for s in sessions if s["run"]["paused"])["plan"]["done"] == 0
            assert started(lab) == 1
            assert board.status("/api/sessions/t/skip", body={"number": 1}) == 200
            until(lambda: 1 in finished(lab), "the skip")
            assert next(d for n, d in board.events("t") if n == "now" and d["running"]["phase"] == "paused")
            board.process.kill()
            board.process.wait()
        assert run.poll() is None
        with board_of(lab) as board:
            assert board.status("/api/sessions/t/resume") == 200
            until(lambda: 3 in finished(lab), "more experiments")
            assert board.status("/api/sessions/t/stop") == 200
            assert run.wait(20) == 0
            assert next(d for n, d in board.events("t") if n == "session" and d["run"] is None)
    origins = {e.get("origin") for e in read_events(lab.folder("t") / CONTROL).events if e["event"] == "pause"}
    assert origins == {"dashboard"}
    assert live_run(lab.folder("t")) is None
    assert finished(lab)[1] == "interrupted"


# --- requests that it refuses


def test_reading_and_writing_take_the_token(board: Board) -> None:
    for token in (None, "", "x", board.token + "x", board.token[:-1]):
        assert board.ask("/api/sessions", X_Autoresearch_Token=token)[0] == 401
        assert board.ask("/api/sessions/t/events", X_Autoresearch_Token=token)[0] == 401
        assert board.status("/api/sessions/t/note", body={"text": "x"}, X_Autoresearch_Token=token) == 401
    assert board.ask(f"/api/sessions?token={board.token}", X_Autoresearch_Token=None)[0] == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "localhost:{port}", "127.0.0.1", "", None])
def test_only_the_bound_address_leads_here(board: Board, host: str | None) -> None:
    port = board.host.rsplit(":", 1)[1]
    given = host.format(port=port) if host else host
    for path in ("/", "/app.js", "/api/sessions"):
        assert board.ask(path, Host=given)[0] in (400, 403)
    # Without a host, the server answers and closes as soon as it has read the headers; a body sent after that would be
    # answered by a reset.
    raw = b"" if host is None else b"{}"
    assert board.ask("/api/sessions/t/pause", "POST", raw=raw, Host=given, Origin=f"http://{given}")[0] in (400, 403)


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "https://{host}", "http://{host}.evil.example", ""]
)
def test_only_its_own_page_may_write(board: Board, lab: Lab, origin: str | None) -> None:
    given = origin.format(host=board.host) if origin else origin
    assert board.status("/api/sessions/t/note", body={"text": "from elsewhere"}, Origin=given) == 403
    assert read_notes(lab.folder("t")) == ()


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_a_form_can_send_is_not_understood(board: Board, kind: str | None) -> None:
    assert board.status("/api/sessions/t/note", body={"text": "x"}, Content_Type=kind) == 415


def test_other_ways_in_are_closed(board: Board) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
        status, headers, _ = board.ask("/api/sessions/t/pause", method)
        assert status == 405
        assert not [name for name in headers if name.startswith("access-control")], "no other origin is let in"
    assert board.ask("/api/sessions/t/pause")[0] == 405, "nothing is done by GET"
    assert board.ask("/api/sessions/t/note", "POST", {"text": "x" * 20_000})[0] == 413
    assert board.status("/api/sessions/t/note", body={"text": "x"}, Content_Length="20000000000") == 413


def test_a_chunked_body_of_no_known_length_is_refused(board: Board) -> None:
    name, port = board.host.split(":")
    with socket.create_connection((name, int(port)), timeout=10) as plug:
        head = (
            f"POST /api/sessions/t/note HTTP/1.1\r\nHost: {board.host}\r\nOrigin: http://{board.host}\r\n"
            f"X-Autoresearch-Token: {board.token}\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n"
        )
        plug.sendall(head.encode())
        assert b" 411 " in plug.recv(1000).split(b"\r\n")[0]


def test_read_only_changes_nothing(lab: Lab) -> None:
    with board_of(lab, "--read-only") as board:
        for action in ("pause", "resume", "stop", "skip", "note", "idea", "clear-notes", "drop-idea"):
            status, _, body = board.ask(f"/api/sessions/t/{action}", "POST", {"text": "x", "title": "x"})
            assert (status, "--read-only" in json.loads(body)["error"]) == (403, True)
        assert json.loads(board.ask("/api/sessions")[2])["read_only"] is True
        assert view(board)["tag"] == "t"
    assert read_notes(lab.folder("t")) == ()


def test_each_start_has_a_token_of_its_own_and_it_stays_out_of_every_log(lab: Lab) -> None:
    tokens = []
    for _ in range(2):
        with board_of(lab) as board:
            board.ask("/api/sessions")
            board.ask("/nowhere", Host="evil.example")
            list(zip(range(2), board.events("t"), strict=False))
            tokens.append(board.token)
            board.process.send_signal(signal.SIGINT)
            out, err = board.process.communicate(timeout=20)
            assert board.process.returncode == 130
            assert (out, err.rstrip()) == ("", "Ctrl-C ends the dashboard; the run continues without it")
    assert len(set(tokens)) == 2
    assert min(map(len, tokens)) >= 32


def test_an_address_that_cannot_be_listened_at_is_said(lab: Lab, board: Board) -> None:
    port = board.host.split(":")[1]
    assert "cannot listen at" in refused(lab, "dashboard", "--no-open", "--port", port)
    assert "is not an IP address" in refused(lab, "dashboard", "--no-open", "--host", "evil.example")
    assert "cannot listen at" in refused(lab, "dashboard", "--no-open", "--host", "192.0.2.1")
    assert "70000" in refused(lab, "dashboard", "--port", "70000", code=2)


def test_an_open_address_is_warned_of_and_answers_at_this_machines_addresses_only(lab: Lab) -> None:
    with board_of(lab, "--host", "0.0.0.0") as board:
        assert board.url.startswith("http://127.0.0.1:")
        assert board.ask("/")[0] == 200
        assert board.ask("/", Host=f"evil.example:{board.host.split(':')[1]}")[0] == 403
        board.process.kill()
        assert "others on the network can reach this dashboard" in board.process.communicate()[1]
