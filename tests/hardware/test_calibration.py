"""A calibration in the user's cache is written as a whole, and is not used for another machine or setup."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from made_up_machines import DATE, calibrated, mac

from autoresearch_mlx.hardware.calibration import Basis, Scored, load, place, store

MACHINE = mac("M4 Max", 40, 48)
NOW = datetime.fromisoformat(DATE) + timedelta(days=3)


@pytest.fixture
def basis(tmp_path: Path) -> Basis:
    found = calibrated(MACHINE, 0.1, None)
    store(found, tmp_path)
    assert load(found.basis, tmp_path, NOW) == (found, None)
    return found.basis


def test_none_was_ever_taken(tmp_path: Path) -> None:
    assert load(calibrated(MACHINE, 0.1).basis, tmp_path) == (None, None)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"mlx": "0.33.0"}, "the calibration of 2026-11-20 is stale: mlx was 0.32.4 and is 0.33.0"),
        ({"system": "macOS 26.2"}, "system was macOS 26.1 and is macOS 26.2"),
        ({"memory_bytes": None}, "is unknown"),
        ({"knobs": {"DEPTH": 9}}, "knobs was"),
    ],
)
def test_what_was_measured_with_something_else_is_stale(
    basis: Basis, tmp_path: Path, changed: dict[str, object], words: str
) -> None:
    found, why = load(replace(basis, **changed), tmp_path, NOW)  # type: ignore[arg-type]
    assert found is None and why is not None and words in why


def test_another_profile_is_another_file(basis: Basis, tmp_path: Path) -> None:
    assert load(replace(basis, profile="mac-8gb"), tmp_path, NOW) == (None, None)


def test_it_grows_old(basis: Basis, tmp_path: Path) -> None:
    _, why = load(basis, tmp_path, NOW + timedelta(days=100))
    assert why == "the calibration of 2026-11-20 is stale: it is 103 days old"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "calibration": {"date": 3}}', "\xff"])
def test_a_damaged_file_counts_as_none_and_is_named(basis: Basis, tmp_path: Path, text: str) -> None:
    path = place(basis, tmp_path)
    path.write_text(text, encoding="latin-1")
    found, why = load(basis, tmp_path, NOW)
    assert found is None and why is not None and str(path) in why


@pytest.mark.parametrize("value", [-1.0, 0, "NaN", "Infinity", "fast"])
def test_a_figure_that_is_none_damages_it(basis: Basis, tmp_path: Path, value: object) -> None:
    path = place(basis, tmp_path)
    stored = json.loads(path.read_text())
    stored["calibration"]["paces"][0]["seconds"] = value
    path.write_text(json.dumps(stored))
    found, why = load(basis, tmp_path, NOW)
    assert found is None and why is not None and "cannot be read" in why


def test_another_schema_is_stale(basis: Basis, tmp_path: Path) -> None:
    path = place(basis, tmp_path)
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 7'))
    assert "schema 7" in str(load(basis, tmp_path, NOW)[1])


def test_an_evaluation_is_scaled_by_its_rows_and_never_below_what_fewer_took() -> None:
    scored = Scored(200, 12.0, 100, 7.0)
    assert [scored.seconds_for(rows) for rows in (200, 300, 100, 1)] == [12.0, 17.0, 7.0, 7.0]
    assert Scored(8, 4.0, 8, 4.0).seconds_for(16) == 8.0
    assert Scored(200, 6.9, 100, 7.0).seconds_for(400) == 7.0  # noise: more rows took no longer


def test_the_overhead_is_unknown_while_a_part_of_it_is() -> None:
    assert calibrated(MACHINE, 0.1).overhead(384) == 16.0
    assert calibrated(MACHINE, 0.1, scored=None).overhead(384) is None
    assert calibrated(MACHINE, 0.1, compile_seconds=None).overhead(384) is None
