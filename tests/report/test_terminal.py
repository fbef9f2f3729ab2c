"""Status, log and show, as a person reads them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report.nights import experiment, failed, measured

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Experiment, Measurement, Seconds, Status
from autoresearch_mlx.report.now import Running, write_now
from autoresearch_mlx.report.show import overhead, render_show
from autoresearch_mlx.report.status import status_of
from autoresearch_mlx.report.terminal import render_log, render_status, verdict_line
from autoresearch_mlx.store.locks import locked

GOLDEN = Path(__file__).parent / "golden"
DIFF = """\
--- a/train_mlx.py
+++ b/train_mlx.py
@@ -41,3 +41,3 @@
 WARMUP_RATIO = 0.0
-MATRIX_LR = 0.04                  # knob: log 0.003 0.3
+MATRIX_LR = 0.028                 # knob: log 0.003 0.3
 WEIGHT_DECAY = 0.2
"""
TAIL = "step 230 loss 2.9312\nstep 231 loss 2.9213\n\x1b[32m--- evaluation ---\x1b[0m\nval_bpb: 2.430522\n"
TRACEBACK = "Traceback (most recent call last):\r\nValueError: [matmul]"


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text(encoding="utf-8").removesuffix("\n")


@pytest.mark.parametrize(("name", "width"), [("status", 100), ("status_narrow", 60)])
def test_status_of_a_night(session: Path, name: str, width: int) -> None:
    assert render_status(status_of(session), width) == golden(name)


def test_status_before_the_baseline(tmp_path: Path, write: Callable[..., Path]) -> None:
    folder = write(tmp_path / "jul15", [], agent="hybrid")
    assert render_status(status_of(folder), 100) == golden("status_nothing_yet")


def test_status_names_runs_without_a_sandbox(tmp_path: Path, write: Callable[..., Path]) -> None:
    def run(number: int, sandbox: str) -> Experiment:
        found = measured(2.5, 42, number)
        confined = replace(found, machine={**found.machine, "sandbox": sandbox})
        return experiment(number, "keep", "edit", value=2.5, measurements=(confined,))

    none = "none (Landlock 7 and seccomp does not hold)"
    folder = write(tmp_path / "jul16", [run(0, "Landlock 7 and seccomp"), run(1, none), run(2, none)], agent="hybrid")
    said = "none in 2 runs, the last of experiment 2: edited code ran with your rights"
    assert [
        line.split(None, 1)[1] for line in render_status(status_of(folder), 120).splitlines() if "sandbox" in line
    ] == [said]


def running_words(folder: Path, note: Running | None) -> str:
    with locked(folder):
        if note is not None:
            write_now(folder, note, "2026-07-14T12:00:00+02:00")
        return render_status(status_of(folder), 200).splitlines()[-1].replace(str(os.getpid()), "PID")


def test_status_of_a_running_session(session: Path) -> None:
    note = Running(os.getpid(), 7, "DEPTH 4 -> 5", "train", 1143, 3.25, 11520.0, 67.0)
    told = "running      process PID, #7 DEPTH 4 -> 5, train, step 1,143, loss 3.2500, 11,520 tok/s, 1:07 left"
    assert running_words(session, note) == told
    assert running_words(session, Running(os.getpid(), 7)) == "running      process PID, #7"
    assert running_words(session, Running(os.getpid(), 7, phase="propose")).endswith("#7, waiting for a proposal")
    paused = Running(os.getpid(), phase="paused")
    assert running_words(session, paused) == "running      process PID, paused by hand"
    (session / "now.json").unlink()
    assert running_words(session, None) == "running      process PID"


@pytest.mark.parametrize(("name", "width"), [("log", 100), ("log_narrow", 60), ("log_wide", 160)])
def test_log_of_a_night(experiments: Sequence[Experiment], name: str, width: int) -> None:
    text = render_log(experiments, "val_bpb", "min", width)
    assert text == golden(name)
    assert max(map(terms.columns, text.splitlines())) <= width


def test_log_of_nothing() -> None:
    assert render_log([], "val_bpb", "min", 100) == "no experiments yet"


def test_the_star_stands_by_the_last_kept_experiment_alone(experiments: Sequence[Experiment]) -> None:
    starred = [line for line in render_log(experiments, "val_bpb", "min", 100).splitlines() if line.startswith("*")]
    assert [line.split()[1] for line in starred] == ["1"]


@pytest.mark.parametrize(
    ("name", "number", "diff", "tail", "width"),
    [
        ("show_keep", 1, DIFF, TAIL, 100),
        ("show_keep_narrow", 1, DIFF, TAIL, 60),
        ("show_crash", 3, None, TRACEBACK, 100),
        ("show_duplicate", 4, DIFF, None, 100),
        ("show_interrupted", 6, None, None, 100),
    ],
)
def test_show(
    experiments: Sequence[Experiment], name: str, number: int, diff: str | None, tail: str | None, width: int
) -> None:
    assert render_show(experiments[number], diff, tail, "val_bpb", width) == golden(name)


@pytest.mark.parametrize("status", get_args(Status))
def test_every_status_is_shown_with_nothing_known(status: Status) -> None:
    empty = Experiment(5, status, None, None, None, None, None, "", None, {}, "", "", "", "")
    for text in (render_show(empty, None, None, "val_bpb", 80), verdict_line(empty, "val_bpb", 80)):
        assert status in text
        assert "None" not in text
        assert "nan" not in text


def test_failures_of_single_measurements_are_told(experiments: Sequence[Experiment]) -> None:
    runs = (measured(2.43), replace(failed("timeout", "no step within 60 s", 7, Seconds()), seed=43))
    text = render_show(experiment(7, "invalid", "x", reason="seeds differ", measurements=runs), None, None, "m", 100)
    assert "seed 43    timeout: no step within 60 s" in text


def test_overhead_is_everything_but_training_by_the_loops_own_clock(experiments: Sequence[Experiment]) -> None:
    spent = overhead(experiments[1])
    assert list(spent) == ["propose", "commit", "start", "compile", "evaluate", "settle", "other"]
    assert spent["evaluate"] == pytest.approx(8.82)
    assert spent["other"] == pytest.approx(53.4 - 2 * 26.43)


def test_overhead_names_audits_and_new_runs_of_the_incumbent(experiments: Sequence[Experiment]) -> None:
    e = experiments[1]
    runs = tuple(replace(m, extra={**m.extra, "audit_seconds": 4.0}) for m in e.measurements[:1])
    measured = runs[0].seconds.total()
    seconds = {"propose": 0.5, "measure": measured + 4.0 + 13.0 + 0.25, "incumbent": 13.0}
    spent = overhead(replace(e, measurements=runs, seconds=seconds))
    assert (spent["audit"], spent["incumbent"], spent["other"]) == (4.0, 13.0, pytest.approx(0.25))


def test_overhead_of_a_ledger_without_that_clock_comes_from_its_times(experiments: Sequence[Experiment]) -> None:
    assert overhead(experiments[2]) == pytest.approx(
        {"start": 1.12, "compile": 0.87, "evaluate": 4.41, "other": 29 - 26.43}
    )
    assert overhead(experiments[6]) == {}


def test_what_is_left_behind_of_each_experiment(experiments: Sequence[Experiment]) -> None:
    assert "\n".join(verdict_line(e, "val_bpb", 100) for e in experiments) == golden("verdicts")
    assert "\n".join(verdict_line(e, "val_bpb", 60) for e in experiments) == golden("verdicts_narrow")


def test_a_wide_verdict_names_the_metric(experiments: Sequence[Experiment]) -> None:
    assert "val_bpb 2.431022" in verdict_line(experiments[1], "val_bpb", 120)


foreign = st.text(st.characters(codec="utf-8") | st.sampled_from("\x1b[2J\r\n\t試한🙂é\u0301\u202e"), max_size=200)


@given(foreign, foreign, foreign, st.sampled_from(get_args(Status)), st.integers(40, 200))
def test_foreign_text_neither_widens_a_line_nor_reaches_the_terminal(
    title: str, reason: str, axis: str, status: Status, width: int
) -> None:
    e = experiment(7, status, title, reason=reason, axis=axis, value=2.5, gain=-0.1)
    verdict = verdict_line(e, "val_bpb", width)
    row = render_log([e], "val_bpb", "min", max(width, 60)).splitlines()[1]
    assert terms.columns(verdict) <= width
    assert terms.columns(row) <= max(width, 60)
    assert verdict.isprintable() and row.isprintable()
    assert render_show(e, title, reason, "val_bpb", width).replace("\n", "").replace("\t", "").isprintable()


@pytest.mark.parametrize(
    ("number", "told"),
    [(None, "-"), (0.0, "0"), (67.0, "67"), (2.4310219, "2.431022"), (45.320635, "45.3206"), (1234.5678, "1234.57")],
)
def test_values(number: float | None, told: str) -> None:
    assert terms.value(number) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, "-"), (-3, "0:00"), (7.2, "0:07"), (59.7, "1:00"), (3599, "59:59"), (13260, "3:41:00")],
)
def test_clock(seconds: float | None, told: str) -> None:
    assert terms.clock(seconds) == told


def test_cases_are_a_table_of_those_that_lost_something() -> None:
    def run(seed: int, *scores: float) -> Measurement:
        cases = {f"invoice {number}": score for number, score in enumerate(scores)}
        secondary = {"tokens": {"value": 812.0, "limit": 0.5, "slack": 10}}
        return Measurement(0.5, seed, extra={"cases": cases, "guard": {"polite": 1.0}, "secondary": secondary})

    e = experiment(4, "discard", "two tools", measurements=(run(42, 1, 0.0, 1), run(43, 1, 0.5, 1)))
    text = render_show(e, None, None, "score", 100)
    assert "cases      2 of 3 have the full score in every run; the other cases:" in text
    assert "invoice 1     0.00     0.50" in text and "invoice 0" not in text
    assert "guard      1 of 1 have the full score in every run" in text
    assert "secondary (tokens 812)" in text and "{" not in text
