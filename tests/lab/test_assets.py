"""Files of the repository's root are found, in a checkout and in an installed package."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.lab.assets import asset

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["train_mlx.py", "program.md", "data/cuda_baseline.tsv"])
def test_in_a_checkout_the_files_lie_beside_the_package(name: str) -> None:
    assert asset(name) == ROOT / name


def test_in_a_wheel_the_files_lie_inside_the_package_and_come_first(tmp_path: Path) -> None:
    inside, beside = tmp_path / "package" / "_lab" / "data" / "t.tsv", tmp_path / "data" / "t.tsv"
    for place in (beside, inside):
        place.parent.mkdir(parents=True)
        place.touch()
        assert asset("data/t.tsv", tmp_path / "package") == place


def test_a_file_in_neither_place_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"t\.tsv is missing from the installation"):
        asset("data/t.tsv", tmp_path / "package")
