"""Each machine that does not fit is refused with a message that names the remedy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import write_command_lab

from autoresearch_mlx.fleet.admission import Wanted, facts_here, refusals, wanted_here

WANTED = Wanted("1.2", "c0de", "3.11", "0.32", "macosx_26_0_arm64", "ab12", "tinystories", 8 * 2**30)
FIT: dict[str, Any] = {
    "version": "1.2",
    "code": "c0de",
    "python": "3.11",
    "mlx": "0.32",
    "wheel": "macosx_26_0_arm64",
    "corpora": ["0000", "ab12"],
    "wrong_products": "",
    "memory_bytes": 16 * 2**30,
    "free_bytes": 50 * 10**9,
}


def test_a_machine_that_fits_is_admitted() -> None:
    assert list(refusals(WANTED, FIT)) == []


@pytest.mark.parametrize(
    ("fact", "value", "said", "remedy"),
    [
        ("version", "1.1", "autoresearch-mlx 1.1, the coordinator 1.2", "pip install autoresearch-mlx==1.2"),
        ("code", "beef", "code differs", "install the same commit"),
        ("python", "3.14", "Python 3.14, the coordinator 3.11", "install Python 3.11 here"),
        ("mlx", "0.31", "MLX 0.31, the coordinator 0.32", "pip install 'mlx~=0.32.0'"),
        ("mlx", None, "MLX None", "pip install 'mlx~=0.32.0'"),
        ("wheel", "macosx_14_0_arm64", "for macosx_14_0_arm64", "pip install --force-reinstall mlx"),
        ("corpora", [], "does not have the session's corpus", "autoresearch-mlx prepare tinystories"),
        ("wrong_products", "3 of 90 results are wrong", "3 of 90 results are wrong", "pip install mlx"),
        ("memory_bytes", 4 * 2**30, "takes 8.0 GB of memory, and this machine has 4.0 GB", "leave this machine out"),
        ("free_bytes", 10**8, "only 0.1 GB of disk are free", "free some space"),
    ],
)
def test_one_fact_that_does_not_fit_is_named_with_its_remedy(fact: str, value: Any, said: str, remedy: str) -> None:
    (words,) = refusals(WANTED, {**FIT, fact: value})
    assert said in words and remedy in words


def test_facts_of_another_form_refuse_the_machine_and_raise_nothing() -> None:
    assert list(refusals(WANTED, {}))
    assert list(refusals(WANTED, {"version": 3, "corpora": None, "free_bytes": "much", "memory_bytes": None}))


def test_a_linux_machine_has_no_build_to_compare() -> None:
    assert list(refusals(WANTED, {**FIT, "wheel": None})) == []


def test_this_machine_fits_its_own_lab(tmp_path: Path) -> None:
    lab = write_command_lab(tmp_path / "lab")
    wanted = wanted_here(lab)
    assert wanted.mlx is None and wanted.corpus is None, "a program needs no MLX and no corpus"
    assert list(refusals(wanted, facts_here(tmp_path))) == []
    assert list(refusals(replace(wanted, code="another"), facts_here(tmp_path)))
