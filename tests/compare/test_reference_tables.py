"""Every table in data/ is complete: its rows fit the schema, name a source, and claim nothing about absolute values."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from conftest import ROOT

from autoresearch_mlx.compare.log import of_reference
from autoresearch_mlx.compare.match import pairs
from autoresearch_mlx.compare.reference import TABLES, Reference, find, references
from autoresearch_mlx.errors import ConfigError, TableError
from autoresearch_mlx.hardware.chips import read_chips

DATA = ROOT / "data"
ABSOLUTE = re.compile(r"\b(always|never|proves?|proven|best ever|state of the art|significant\w*|faster than)\b", re.I)


@pytest.fixture(scope="module")
def logs() -> tuple[Reference, ...]:
    return references()


def test_every_row_has_a_source_and_hardware(logs: tuple[Reference, ...]) -> None:
    for log in logs:
        for run in log.runs:
            assert re.match(r"https://github\.com/[\w.-]+/[\w.-]+", run.source), (log.name, run.order)
            assert (run.hardware and run.comparable) or run.caveat, (log.name, run.order)


def test_names_are_words_that_a_shell_takes_as_they_are(logs: tuple[Reference, ...]) -> None:
    names = [log.name for log in logs]
    assert all(re.fullmatch(r"[A-Za-z0-9-]+", name) for name in names)
    assert len({name.lower() for name in names}) == len(names)


def test_what_does_not_compare_is_left_out_of_the_effects(logs: tuple[Reference, ...]) -> None:
    by_name = {log.name: log for log in logs}
    for name in ("A100-shared", "H100x4-moe", "H200-automl", "M4Max-ncdrone", "Apple-singles"):
        assert of_reference(by_name[name]).effects == ()
    longer = [run for run in by_name["M4Pro-reowens"].runs if run.order >= 84]
    assert len(longer) == 11 and not any(run.comparable for run in longer)


def test_notes_are_short_and_claim_nothing_absolute(logs: tuple[Reference, ...]) -> None:
    for log in logs:
        for run in log.runs:
            assert len(run.note) <= 80 and len(run.caveat) <= 120
            assert not ABSOLUTE.search(run.note + run.caveat), (log.name, run.order)


def test_most_comparable_rows_have_an_axis(logs: tuple[Reference, ...]) -> None:
    rows = [run for log in logs for run in log.runs if run.comparable and run.order > 0]
    assert sum(run.axis == "other" for run in rows) / len(rows) < 0.06
    assert len(rows) > 500


def test_the_second_session_kept_what_the_first_threw_away() -> None:
    one, two = of_reference(find("H100")).effects, of_reference(find("h100-mar7")).effects
    warmup = next(p for p in pairs(one, two) if "WARMUP_RATIO" in p.there.run.changes)
    assert warmup.there.gain == pytest.approx(-0.00083) and warmup.here.gain == pytest.approx(0.0022)


def test_the_strategies_of_the_one_controlled_study() -> None:
    with (DATA / "strategies.tsv").open(encoding="utf-8", newline="") as file:
        told = (line for line in file if not line.startswith("#"))
        rows = list(csv.DictReader(told, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True))
    assert len(rows) == 25 and all(row["source"].startswith("arXiv:2603.24647") for row in rows)
    assert all(float(row["mean_best"]) > 0 and row["comparable"] in ("yes", "no") for row in rows)
    best = {row["strategy"]: float(row["mean_best"]) for row in rows if not row["model"] and row["seeds"] == "8"}
    assert sorted(best, key=lambda name: best[name]) == ["TPE", "CMA-ES", "SMAC", "Random"]


def test_a_damaged_table_is_named_by_line(tmp_path: Path) -> None:
    lines = (DATA / "chips.tsv").read_text(encoding="utf-8").splitlines()
    path = tmp_path / "damaged.tsv"
    path.write_text("\n".join([*lines[:-1], lines[-1].replace("\t", "\tx", 4)]) + "\n")
    with pytest.raises(TableError, match=f"line {len(lines)}"):
        read_chips(path)


def test_the_tables_are_small_enough_for_a_wheel() -> None:
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 10**6


def test_the_readme_explains_every_table() -> None:
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    assert all(f"## {path.name}" in readme for path in DATA.glob("*.tsv"))
    trials = {"cpu_trials.tsv"}  # of the bench's landscape, which `compare` does not read
    found = {path.name for path in DATA.glob("*_*.tsv")} - trials
    assert {f"{DATA.name}/{name}" for name in found} == set(TABLES)


def test_a_name_that_is_none_has_a_near_one() -> None:
    with pytest.raises(ConfigError) as caught:
        find("H10")
    assert caught.value.hint == "did you mean H100?"
