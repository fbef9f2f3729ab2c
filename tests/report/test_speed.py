"""A run's machine speed is shown with its value, if it is known, and runs on a slow machine are marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from report.nights import experiment, measured, night

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Experiment, Measurement
from autoresearch_mlx.report.page.content import to_json as page_json
from autoresearch_mlx.report.page.gather import page_of
from autoresearch_mlx.report.page.markdown import render_text
from autoresearch_mlx.report.show import render_show
from autoresearch_mlx.report.status import status_of, to_json
from autoresearch_mlx.report.terminal import render_log, render_status

BY = "other programs took 41 % of the processor: Spotlight, python"


def at_speed(speed: float, value: float = 2.43, seed: int = 42, number: int = 1) -> Measurement:
    """Return a run at this speed; its budget was lengthened to make up for it."""
    by = BY if speed < 0.95 else ""
    return replace(measured(value, seed, number), speed=speed, stretch=min(1.5, 1 / speed), disturbed_by=by)


def busy() -> list[Experiment]:
    effect = {"gain": 0.03, "low": 0.01, "high": 0.05, "z": 2.5, "error": 0.012, "raw": 0.031}
    return [
        experiment(0, "keep", "baseline", value=2.5, reason="baseline", measurements=(at_speed(1.0, 2.5, number=0),)),
        experiment(1, "keep", "MATRIX_LR 0.04 -> 0.028", value=2.43, gain=0.07, axis="lr.matrix",
                   measurements=(at_speed(0.98, 2.43), at_speed(0.96, 2.43, 43))),
        experiment(2, "discard", "DEPTH 4 -> 5", value=2.44, gain=-0.01, axis="depth", measurements=(at_speed(0.59),),
                   effect={**effect, "speed_error": 0.01, "speed_gain": 0.021}),
        experiment(3, "discard", "DEPTH 4 -> 3", value=2.45, gain=-0.02, axis="depth",
                   measurements=(replace(at_speed(0.4), tainted=True, extra={"tainted": BY}), at_speed(0.97, 2.45))),
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, write: Callable[..., Path]) -> Path:
    return write(tmp_path / "jul16", busy())


def test_log_has_a_column_for_it_and_marks_what_ran_on_a_slow_machine() -> None:
    text = render_log(busy(), "val_bpb", "min", 110)
    head, *rows = text.splitlines()[:5]
    assert head.split() == ["#", "status", "val_bpb", "gain", "speed", "axis", "title"]
    assert [row.split("  ")[-3].strip() for row in rows] != []
    assert ["100 %" in rows[0], "97 %" in rows[1], "59 %" in rows[2], "97 %" in rows[3]] == [True] * 4
    assert ["~" in row for row in rows] == [False, False, True, False]  # a disturbed run does not count
    assert "~ ran on a slow machine (`show N`)" in text


@pytest.mark.parametrize("width", [40, 60, 80, 160])
def test_log_keeps_to_the_terminal_with_it(width: int) -> None:
    assert max(map(terms.columns, render_log(busy(), "val_bpb", "min", width).splitlines())) <= width


def test_a_night_that_recorded_no_speed_shows_none() -> None:
    assert "speed" not in render_log(night(), "val_bpb", "min", 160)


def test_status_says_how_fast_the_newest_run_was_and_how_often_it_was_slow(folder: Path) -> None:
    text = " ".join(render_status(status_of(folder), 200).split())
    assert "incumbent 2.430000 #1 01c0ffe at 96 % speed" in text
    assert "speed 97 % of the baseline's in the newest run; 2 of 6 runs under 90 %" in text
    document = to_json(status_of(folder))
    assert document["speed"] == {"newest": 0.97, "disturbed_by": "", "slow": 2, "runs": 6}
    assert document["incumbent"]["speed"] == pytest.approx(0.96)  # its first run is not in the value


def test_status_names_what_slows_the_machine_now(tmp_path: Path, write: Callable[..., Path]) -> None:
    folder = write(tmp_path / "jul17", busy()[:3])
    text = " ".join(render_status(status_of(folder), 200).split())
    assert f"speed 59 % of the baseline's in the newest run: {BY}; 1 of 4 runs under 90 %" in text


def test_status_names_the_experiments_whose_runs_were_disturbed(tmp_path: Path, write: Callable[..., Path]) -> None:
    def said(name: str, night: list[Experiment]) -> str:
        return " ".join(render_status(status_of(write(tmp_path / name, night)), 200).split())

    assert "disturbed 1 run of experiment 3 does not count; `show 3` says why" in said("one", busy())
    tainted = replace(at_speed(0.4, number=4), tainted=True)
    more = experiment(4, "invalid", "DEPTH 4 -> 2", measurements=(tainted, tainted))
    text = said("more", [*busy(), more])
    assert "disturbed 3 runs of experiments 3 and 4 do not count; `show N` says why" in text


def test_show_has_it_beside_the_value_with_the_reason_and_what_was_allowed_for() -> None:
    text = " ".join(render_show(busy()[2], None, None, "val_bpb", 200).split())
    assert "measured +0.010000, plus 0.021000 for the machine's speed" in text
    assert "seed val_bpb speed start" in text
    assert f"slowed seed 42: this run had 59 % speed and 1.50 times its budget: {BY}" in text


@pytest.mark.parametrize(
    ("raw", "allowed", "said"),
    [
        pytest.param(0.029839, -0.054406, "measured +0.084245, less 0.054406 for the machine's speed)", id="less"),
        pytest.param(0.029839, 1e-5, "measured +0.029839)", id="under a thousandth of sigma"),
        pytest.param(0.029839, -1e-9, "measured +0.029839)", id="rounds to nothing"),
    ],
)
def test_show_says_the_measured_difference_and_what_is_allowed_for_the_speed(
    raw: float, allowed: float, said: str
) -> None:
    e = busy()[2]
    effect = {**e.effect, "raw": raw, "speed_gain": allowed}
    text = " ".join(render_show(replace(e, effect=effect), None, None, "val_bpb", 200).split())
    assert said in text


def test_the_speed_beside_a_value_is_that_of_the_runs_in_the_value(tmp_path: Path, write: Callable[..., Path]) -> None:
    slowest = replace(at_speed(0.3, 2.9, 43, 0), stretch=1.0, tokens=1000)
    runs = (at_speed(0.98, 2.5, number=0), slowest, replace(at_speed(0.4, 2.8, 44, 0), tainted=True))
    baseline = experiment(0, "keep", "baseline", value=2.7, reason="baseline", measurements=runs)
    document = to_json(status_of(write(tmp_path / "jul20", [baseline])))["baseline"]
    assert (document["value"], document["speed"]) == (2.5, 0.98)


def test_show_tells_once_why_a_disturbed_run_does_not_count() -> None:
    assert render_show(busy()[3], None, None, "val_bpb", 300).count(BY) == 1


def test_the_page_has_it_for_each_experiment_and_each_run(folder: Path, tmp_path: Path) -> None:
    page = page_json(page_of(folder, tmp_path))
    assert [row["speed"] for row in page["experiments"]] == [1.0, pytest.approx(0.97), 0.59, 0.97]
    assert [row["slowed"] for row in page["experiments"]] == [False, False, True, False]
    assert [run["stretch"] for run in page["runs"]][3] == 1.5


def test_the_post_marks_a_kept_change_that_ran_on_a_slow_machine(tmp_path: Path, write: Callable[..., Path]) -> None:
    kept = experiment(4, "keep", "WARMDOWN_RATIO 0.5 -> 0.7", value=2.4, gain=0.03, measurements=(at_speed(0.6, 2.4),))
    text = render_text(page_of(write(tmp_path / "jul18", [*busy(), kept]), tmp_path))
    assert "| 4 ~ |" in text
    assert "~ ran on a slow machine" in text
    assert "~ ran" not in render_text(page_of(write(tmp_path / "jul19", busy()), tmp_path))


def test_the_log_says_that_gains_allow_for_the_speed_when_they_do() -> None:
    said = "gains allow for the machine's speed"
    (first, *_), e = busy(), busy()[2]
    helped = replace(e, effect={"gain": 0.02, "error": 0.002, "raw": 0.03, "speed_gain": 0.01})
    hardly = replace(e, effect={"gain": 0.02, "error": 0.002, "raw": 0.03, "speed_gain": 0.0001})
    assert said in render_log([first, helped], "val_bpb", "min", 110)
    assert said not in render_log([first, hardly], "val_bpb", "min", 110)
