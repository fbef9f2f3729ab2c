"""Numbers look alike on a terminal, in the report and on the dashboard, and six decimals hide none of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.chromium import chromium, needs_chromium

import autoresearch_mlx.report
from autoresearch_mlx import terms

WORDS = Path(autoresearch_mlx.report.__file__).parent / "assets" / "words.js"
PLACES = [1.0, 2.510091, 9.99999949, 0.3, 4.7123e-5, 9.99996e-5]
NUMBERS = sorted(
    {sign * place * 10**power for sign in (1, -1) for place in PLACES for power in range(-12, 13)}
    | {
        0.0,
        -0.0,
        1e-4,
        9.9999999e-5,
        0.00010004,
        999.9999999,
        1000.0,
        1e6,
        123456.7,
        5e-324,
        1.7e308,
        3e-7,
        100.0,
        1200,
    }
)
SECONDS = [0.0, 0.49, 0.5, 1.5, 59.4, 59.5, 60, 599.99, 3599.5, 3600, 3661, 86_400, 1e6, -3]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (2.510091, "2.510091"),
        (1234.5678, "1234.57"),
        (0.000123, "0.000123"),
        (3e-7, "3e-07"),
        (5.234121e-05, "5.23412e-05"),
        (-3.14e-9, "-3.14e-09"),
        (0.0, "0"),
        (-0.0, "0"),
        (67.0, "67"),
        (1234567.0, "1234567"),
        (45.320635, "45.3206"),
        (None, "-"),
    ],
)
def test_a_metric_has_six_decimals_unless_they_would_hide_it(number: float | None, words: str) -> None:
    assert terms.value(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(0.004856, "+0.004856"), (-0.12, "-0.120000"), (0.0, "+0"), (-0.0, "+0"), (5.24123e-7, "+5.24e-07")],
)
def test_a_gain_has_its_sign_and_three_digits_where_it_is_tiny(number: float, words: str) -> None:
    assert terms.gain(number) == words


@pytest.mark.parametrize(
    ("number", "digits", "words"),
    [
        (0.00213, 2, "+0.0021"),
        (-0.5, 1, "-0.5"),
        (-79.6, 1, "-80"),
        (9.99, 2, "+10"),
        (1234.0, 2, "+1200"),
        (2.3e7, 2, "+2.3e+07"),
        (-0.0, 2, "+0"),
    ],
)
def test_an_estimated_gain_has_no_exponent_below_a_million(number: float, digits: int, words: str) -> None:
    assert terms.estimate(number, abs(number), digits) == f"{words} ± {words[1:]}"


def test_no_number_but_zero_looks_like_zero() -> None:
    for write in (terms.value, terms.amount, terms.gain):
        assert {number for number in NUMBERS if float(write(number)) == 0} == {0.0}


@pytest.fixture(scope="module")
def words_js() -> Iterator[Any]:
    """Call one function of words.js for each item of a list, in a browser."""
    with chromium() as browser:
        page = browser.new_page()

        def call(name: str, values: list[float | None]) -> list[str]:
            script = """async ([source, name, values]) => {
              const module = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
              return values.map((value) => module[name](value));
            }"""
            return list(page.evaluate(script, [WORDS.read_text(encoding="utf-8"), name, values]))

        yield call


@needs_chromium
@pytest.mark.uncounted
@pytest.mark.parametrize("name", ["value", "amount", "gain"])
def test_a_browser_writes_the_same(words_js: Any, name: str) -> None:
    numbers = [*NUMBERS, None]
    expected = [getattr(terms, name)(number) for number in numbers]
    assert dict(zip(numbers, words_js(name, numbers), strict=True)) == dict(zip(numbers, expected, strict=True))


@needs_chromium
@pytest.mark.uncounted
def test_a_browser_writes_counts_and_durations_the_same(words_js: Any) -> None:
    counts = [0, 7, 999, 1000, 1234567, 2.4, 1673.6, None]
    assert words_js("count", counts) == [terms.count(number) for number in counts]
    seconds = [*SECONDS, None]
    assert words_js("clock", seconds) == [terms.clock(number) for number in seconds]
