"""A proved lab is written whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.setup.about.plan import Metric, Plan
from autoresearch_mlx.setup.about.prove import Proof
from autoresearch_mlx.setup.about.written import has_knobs, write_lab

pytestmark = pytest.mark.uncounted


def test_where_one_file_cannot_be_written_nothing_of_the_lab_stays(tmp_path: Path) -> None:
    first = "measuring/first/src/a.py.txt"
    files = {"lab.toml": b"", first: b"x = 1\n", f"{first}/b": b"below a file there is no place"}
    proof = Proof(Plan("size", (Metric("lines"),), ("src/a.py",), "true", ()), files=files)
    (tmp_path / "a.txt").touch()
    with pytest.raises(LabError, match="cannot be written"):
        list(write_lab(tmp_path, proof))
    assert [path.name for path in tmp_path.rglob("*")] == ["a.txt"]


@pytest.mark.parametrize(
    ("name", "text", "moves"),
    [("a.py", "RATE = 0.1\n", True), ("a.py", "def f(): ...\n", False), ("a.js", "RATE = 0.1\n", False)],
)
def test_whether_an_optimiser_has_anything_to_move_is_known(tmp_path: Path, name: str, text: str, moves: bool) -> None:
    (tmp_path / name).write_text(text)
    assert has_knobs(tmp_path, (name,)) is moves
