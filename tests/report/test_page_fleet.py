"""The pages of a night of several machines: a strip for each, one level for all values, and where changes hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium as a_browser
from chromium import needs_chromium
from report.pages import Night
from report.sight import seen

from autoresearch_mlx.report.dashboard.views import session_view
from autoresearch_mlx.report.page.content import Page, to_json
from autoresearch_mlx.report.page.gather import page_of
from autoresearch_mlx.report.page.html import render_html, write_report
from autoresearch_mlx.report.page.markdown import render_text
from autoresearch_mlx.report.show import render_show
from autoresearch_mlx.store.ledger import FILE, read

LEDGER = Path(__file__).parents[1] / "compare" / "golden" / "fleet" / "ledger.jsonl"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("lab") / ".autoresearch" / "nov29"
    found.mkdir(parents=True)
    (found / FILE).write_bytes(LEDGER.read_bytes())
    return found


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return page_of(folder, folder.parents[1])


def test_the_page_has_a_strip_for_each_machine_with_all_that_it_measured(page: Page) -> None:
    assert page.fleet is not None
    desk, attic = page.fleet.strips
    assert (desk.machine, attic.machine) == ("desk", "attic")
    assert {cell.number for cell in desk.cells} | {cell.number for cell in attic.cells} == set(range(1, 15))
    (crash,) = (cell for cell in (*desk.cells, *attic.cells) if cell.number == 6)
    assert crash.sigmas is None and crash.status == "crash"


def test_values_of_machines_that_lie_a_quarter_apart_share_one_level_in_the_plot(page: Page) -> None:
    shown = [row.shown for row in page.experiments if row.status == "keep" and row.shown is not None]
    assert len(shown) == 6 and max(shown) - min(shown) < 0.05
    values = [row.value for row in page.experiments if row.status == "keep" and row.value is not None]
    assert max(values) - min(values) > 0.2, "the table has the values as measured"


def test_a_better_value_that_was_not_kept_says_why(page: Page) -> None:
    assert {row.number: row.ahead for row in page.experiments if row.ahead} == {
        3: "better on one chip alone",
        12: "better on one chip alone",
    }


def test_the_noise_is_that_of_runs_on_one_machine(page: Page) -> None:
    assert {(run.number, run.regime) for run in page.noise.again} >= {(0, 1), (0, 2), (7, 1)}
    assert all(abs(run.off) < 0.01 for run in page.noise.again), "the machines lie 0.25 apart"
    assert page.noise.regimes == (), "a machine of the fleet is not a change of the machine"


def test_the_post_and_the_document_have_the_machines(page: Page) -> None:
    assert "| `DEPTH 4 -> 6` | discard |" in render_text(page) and "on Apple M4 Max alone" in render_text(page)
    assert [strip["machine"] for strip in to_json(page)["fleet"]["strips"]] == ["desk", "attic"]


def test_show_names_the_machine_of_each_run() -> None:
    text = render_show(read(LEDGER).history.experiments[3], None, None, "val_bpb", 80)
    assert "\nmachine         desk      attic\n" in text
    assert "seed 42 on attic: chip Apple M1, gpu_cores 8\n" in text and "fleet_machine" not in text


def test_a_session_on_one_machine_shows_nothing_new(tmp_path: Path) -> None:
    folder = Night(6).write(tmp_path / ".autoresearch" / "jul14", tmp_path)
    plain = page_of(folder, tmp_path)
    document = to_json(plain)
    assert plain.fleet is None and "fleet" not in document and "level" not in document["experiments"][0]
    assert 'id="strips"' not in render_html(plain) and "Machines of the fleet" not in render_text(plain)
    assert session_view(folder, read(folder / FILE), None)["fleet"] is None


def test_the_dashboard_gets_the_same_strips(folder: Path, page: Page) -> None:
    view = session_view(folder, read(folder / FILE), None)
    assert view["fleet"] == to_json(page)["fleet"]
    json.dumps(view["fleet"], allow_nan=False)
    assert view["night"][8]["level"] < 1.2 < view["night"][8]["value"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with a_browser() as opened:
        yield opened


@needs_chromium
@pytest.mark.uncounted
@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.slow
def test_a_browser_draws_a_bar_for_each_change_and_machine(chromium: Any, folder: Path, page: Page, width: int) -> None:
    assert page.fleet is not None
    bars = sum(len(strip.cells) for strip in page.fleet.strips)
    with seen(chromium, write_report(page, folder / "report")[0], width=width) as sight:
        assert sight.ask("document.querySelectorAll('#strips rect.dot').length") == bars
        assert sight.ask("document.documentElement.scrollWidth <= innerWidth") is True
        assert sight.errors == []
