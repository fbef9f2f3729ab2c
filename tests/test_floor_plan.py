"""The rooms of the package: how many there are, which room imports which, and that docs/design.md says the same."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import floor_plan
import pytest
from conftest import ROOT

pytestmark = pytest.mark.uncounted

PACKAGE = ROOT / "autoresearch_mlx"
EVERYBODY = {"errors", "experiment"}
"""Rooms that every room may import; the table leaves them out."""


def rows() -> list[tuple[str, set[str] | None]]:
    """Return the rows of the table in docs/design.md: a room, and the rooms that it imports (None: all below it)."""
    page = (ROOT / "docs" / "design.md").read_text().split("## The rooms")[1].split("\n## ")[0]
    cells = [row.strip("| ").split(" | ") for row in page.splitlines() if row.startswith("| `")]
    named = [(re.findall(r"`(\w+)(?:/|\.py)`", first), last) for first, _, last in cells]
    return [
        (room, None if "everything" in last else set(re.findall(r"`(\w+)`", last)))
        for found, last in named
        for room in found
    ]


def test_at_most_five_modules_lie_loose_and_the_rest_has_thirteen_to_fifteen_folders() -> None:
    assert len(floor_plan.loose_modules(PACKAGE)) <= 5
    assert 13 <= len(floor_plan.folders(PACKAGE)) <= 15


def test_the_design_page_names_every_room_once() -> None:
    assert sorted(room for room, _ in rows()) == sorted(floor_plan.rooms(PACKAGE))


@pytest.mark.slow
def test_the_design_page_tells_what_each_room_imports() -> None:
    arrows = floor_plan.arrows(PACKAGE)
    for room, told in rows():
        assert told is None or told == arrows[room] - EVERYBODY, room


@pytest.mark.slow
def test_no_room_imports_a_room_above_it() -> None:
    assert floor_plan.upward(floor_plan.arrows(PACKAGE), [room for room, _ in rows()]) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert floor_plan.circles(PACKAGE) == []


def test_the_longest_chain_of_rooms_is_ten_or_less() -> None:
    assert len(floor_plan.longest_chain(floor_plan.arrows(PACKAGE))) <= 10


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        ("store/ledger.py", "from autoresearch_mlx.loop import session", "store imports loop, which stands above it"),
        ("judge/sigma.py", "import autoresearch_mlx.cli.read", "judge imports cli, which stands above it"),
        (
            "terms.py",
            "def late() -> None:\n    from autoresearch_mlx.report.terminal import log",
            "terms imports report, which stands above it",
        ),
    ],
)
def test_an_import_upwards_is_found(file: str, line: str, said: str, tmp_path: Path) -> None:
    package = tmp_path / "autoresearch_mlx"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / file).open("a") as source:
        source.write(f"\n\n{line}\n")
    assert said in floor_plan.upward(floor_plan.arrows(package), [room for room, _ in rows()])


def test_a_circle_inside_a_room_is_found(tmp_path: Path) -> None:
    package = tmp_path / "pack"
    (package / "room").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "room/__init__.py": "",
        "room/one.py": "from pack.room.two import X",
        "room/two.py": "from pack.room import three",
        "room/three.py": "def f() -> None:\n    from pack.room.one import Y",
    }.items():
        (package / name).write_text(text)
    assert floor_plan.circles(package) == [["pack.room.one", "pack.room.three", "pack.room.two"]]


@pytest.mark.parametrize("room", sorted(floor_plan.folders(PACKAGE)))
def test_each_room_has_a_page_of_its_own(room: str) -> None:
    """The page says what the room is for, where to start, and which rooms it may import: at most the rooms that the
    table allows."""
    page = PACKAGE / room / "README.md"
    text = page.read_text()
    assert len(text.splitlines()) <= 20, "some ten lines"
    (may,) = re.findall(r"^May import: (.*)$", text, re.MULTILINE)
    (told,) = [imports for name, imports in rows() if name == room]
    if told is None:
        assert "everything" in may
    else:
        assert set(re.findall(r"`(\w+)`", may)) - EVERYBODY == told
