"""The page in a real Chromium: offline, quick, and safe from anything that agents and logs write."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium as a_browser
from chromium import needs_chromium
from report.pages import Night
from report.sight import seen

from autoresearch_mlx.report.page.gather import page_of
from autoresearch_mlx.report.page.html import write_report

pytestmark = [needs_chromium, pytest.mark.slow, pytest.mark.uncounted]

HOSTILE = (
    " <img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
    "</script></title></textarea><svg onload=alert(1)>\"'><a href=javascript:alert(1)>]]>--> `x`"
)


def written(tmp: Path, night: Night) -> Path:
    folder = night.write(tmp / ".autoresearch" / "jul14", tmp)
    return write_report(page_of(folder, tmp), folder / "report")[0]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with a_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("night"), Night(126, certify=True))


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("week"), Night(1000))


def test_it_asks_nothing_of_any_network_and_complains_of_nothing(chromium: Any, night: Path) -> None:
    with seen(chromium, night) as sight:
        assert [url for url in sight.requests if not url.startswith("data:")] == []
        assert sight.errors == []
        assert sight.ask("document.querySelectorAll('#progress circle.dot.keep').length") == 10  # with the baseline


def test_what_is_not_known_is_no_word_of_a_programming_language(chromium: Any, tmp_path: Path) -> None:
    with seen(chromium, written(tmp_path, Night(12))) as sight:
        for fold in sight.page.locator("details > summary").all():
            fold.click()
        text = sight.page.locator("body").inner_text()
        assert "baseline" in text
        assert [word for word in ("undefined", "NaN", "null", "None") if word in text.split()] == []


def test_hostile_text_stays_text(chromium: Any, tmp_path: Path) -> None:
    with seen(chromium, written(tmp_path, Night(40, hostile=HOSTILE))) as sight:
        for opener in sight.page.locator("#sheet .open").all():
            opener.click()
        for point in ("End", "ArrowLeft", "Home"):
            sight.page.locator("#progress svg").press(point)
        for fold in sight.page.locator("details > summary").all():
            fold.click()
        assert sight.page.title().startswith("autoresearch jul14")
        assert sight.ask("document.querySelectorAll('img, [onerror], [onload], a[href^=javascript]').length") == 0
        assert sight.ask("document.scripts.length") == 2
        assert "<img src=x onerror" in sight.page.locator("#sheet").inner_text()
        assert sight.errors == []
        assert [url for url in sight.requests if not url.startswith("data:")] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_the_page_does_not_scroll_sideways(chromium: Any, night: Path, scheme: str) -> None:
    with seen(chromium, night, 375, 800, scheme) as sight:
        sight.page.locator("#sheet .open").first.click()
        assert sight.ask("document.documentElement.scrollWidth") == 375
        inside = sight.page.locator(".inside").bounding_box()
        assert inside["x"] >= 0 and inside["x"] + inside["width"] <= 375


def contrast(sight: Any, foreground: str, background: str) -> float:
    """Return the contrast of two of the page's colours, as WCAG defines it."""
    script = "name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()"
    shades = sorted(luminance(sight.page.evaluate(script, name)) for name in (foreground, background))
    return (shades[1] + 0.05) / (shades[0] + 0.05)


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(chromium: Any, night: Path, scheme: str) -> None:
    pairs = [("--ink", "--ground"), ("--soft", "--ground"), ("--soft", "--wash"), ("--keep", "--keep-wash"),
             ("--fail", "--fail-wash"), ("--link", "--ground"), ("--other", "--wash")]  # fmt: skip
    with seen(chromium, night, scheme=scheme) as sight:
        assert {pair: contrast(sight, *pair) for pair in pairs if contrast(sight, *pair) < 4.5} == {}


def test_the_switch_turns_light_into_dark_and_back(chromium: Any, night: Path) -> None:
    with seen(chromium, night) as sight:
        ground = "getComputedStyle(document.body).backgroundColor"
        light = sight.ask(ground)
        sight.page.click("#theme")
        assert sight.ask(ground) != light
        sight.page.click("#theme")
        assert sight.ask(ground) == light


def test_the_table_is_filtered_sorted_and_opened(chromium: Any, night: Path) -> None:
    with seen(chromium, night) as sight:
        page = sight.page
        page.get_by_role("button", name="keep 9 + baseline").click()
        assert page.locator("#sheet tr.row").count() == 10
        page.get_by_role("button", name="val_bpb").click()
        values = [float(cell) for cell in page.locator("#sheet tr.row td:nth-child(3)").all_inner_texts()]
        assert values == sorted(values)
        page.fill("input[type=search]", "rope_base")
        assert page.locator("#sheet tr.row").count() == 1
        page.locator("#sheet .open").press("Enter")
        opened = page.locator(".inside").inner_text()
        assert "+ROPE_BASE = 200000" in opened and "A shorter run wants" in opened and "step 19 loss" in opened


def test_a_point_of_the_plot_leads_to_its_row_by_keys_alone(chromium: Any, night: Path) -> None:
    with seen(chromium, night) as sight:
        plot = sight.page.locator("#progress svg")
        plot.press("End")
        assert "#126" in sight.page.locator("#progress .tip").inner_text()
        plot.press("Enter")
        assert sight.page.locator("#e126 .open").get_attribute("aria-expanded") == "true"


def test_the_plot_goes_over_hours_and_tokens_and_zooms(chromium: Any, night: Path) -> None:
    with seen(chromium, night) as sight:
        page = sight.page
        for key, name in (("hours", "hours of work"), ("tokens", "tokens trained")):
            page.select_option("#progress select", key)
            assert name in page.locator("#progress svg").inner_html()
        box = page.locator("#progress svg").bounding_box()
        page.mouse.move(box["x"] + 300, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(box["x"] + 700, box["y"] + 300, steps=4)
        page.mouse.up()
        assert page.get_by_role("button", name="whole plot").is_visible()
        assert 0 < page.locator("#progress circle.dot").count() < 100


def overlaps(sight: Any) -> int:
    return int(
        sight.ask("""() => {
          const labels = [...document.querySelectorAll('#progress text.label')];
          const boxes = labels.map((label) => label.getBoundingClientRect());
          const beside = (a, b) => a.right <= b.left || b.right <= a.left;
          const apart = (a, b) => beside(a, b) || a.bottom - 3 <= b.top || b.bottom - 3 <= a.top;
          return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => !apart(a, b))).length;
        }""")
    )


@pytest.mark.parametrize("width", [375, 1280])
def test_no_label_covers_another(chromium: Any, night: Path, week: Path, width: int) -> None:
    for file in (night, week):
        with seen(chromium, file, width) as sight:
            assert sight.page.locator("#progress text.label").count() >= 3
            assert overlaps(sight) == 0


def test_a_thousand_experiments_are_filtered_and_scrolled_at_once(chromium: Any, week: Path) -> None:
    assert week.stat().st_size < 5_000_000
    with seen(chromium, week) as sight:
        began = time.monotonic()
        sight.page.fill("input[type=search]", "matrix")
        sight.page.fill("input[type=search]", "")
        assert time.monotonic() - began < 5  # far more than it takes; a person would notice much less
        frame, rows = "document.querySelector('#sheet .sheet')", sight.page.locator("#sheet tr.row")
        patience = time.monotonic() + 20
        while rows.count() < 1001 and time.monotonic() < patience:
            sight.ask(f"{frame}.scrollTop = {frame}.scrollHeight")
            sight.page.wait_for_timeout(40)
        assert rows.count() == 1001
