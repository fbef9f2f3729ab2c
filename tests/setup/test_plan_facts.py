"""The number of experiments that fit into a night follows from measured times, never from guesses."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from command_runs import STEPS, call, refused, script
from conftest import opened
from history_cases import night, tried

from autoresearch_mlx.cli.options import Clock
from autoresearch_mlx.experiment import Measurement, Seconds
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.setup.plan_facts import GB, Limits, Outlook, _measured, forecast, lines, of_session

KNOWN = Outlook(
    training_seconds=300.0,
    overhead_seconds=22.0,
    overhead_source="calibrated 2026-11-20",
    seconds_left=24_000.0,
    until="07:00",
    peak_bytes=int(4.1 * GB),
    memory_bytes=36 * GB,
    agent="qwen3-coder:30b unloads before training",
)


def test_a_night_in_two_lines() -> None:
    assert list(lines(KNOWN)) == [
        "5:00 training + 0:22 overhead (calibrated 2026-11-20): about 74 experiments by 07:00; "
        "close calls run more than once",
        "memory 4.1 of 36 GB; agent qwen3-coder:30b unloads before training",
    ]


def test_the_baselines_runs_come_first() -> None:
    first = replace(KNOWN, baseline_runs=3)
    assert forecast(first).experiments == 71
    assert "; the baseline's 3 runs first; " in next(lines(first))


def test_what_was_not_measured_makes_the_count_a_bound() -> None:
    unknown = replace(KNOWN, overhead_seconds=None, overhead_source=None, peak_bytes=None, limit_bytes=27 * GB)
    one, two = lines(unknown)
    assert one == (
        "5:00 training, overhead not measured yet (`doctor --calibrate` measures it): the number of experiments "
        "by 07:00 is unknown until one run is measured (its training time alone would allow 80); "
        "close calls run more than once"
    )
    assert two.startswith("memory: not measured yet; limit 27.0 of 36 GB; agent ")


def test_repeats_of_this_session_are_counted() -> None:
    seen = replace(KNOWN, each_seconds=480.0, runs_each=1.5)
    assert next(lines(seen)).endswith("about 50 experiments by 07:00; 1.5 runs each so far")


@pytest.mark.parametrize(
    ("wanted", "seconds", "words"),
    [
        (10, None, "10 experiments in about 54 min"),
        (10, 24_000.0, "10 experiments in about 54 min"),
        (100, 24_000.0, "about 74 experiments by 07:00"),
        (None, None, "about 11 experiments an hour"),
        (None, 100.0, "about 0 experiments by 07:00"),
        (1, 400.0, "1 experiment in about 5 min"),
    ],
)
def test_whichever_limit_comes_first_counts(wanted: int | None, seconds: float | None, words: str) -> None:
    limited = replace(KNOWN, experiments=wanted, seconds_left=seconds, until="07:00" if seconds else None)
    assert f": {words}; close calls" in next(lines(limited))


def test_a_program_has_its_timeout_until_its_pace_is_known() -> None:
    program = Outlook(None, timeout_seconds=600.0, until="07:00", seconds_left=3600.0)
    assert next(lines(program)) == (
        "time of a run not measured yet, at most 10:00 by its timeout: the number of experiments by 07:00 is unknown"
    )
    assert next(lines(replace(program, experiments=3))).endswith(" by 07:00 is unknown, 3 experiments at most")
    asked = replace(program, until=None, seconds_left=None, experiments=3)
    assert next(lines(asked)).endswith("at most 10:00 by its timeout: 3 experiments, as asked")
    measured = replace(program, each_seconds=3.2, each_source="measured in 12 experiments", runs_each=1.0)
    said = "3.2 s an experiment (measured in 12 experiments): about 1,125 experiments by 07:00"
    assert next(lines(measured)).startswith(said)


def test_nothing_known_is_nothing_told() -> None:
    assert "not measured yet" in list(lines(Outlook(None)))[1]
    assert forecast(Outlook(None)).experiments is None


def test_little_memory_is_not_none() -> None:
    assert list(lines(Outlook(None, peak_bytes=10 * 2**20, memory_bytes=24 * GB)))[1] == "memory under 0.1 of 24 GB"


def run(train: float, peak: float | None = None, value: float | None = 2.0) -> Measurement:
    failure = None if value is not None else "crash"
    return Measurement(value, 42, failure, seconds=Seconds(1, 1, train, 5), peak_memory_mb=peak)


def test_a_sessions_own_experiments_go_before_the_calibration() -> None:
    first = tried(1, "keep", gain=0.1, measurements=(run(300, 2048), run(300, 4096)), seconds={"measure": 660.0})
    crash = tried(2, "crash", measurements=(run(10, 1024, None),), seconds={"measure": 20.0})
    found = _measured(KNOWN, night(first, crash))
    assert (found.overhead_seconds, found.overhead_source) == (30.0, "measured in 1 experiment")
    assert (found.each_seconds, found.runs_each, found.peak_bytes) == (340.0, 1.5, 4 * GB)
    assert _measured(KNOWN, night()) == KNOWN


def test_the_plan_of_a_program_measures_itself(command_lab: Lab) -> None:
    done = call(command_lab, "plan", "--hours", "2")
    assert done.stdout.startswith(
        "time of a run not measured yet, at most 10:00 by its timeout: the number of experiments"
    )
    ran = call(command_lab, "run", "--tag", "t", "--experiments", "2", "--agent", script(command_lab, *STEPS[:2]))
    assert "time of a run not measured yet" in ran.stderr and "agent scripted" in ran.stderr
    told = json.loads(call(command_lab, "plan", "--experiments", "10", "--json").stdout)
    assert told["forecast"]["experiments"] == 10
    assert 0 < told["forecast"]["each_seconds"] < 60
    assert told["each_source"] == "measured in 2 experiments"
    assert told["lines"][0].startswith(f"{told['each_seconds']:.1f} s")
    with opened(command_lab, "t") as session:
        limits = Limits(3600.0, "07:00", None)
        outlook = of_session(session, load_settings(command_lab.root).settings, "knobs", limits)
    assert (outlook.baseline_runs, outlook.timeout_seconds, outlook.training_seconds) == (0, 600.0, None)


def test_a_time_that_is_none_is_refused(command_lab: Lab) -> None:
    assert "'25:99' is not a time of day; for example 07:00" in refused(command_lab, "plan", "--until", "25:99", code=2)
    assert "there is no session nope" in refused(command_lab, "plan", "--tag", "nope")


def test_a_time_of_day_is_the_next_one() -> None:
    at = Clock().convert("07:00", None, None)
    assert 0 < at - time.time() <= 86_400
    assert time.strftime("%H:%M", time.localtime(at)) == "07:00"
