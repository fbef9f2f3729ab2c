"""``progress.png``: its size, and that its labels never cover one another."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from report.nights import night, write_session
from report.pages import Night

from autoresearch_mlx.report.page.gather import page_of
from autoresearch_mlx.report.page.picture import Box, Label, lead_of, place, render_progress
from autoresearch_mlx.report.page.span import worth_showing

FRAME = Box(0, 0, 1000, 500)


def test_labels_keep_apart_from_each_other_and_from_what_is_there() -> None:
    labels = [Label(400 + 9 * n, 200 + 5 * n, 160, 14) for n in range(30)]
    dots = [Box(label.x - 5, label.y - 5, label.x + 5, label.y + 5) for label in labels]
    boxes = place(labels, FRAME, dots, most=30)
    assert len(boxes) > 6
    for at, box in boxes.items():
        assert box.inside(FRAME)
        assert not any(box.meets(dot) for dot in dots)
        others = [other for other_at, other in boxes.items() if other_at != at]
        assert not any(box.meets(other) or lead_of(labels[at], box).meets(other) for other in others)


def test_the_first_labels_are_the_first_to_find_room() -> None:
    crowd = [Label(500, 250, 400, 200)] * 7
    assert set(place(crowd, FRAME)) == {0, 1, 2, 3}
    assert set(place(crowd, FRAME, most=1)) == {0}


def test_no_label_leaves_the_frame() -> None:
    assert place([Label(990, 490, 1200, 14)], FRAME) == {}


def test_a_few_wild_values_do_not_flatten_the_rest() -> None:
    kept = [(2.5 - 0.001 * n, True) for n in range(20)]
    tried = [(2.5 + 0.0005 * n, False) for n in range(40)]
    low, high = worth_showing([*kept, *tried, (9.0, False), (0.1, False)])
    assert low < 2.481 and 2.5 < high < 2.56


def test_a_single_value_has_room_around_it() -> None:
    low, high = worth_showing([(2.5, True)])
    assert low < 2.5 < high
    low, high = worth_showing([(0.0, True)])
    assert low < 0.0 < high


def test_a_short_session_without_a_keep_shows_what_was_tried() -> None:
    low, high = worth_showing([(15.51, True), (15.4, False), (17.2, False)])
    assert low < 15.4 and high > 17.2
    low, high = worth_showing([(15.51, True), (15.4, False), (15.7, False), (15.6, False), (90.0, False)])
    assert low < 15.4 and 15.7 < high < 17


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 6, 126, pytest.param(1000, marks=pytest.mark.uncounted)])
def test_a_picture_for_a_post(tmp_path: Path, count: int) -> None:
    from PIL import Image

    page = page_of(Night(count).write(tmp_path / "jul14"), tmp_path)
    picture = Image.open(io.BytesIO(render_progress(page)))
    assert picture.size == (1200, 675)


@pytest.mark.slow
def test_a_session_without_a_value_says_so_instead_of_failing(tmp_path: Path) -> None:
    for tried in ([], night()[3:]):
        folder = write_session(tmp_path / f"s{len(tried)}", tried)
        assert render_progress(page_of(folder, tmp_path)).startswith(b"\x89PNG")


def test_a_title_that_the_font_lacks_or_that_looks_like_mathematics(tmp_path: Path) -> None:
    page = page_of(Night(60, hostile=" $\\frac{1}{0}$ 試してみる \x1b[31m").write(tmp_path / "jul14"), tmp_path)
    assert render_progress(page).startswith(b"\x89PNG")


def test_a_value_better_than_the_incumbents_is_shown_unless_it_would_double_the_range() -> None:
    kept = [(2.5, True), (2.4, True)]
    low, _ = worth_showing([*kept, (2.35, False)], [2.35])
    assert low < 2.35
    low, _ = worth_showing([*kept, (0.1, False)], [0.1])
    assert low > 2.0
