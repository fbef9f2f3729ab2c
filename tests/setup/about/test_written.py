"""A proved lab is written whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.setup.about.plan import Metric, Plan
from autoresearch_mlx.setup.about.prove import Proof
from autoresearch_mlx.setup.about.written import write_lab

pytestmark = pytest.mark.uncounted


def test_where_one_file_cannot_be_written_nothing_of_the_lab_stays(tmp_path: Path) -> None:
    first = "measuring/first/src/a.py.txt"
    files = {"lab.toml": b"", first: b"x = 1\n", f"{first}/b": b"below a file there is no place"}
    proof = Proof(Plan("size", (Metric("lines"),), ("src/a.py",), "true", ()), files=files)
    (tmp_path / "a.txt").touch()
    with pytest.raises(LabError, match="cannot be written"):
        list(write_lab(tmp_path, proof))
    assert [path.name for path in tmp_path.rglob("*")] == ["a.txt"]
