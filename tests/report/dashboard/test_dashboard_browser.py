"""The page in a real browser works without a network, follows a run and controls it; no other site's page can."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from chromium import chromium, needs_chromium, text_of, waited
from command_runs import call, script
from conftest import git, write_command_lab
from dashboard_process import Board, board_of
from live_run import finished, going, slow_lab, started, sweep
from playwright.sync_api import Browser, Page

from autoresearch_mlx.agents.ideas.backlog import add_ideas
from autoresearch_mlx.agents.ideas.idea import MODEL, Draft
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.control import FILE as CONTROL
from autoresearch_mlx.store.journal import read_events
from autoresearch_mlx.store.ledger import FILE as LEDGER
from autoresearch_mlx.store.notes import add_note, read_notes

pytestmark = [needs_chromium, pytest.mark.slow, pytest.mark.uncounted]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@contextmanager
def opened(browser: Browser, url: str, width: int = 1200, **options: object) -> Iterator[Page]:
    """Open a page in a profile of its own; its requests and errors are recorded on it."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)  # type: ignore[arg-type]
    page = context.new_page()
    page.asked, page.wrong = [], []  # type: ignore[attr-defined]
    page.on("request", lambda request: page.asked.append(request.url))  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.wrong.append(str(error)))  # type: ignore[attr-defined]
    page.goto(url)
    try:
        yield page
    finally:
        context.close()


def rows(page: Page) -> int:
    return int(page.evaluate("() => document.querySelectorAll('#rows tr').length"))


def state(page: Page) -> str:
    return text_of(page, "#state span")


def wishes(lab: Lab) -> list[str]:
    return [str(e["event"]) for e in read_events(lab.folder("t") / CONTROL).events]


# --- a run that is watched and controlled


def test_a_run_is_followed_and_steered_without_a_reload(tmp_path: Path, browser: Browser) -> None:
    lab = slow_lab(tmp_path / "lab")
    with going(lab, sweep(60, X=9.0)) as run, board_of(lab) as board, opened(browser, board.url) as page:
        page.evaluate("() => { window.sameDocument = true }")
        waited(page, lambda: text_of(page, "#now-title") == "to be skipped", "the first experiment")
        waited(page, lambda: text_of(page, "#now-over") == "experiment 1 · running", "its run")
        assert text_of(page, "#now-facts").startswith("at most"), "only the timeout of a program is known"
        assert state(page) == "running"
        assert "none yet" in page.locator("#plan-facts dd").all_inner_texts(), "nothing is done in this run"

        page.click("#skip")
        assert text_of(page, "#skip") == "Really skip #1?"
        assert "skip" not in wishes(lab), "one click does not skip"
        page.click("#skip")
        waited(page, lambda: rows(page) >= 3, "more experiments in the table")
        assert finished(lab)[1] == "interrupted"

        page.focus("#session")
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.id") == "pause"
        page.keyboard.press("Enter")
        waited(page, lambda: state(page) == "paused", "the pause")
        assert (text_of(page, "#now-title"), text_of(page, "#pause")) == ("Paused by hand", "Resume")
        before = finished(lab)
        time.sleep(1.5)
        assert (finished(lab), started(lab)) == (before, None), "nothing was begun"
        page.click("#pause")
        waited(page, lambda: len(finished(lab)) > len(before), "the next experiment")

        page.fill("#add-note input", "smaller batches first")
        page.click("#add-note button[type=submit]")
        page.fill("#add-idea [name=title]", "Y higher")
        page.keyboard.press("Enter")
        waited(page, lambda: "Y higher" in text_of(page, "#ideas"), "the idea")
        assert text_of(page, "#notes") == "smaller batches first"
        assert read_notes(lab.folder("t")) == ("smaller batches first",)

        page.click("#stop")
        assert run.wait(20) == 0
        waited(page, lambda: state(page) == "idle", "the end")
        with going(lab, sweep(60)):
            waited(page, lambda: state(page) == "running", "the next run")
        assert page.evaluate("() => window.sameDocument"), "the page was never loaded anew"
        assert page.wrong == []  # type: ignore[attr-defined]
        assert {url[: len(f"http://{board.host}/")] for url in page.asked} == {f"http://{board.host}/"}  # type: ignore[attr-defined]
        assert board.token not in "".join(page.asked).replace(board.url, ""), "only in a header"  # type: ignore[attr-defined]
        assert board.token not in page.url


# --- a session that is not running


HOSTILE = "<img src=x onerror=window.hacked=1>"
TITLE = f"{HOSTILE}<script>window.hacked=2</script> ${{'{{'}}hacked{{'}}'}} "
PRINTS = f"print({HOSTILE + '</pre><script>window.hacked=3</script>'!r}, flush=True)\n"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Make a lab with two sessions; in one of them, all text that an agent or a program may write is hostile."""
    lab = write_command_lab(tmp_path_factory.mktemp("browser") / "lab")
    assert call(lab, "run", "--tag", "calm", "--experiments", "0").returncode == 0
    (lab.root / "bench.py").write_text(PRINTS + (lab.root / "bench.py").read_text())
    git(lab.root, "commit", "-qam", "prints")
    steps = [
        {"title": TITLE, "rationale": HOSTILE, "knobs": {"X": 3.5}, "axis": "x"},
        {"title": "y" * 300, "files": {"solver.py": f"X = 1 / 0  # {HOSTILE}\nY = 2\n"}},
        {"title": f"raises {HOSTILE}", "files": {"solver.py": f"raise ValueError({HOSTILE!r})\nX = 1\n"}},
    ]
    done = call(lab, "run", "--tag", "t", "--agent", script(lab, *steps), "--experiments", "3")
    assert done.returncode == 0, done.stderr
    add_ideas(lab.folder("t"), [Draft(HOSTILE, "x", HOSTILE)], f"{MODEL}{HOSTILE}")
    add_note(lab.folder("t"), HOSTILE)
    return lab


@pytest.fixture(scope="module")
def board(lab: Lab) -> Iterator[Board]:
    with board_of(lab) as board:
        yield board


def shown(page: Page) -> None:
    waited(page, lambda: rows(page) == 4, "the table")


def test_what_agents_and_programs_write_is_shown_and_never_run(board: Board, browser: Browser) -> None:
    with opened(browser, board.url) as page:
        shown(page)
        for number in (1, 2, 3):
            page.click(f"#rows button[aria-label^='Experiment {number},']")
            waited(page, lambda: page.evaluate("() => document.getElementById('one').open"), "the details")
            whole = text_of(page, "#one")
            assert "onerror=window.hacked" in whole, number
            page.keyboard.press("Escape")
            waited(page, lambda: not page.evaluate("() => document.getElementById('one').open"), "the end of it")
        for place in ("#rows", "#ideas", "#notes"):
            assert HOSTILE in text_of(page, place)
        assert page.evaluate("() => document.querySelectorAll('main img, main script, dialog img').length") == 0
        assert page.evaluate("() => window.hacked") is None
        assert page.wrong == []  # type: ignore[attr-defined]


def test_even_a_mistake_of_ours_could_not_run_it(board: Board, browser: Browser) -> None:
    with opened(browser, board.url) as page:
        shown(page)
        sinks = "h => { try { document.body.innerHTML = h; return 'taken' } catch (e) { return e.name } }"
        assert page.evaluate(sinks, HOSTILE) == "TypeError"
        loads = """() => new Promise(done => {
            const s = document.createElement('img'); s.onerror = () => done('refused'); s.onload = () => done('loaded');
            s.src = 'http://evil.example/x.png' })"""
        assert page.evaluate(loads) == "refused"


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1200, "dark")])
def test_the_page_fits_a_phone_and_the_dark(board: Board, browser: Browser, width: int, scheme: str) -> None:
    with opened(browser, board.url, width, color_scheme=scheme) as page:
        shown(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        paper = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, paper[4:-1].split(","))) < 60) == (scheme == "dark")


def test_each_line_of_a_diff_is_a_line_of_its_own(board: Board, browser: Browser) -> None:
    with opened(browser, board.url) as page:
        shown(page)
        page.click("#rows button[aria-label='Experiment 1, details']")
        waited(page, lambda: "@@" in text_of(page, "#one-diff"), "the diff")
        tops = page.evaluate("() => [...document.querySelectorAll('#one-diff span')].map((line) => line.offsetTop)")
        assert len(tops) >= 6 and len(set(tops)) == len(tops)


def test_a_point_of_the_plot_opens_its_experiment_by_keys_alone(board: Board, browser: Browser) -> None:
    with opened(browser, board.url) as page:
        shown(page)
        page.locator("#night-chart svg").press("Home")
        assert text_of(page, "#night-chart .tip").startswith("#0 keep")
        page.locator("#night-chart svg").press("Enter")
        waited(page, lambda: page.evaluate("() => document.getElementById('one').open"), "the details")
        assert text_of(page, "#one-over").startswith("experiment 0 · keep")
        assert page.evaluate("() => document.querySelectorAll('#night-chart circle.dot.keep').length") >= 1


def test_sessions_are_switched_without_a_reload(board: Board, browser: Browser) -> None:
    with opened(browser, board.url) as page:
        shown(page)
        page.select_option("#session", "calm")
        waited(page, lambda: rows(page) == 1, "the other session")
        assert text_of(page, "#now-over") == "autoresearch/calm"
        assert page.is_disabled("#pause") and page.is_disabled("#skip")


def test_a_dashboard_that_was_restarted_asks_for_its_new_address(lab: Lab, browser: Browser) -> None:
    with board_of(lab) as first, opened(browser, first.url) as page:
        shown(page)
        port = first.host.split(":")[1]
        first.process.kill()
        first.process.wait()
        waited(page, lambda: state(page) == "reconnecting", "the loss")
        with board_of(lab, "--port", port) as second:
            waited(page, lambda: "it contains the current token" in text_of(page, "#trouble"), "the refusal")
            page.goto(second.url)
            waited(page, lambda: state(page) == "idle" and rows(page) == 4, "the session")
            assert page.is_hidden("#trouble")


def test_read_only_shows_nothing_to_press(lab: Lab, browser: Browser) -> None:
    with board_of(lab, "--read-only") as board, opened(browser, board.url) as page:
        shown(page)
        for place in ("#controls", "#add-note", "#add-idea", "#clear-notes", "#ideas button"):
            assert page.query_selector(place) is None or page.is_hidden(place)


def test_without_the_token_the_page_says_what_is_missing(board: Board, browser: Browser) -> None:
    with opened(browser, board.url.split("#")[0]) as page:
        waited(page, lambda: "Open the whole address" in text_of(page, "#trouble"), "the words")
        assert page.is_hidden("main")


# --- pages of other sites

ATTACK = (Path(__file__).parent / "attack.html").read_text()
"""A page that tries all that a page of another origin may try, and leaves the results in ``window.tried``."""


def filled(page: str, **values: str) -> str:
    for name, value in values.items():
        page = page.replace(f"@{name}@", value)
    return page


@contextmanager
def elsewhere(page: str) -> Iterator[str]:
    """Serve a page on another origin of this machine."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_page_of_another_origin_cannot_read_or_steer(lab: Lab, browser: Browser, kind: str) -> None:
    """The attack fails even if the page has the token, which in reality it cannot know."""
    with board_of(lab) as board, opened(browser, board.url) as ours:
        shown(ours)
        hostile = ours.context.new_page()  # the same profile, as on the person's own machine
        with elsewhere(filled(ATTACK, HOST=board.host, TOKEN=board.token, KIND=kind)) as address:
            hostile.goto(address)
            waited(hostile, lambda: hostile.evaluate("() => Boolean(window.tried)"), "the attack")
            tried = hostile.evaluate("() => window.tried")
    assert (tried["read"], tried["json"], tried["stream"]) == ("TypeError", "TypeError", "TypeError")
    assert (tried["image"], tried["script"], tried["frame"]) == ("refused", "refused", "closed")
    assert tried["simple"] in ("TypeError", "opaque 0"), "sent, and refused there"
    assert read_notes(lab.folder("t")) == (HOSTILE,), "nothing was written"
    assert set(wishes(lab)) == {"began", "ended"}


def test_a_name_that_was_rebound_to_this_machine_leads_nowhere(board: Board, browser: Browser) -> None:
    address = f"http://evil.example:{board.host.split(':')[1]}/"
    with opened(browser, f"{address}#{board.token}") as page:
        assert "this dashboard answers at" in text_of(page, "body")
        told = page.evaluate(
            "t => fetch('/api/sessions', {headers: {'X-Autoresearch-Token': t}}).then(r => r.status)", board.token
        )
        assert told == 403


def test_an_experiment_that_waits_to_be_accepted_stands_at_the_top(tmp_path: Path, browser: Browser) -> None:
    lab = write_command_lab(tmp_path / "lab")
    assert (
        call(lab, "run", "--tag", "t", "--agent", script(lab, *sweep(1, X=3.0)), "--experiments", "1").returncode == 0
    )
    ledger = lab.folder("t") / LEDGER
    *before, last = ledger.read_text().splitlines()
    held = {**json.loads(last), "status": "discard", "held": True}
    ledger.write_text("\n".join([*before, json.dumps(held)]) + "\n")
    with board_of(lab) as board, opened(browser, board.url) as page:
        waited(page, lambda: "waiting for you" in text_of(page, "#stand-facts"), "the experiment that waits")
        assert "then `accept 1`" in text_of(page, "#stand-facts")
        assert "discard ?" in text_of(page, "#rows")
