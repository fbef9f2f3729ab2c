"""The machine's state is recorded with each run, reported once and waited for; one command at a time uses it."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from command_runs import data, refused
from conftest import Recorder, Steps, command_line, git, opened, write_command_lab
from live_run import going, slow_lab, started, sweep, until

from autoresearch_mlx.experiment import Experiment, History, Measurement
from autoresearch_mlx.hardware.speed import Speed, probe_arguments
from autoresearch_mlx.hardware.state import Others, State
from autoresearch_mlx.hardware.surroundings import COOLING_SECONDS, Surroundings, exclusive
from autoresearch_mlx.lab.config import MachineSettings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.control import stop
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.trial.runner import child_process_environment, python_command

MAINS = State(
    "mains", 90, thermal="nominal", temperature_c=50.0, swap_used_mb=0.0, gpu=Others(busy_percent=4), load=0.4
)
BATTERY = replace(MAINS, power="battery")


class Readings:
    """A reader that returns the given states one after the other, and then the last one for ever."""

    def __init__(self, *states: State) -> None:
        self.states = list(states)
        self.taken = 0

    def __call__(self) -> State:
        self.taken += 1
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


class Hands:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def around(lab: Lab, readings: Readings, **wanted: bool) -> Iterator[Session]:
    """Return the surroundings of a session; each time they look at the machine, they get the next of these states."""
    with opened(lab, "t") as session:
        settings = MachineSettings(**wanted)  # type: ignore[arg-type]
        hours = iter(range(0, 10**6, 3600))
        yield session.measuring(surroundings=Surroundings(settings, read=readings, clock=lambda: float(next(hours))))


def test_a_reading_serves_for_some_seconds() -> None:
    hands, readings = Hands(), Readings(MAINS, BATTERY)
    here = Surroundings(read=readings, clock=hands)
    assert here.state() == here.state() == MAINS
    hands.now = 4.0
    assert here.state() == MAINS and readings.taken == 1
    hands.now = 6.0
    assert here.state() == BATTERY


def test_a_run_is_recorded_with_heat_at_its_end_and_company_before_it() -> None:
    hands = Hands()
    hot = replace(MAINS, temperature_c=88.0, gpu=Others(busy_percent=99), load=9.0)
    beside = Surroundings(read=Readings(MAINS, hot), clock=hands).beside_a_run()
    hands.now = 300.0
    machine = beside(Measurement(1.0, 42, machine={"chip": "M"})).machine
    assert (machine["chip"], machine["power"], machine["temperature_c"]) == ("M", "mains", 88.0)
    assert (machine["gpu_busy_percent"], machine["load"]) == (4, 0.4)
    assert "speed_before" not in machine


def test_the_echo_of_our_own_run_is_not_taken_for_another_user_of_the_gpu() -> None:
    hands = Hands()
    here = Surroundings(gpu=True, read=Readings(replace(MAINS, gpu=Others(busy_percent=99))), clock=hands)
    (said,) = here.news()
    assert "busy at 99 %" in said
    here = Surroundings(gpu=True, read=Readings(MAINS, replace(MAINS, gpu=Others(busy_percent=99))), clock=hands)
    beside = here.beside_a_run()
    hands.now = 300.0
    beside(Measurement(1.0, 42))
    assert here.news() == []
    machine = here.beside_a_run()(Measurement(1.0, 42)).machine
    assert machine["gpu_busy_percent"] is None


def test_each_worry_is_told_once() -> None:
    hands = Hands()
    swapping = replace(BATTERY, swap_used_mb=4096.0)
    here = Surroundings(read=Readings(BATTERY, BATTERY, swapping), clock=hands)
    told = []
    for hands.now in (0.0, 100.0, 200.0, 300.0):
        told += here.news()
    assert [words.split(":")[0] for words in told] == [
        "the machine is on battery (90 %)",
        "swap has grown by 4.0 GB since the run began",
    ]


def test_nothing_is_waited_for_unless_it_is_wanted_and_cooling_has_an_end() -> None:
    hands, hot = Hands(), replace(BATTERY, thermal="heavy")
    readings = Readings(hot)
    assert Surroundings(read=readings, clock=hands).reason_to_wait() is None and readings.taken == 0
    assert (
        Surroundings(MachineSettings(wait_for_mains=True), read=readings, clock=hands).reason_to_wait()
        == "on battery (90 %)"
    )
    cooling = Surroundings(MachineSettings(wait_for_cooling=True), read=readings, clock=hands)
    assert cooling.reason_to_wait(since=0.0) == "thermal pressure is heavy"
    hands.now = COOLING_SECONDS + 1
    assert cooling.reason_to_wait(since=0.0) is None


def test_every_run_of_a_session_has_its_machine_in_the_ledger(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
        runs = [m for e in session.journal().history.experiments for m in e.measurements]
    assert len(runs) >= 4
    for run in runs:
        assert {"power", "temperature_c", "memory_free_mb", "load"} <= set(run.machine)
        assert json.loads(json.dumps(run.machine)) == run.machine
    assert not any(run.tainted or "tainted" in run.extra for run in runs)


def test_a_run_waits_for_mains_power_and_says_so(command_lab: Lab, screen: Recorder) -> None:
    readings = Readings(BATTERY, BATTERY, MAINS)
    with around(command_lab, readings, wait_for_mains=True) as session:
        research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
    waits = [words for words in screen.said if words.startswith("waiting")]
    assert waits == ["waiting: on battery (90 %); `autoresearch-mlx stop` or Ctrl-C ends the run"]
    assert screen.said[screen.said.index(waits[0]) + 1] == "continuing"
    assert screen.phases[0] == "waiting" and [e.status for e in screen.done] == ["keep", "keep"]


def test_a_stop_is_heard_while_the_machine_is_waited_for(command_lab: Lab, screen: Recorder) -> None:
    with around(command_lab, Readings(BATTERY), wait_for_mains=True) as session:
        timer = threading.Timer(0.7, stop, (session.folder, "cli"))
        timer.start()
        reason = research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
        timer.join()
        assert reason == "by hand (autoresearch-mlx stop)"
        assert session.journal().history.experiments == ()


def test_a_run_without_experiments_still_waits_before_its_baseline(command_lab: Lab, screen: Recorder) -> None:
    with around(command_lab, Readings(BATTERY, BATTERY, MAINS), wait_for_mains=True) as session:
        research(session, Steps(), Policy(experiments=0), screen)
    assert screen.phases[0] == "waiting" and [e.number for e in screen.done] == [0]


def test_status_says_what_is_waited_for(command_lab: Lab) -> None:
    """A run that waits writes a message, which ``status`` shows."""
    from autoresearch_mlx.experiment import Progress
    from autoresearch_mlx.report.screens import Noted, PlainScreen

    with opened(command_lab, "t") as session:
        shown = Noted(PlainScreen(sys.stderr, "score"), session.folder)
        shown.progress(Progress("waiting", words="on battery (62 %)"))
        assert data(command_lab, "status")["running"]["words"] == "on battery (62 %)"
        done = command_line("status", cwd=command_lab.root)
        assert f"process {os.getpid()}, waiting: on battery (62 %)" in done.stdout


# --- the speed probe


def test_a_probe_is_real_and_serves_twice_while_it_is_fresh() -> None:
    speed = Speed(python_command(*probe_arguments("cpu")), child_process_environment({}))
    began = time.monotonic()
    first = speed.probe()
    assert first is not None and first > 0
    spent = time.monotonic() - began
    began = time.monotonic()
    assert speed.probe(fresh=60.0) == first
    assert time.monotonic() - began < spent / 10


def test_a_probe_that_cannot_run_is_unknown_and_not_tried_again(tmp_path: Path) -> None:
    count = tmp_path / "count"
    speed = Speed(["sh", "-c", f"echo x >> {count}; exit 1"], {"PATH": os.environ["PATH"]})
    assert speed.probe() is None and speed.probe() is None
    assert count.read_text() == "x\n"


def test_both_probes_stand_in_the_record_and_an_unusual_one_is_told(command_lab: Lab, tmp_path: Path) -> None:
    speed = Speed(["sh", "-c", """echo '{"gflops": 100.0}'"""], {"PATH": os.environ["PATH"]})
    here = Surroundings(speed=speed, read=Readings(MAINS))
    machine = here.beside_a_run()(Measurement(1.0, 42)).machine
    assert (machine["speed_before"], machine["speed_after"]) == (100.0, 100.0)
    usual = Measurement(1.0, 42, machine=machine)
    slow = Measurement(1.0, 43, machine={"speed_before": 98.0, "speed_after": 70.0})
    before = History((tried(0, usual), tried(1, usual)), "score", "min")
    assert here.news(before) == []
    (said,) = here.news(replace(before, experiments=(*before.experiments, tried(2, slow))))
    assert said.startswith("the speed probe is 30% slower than usual here (70 against 100 GFLOP/s): ")


def tried(number: int, *runs: Measurement) -> Experiment:
    return Experiment(number, "keep", 1.0, None, None, None, None, "", None, {}, "", "", "", "", measurements=runs)


# --- one command on this machine


@pytest.mark.parametrize(
    ("wanted", "gpu", "alone"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("always", False, True),
        ("never", True, False),
    ],
)
def test_by_default_a_gpu_is_one_commands(wanted: str, gpu: bool, alone: bool) -> None:
    settings = MachineSettings(exclusive=wanted)  # type: ignore[arg-type]
    assert exclusive(settings, gpu) is alone


def test_a_run_in_another_lab_is_refused_while_one_measures(tmp_path: Path) -> None:
    labs = [slow_lab(tmp_path / "one"), write_command_lab(tmp_path / "two")]
    for lab in labs:
        toml = lab.root / "lab.toml"
        toml.write_text(toml.read_text() + '\n[machine]\nexclusive = "always"\n')
        git(lab.root, "commit", "-qam", "alone")
    with going(labs[0], sweep(1, X=9.0)) as run:
        until(lambda: started(labs[0]) == 1, "the experiment that takes ten minutes")
        said = refused(labs[1], "run", "--experiments", "0")
        assert f"in use for another measurement: process {run.pid}, session t of the lab in {labs[0].root}" in said
