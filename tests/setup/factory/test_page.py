"""The page and the cards show hostile text as text: no markup, no script, no code of a terminal takes effect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chromium import chromium, needs_chromium
from conftest import command_line

from autoresearch_mlx.setup.factory.ledger import FILE, PAGE, Book, Problem
from autoresearch_mlx.setup.factory.page import write_page
from autoresearch_mlx.setup.factory.ship import card_text, slug

HOSTILE = (
    "<script>document.title='gotcha'</script><img src=x onerror=\"document.title='gotcha'\">"
    "{{ 7 * 7 }} \x1b[31mred\x1b[0m \x1b]0;owned\x07 **bold** [link](javascript:alert(1))"
)
EVIDENCE = {"piece": 1, "quote": HOSTILE, "address": "javascript:alert(1)", "author": HOSTILE, "date": HOSTILE}
SPEC = {"title": HOSTILE, "input": HOSTILE, "output": HOSTILE, "solved": HOSTILE, "tools": []}
CASES = {
    "by": HOSTILE,
    "counts": {"dev": 4, "guard": 2, "hidden": 4},
    "dropped": [[HOSTILE, HOSTILE]],
    "trivial": {"empty": 0.0, "echo": 0.0, "constant": 0.1, "dev": 0.0, "guard": 0.0, "hidden": 0.25},
}


@pytest.fixture
def hostile(tmp_path: Path) -> Book:
    """Return a factory whose every text is hostile."""
    book = Book(tmp_path)
    book.append("began", options={})
    book.append("collected", posts=3, sources=[{"source": HOSTILE, "posts": 3, "skipped": {HOSTILE: 1}}])
    book.append("evidence", pieces=3, same=0, near=0)
    book.append("read", batch=1, of=1, found=[], fault=HOSTILE)
    told = {"title": HOSTILE, "statement": HOSTILE, "evidence": [EVIDENCE], "independent": 3, "needed": 3}
    book.append("problem", problem="p1", **told)
    book.append("spec", problem="p1", spec=SPEC)
    book.append("cases", problem="p1", **CASES)
    book.append("built", problem="p1", attempt=1, commit="c", fixed="")
    book.append("refused", problem="p1", attempt=1, reason=HOSTILE)
    book.append("discarded", problem="p1", stage="verify", reason=HOSTILE)
    book.append("listed", problems=1, enough=1)
    write_page(book)
    return book


def test_the_page_has_no_markup_of_a_stranger(hostile: Book) -> None:
    page = (hostile.root / PAGE).read_text()
    assert "<script" not in page and "<img" not in page and "\x1b" not in page and 'href="javascript' not in page
    assert page.count("&lt;script&gt;") > 10 and "{{ 7 * 7 }}" in page
    assert "default-src 'none'" in page


@needs_chromium
@pytest.mark.slow
def test_the_page_runs_nothing_in_a_browser_and_fits_a_telephone(hostile: Book) -> None:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800})
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(f"file://{hostile.root / PAGE}")
        assert page.title().startswith("Factory ") and said == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.query_selector_all("main script, main img, a[href^=javascript]") == []


@pytest.mark.slow
def test_the_terminal_gets_no_code_of_a_stranger(hostile: Book) -> None:
    done = command_line("factory", "status", str(hostile.root), cwd=hostile.root)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout and "\x07" not in done.stdout and "discarded" in done.stdout
    whole = command_line("factory", "status", "--json", cwd=hostile.root).stdout
    assert "\x1b" not in whole and json.loads(whole)["problems"][0]["title"] == HOSTILE


def test_a_card_escapes_markdown_and_html() -> None:
    problem = Problem("p1", HOSTILE, HOSTILE, (EVIDENCE,), 3, 3, spec=SPEC, cases=CASES)
    card = {
        "hidden": {"score": 1.0, "low": 0.5, "high": 1.0, "cases": 4, "lost_by_tag": {HOSTILE: [1, 2]}},
        "dev": 1.0,
        "guard": 1.0,
        "cost": {
            "tokens_a_case": None,
            "seconds_a_case": 0.1,
            "model_calls_a_case": 1.0,
            "tokens_to_make": 10,
            "tokens_estimated": True,
            "money_to_make": 0.25,
        },
        "failures": [{"id": "case-1", "input": HOSTILE, "score": 0.0}],
        "failed": 1,
        "model": HOSTILE,
    }
    text = card_text(problem, card)
    assert "<" not in text and "\x1b" not in text and "[link](" not in text and "**bold**" not in text
    assert "tokens a case: not counted by the server" in text
    assert "tokens to make it: 10, some of them estimated, which cost 0.2500; model:" in text


@pytest.mark.parametrize(
    ("title", "name"), [("../../etc", "etc"), ("Zähle Tage!", "z-hle-tage"), ("???", "agent"), ("a" * 90, "a" * 40)]
)
def test_a_folder_is_named_by_letters_and_digits_alone(title: str, name: str) -> None:
    assert slug(title) == name


def test_a_folder_without_a_factory_is_an_error_with_the_next_step(tmp_path: Path) -> None:
    done = command_line("factory", "status", cwd=tmp_path)
    assert (
        done.returncode == 1 and "there is no factory in" in done.stderr and "factory DIR --posts PATH" in done.stderr
    )
    done = command_line("factory", "mine", cwd=tmp_path)
    assert done.returncode == 1 and "there are no posts" in done.stderr and not (tmp_path / "mine").exists()
    assert not (tmp_path / FILE).exists()
