"""``try --detach`` and ``wait``: a measurement outlives the command that asked for it, and its verdict is found."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any

import psutil
import pytest
from command_runs import STEPS, call, data, experiments, refused, script
from conftest import git
from live_run import slow_lab
from trial.test_runner import is_gone, wait_for

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE, read
from autoresearch_mlx.store.locks import holder

NEARER, SOME_SECONDS, TEN_MINUTES = "X = 3.0\nY = 2\n", "X = 8.0\nY = 2\n", "X = 9.0\nY = 2\n"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return slow_lab(tmp_path / "lab")


@pytest.fixture
def measured(lab: Lab) -> Lab:
    """Return a lab whose session ``t`` has a baseline."""
    call(lab, "run", "--tag", "t", "--experiments", "0")
    return lab


def detached(lab: Lab, text: str, *options: str) -> dict[str, Any]:
    """Edit the file and detach its try; return what the command promised."""
    (lab.root / "solver.py").write_text(text)
    done = call(lab, "try", "--detach", "--tag", "t", "-m", "mine", "--json", *options)
    assert done.returncode == 0, done.stderr
    promised: dict[str, Any] = json.loads(done.stdout)
    return promised


def is_measured(lab: Lab, number: int) -> bool:
    return any(each.number == number for each in read(lab.folder("t") / FILE).running)


def ended(lab: Lab, pid: int, number: int = signal.SIGTERM) -> None:
    os.kill(pid, number)
    assert wait_for(lambda: is_gone(pid) and holder(lab.folder("t")) is None, 30.0)


# --- the verdict


@pytest.mark.slow
def test_the_number_comes_at_once_and_two_callers_wait_for_the_verdict(measured: Lab) -> None:
    (measured.root / "solver.py").write_text(SOME_SECONDS)
    promised = call(measured, "try", "--detach", "-m", "mine")
    assert promised.stdout.startswith("experiment 1 is being measured by process ")
    assert promised.stdout.endswith("; its verdict: autoresearch-mlx wait 1\n")
    command = [sys.executable, "-m", "autoresearch_mlx", "wait", "1"]
    callers = [subprocess.Popen(command, cwd=measured.root, stdout=PIPE, stderr=PIPE, text=True) for _ in range(2)]
    said = [caller.communicate(timeout=60) for caller in callers]
    assert [caller.returncode for caller in callers] == [0, 0]
    assert said[0][0] == said[1][0]
    assert said[0][0].startswith("experiment 1: discard\n")
    assert re.search(r"^process \d+, #1 mine, running", said[0][1], re.MULTILINE)
    later = call(measured, "wait", "1")
    assert (later.returncode, later.stdout, later.stderr) == (0, said[0][0], "")
    assert data(measured, "wait", "1")["title"] == "mine"


@pytest.mark.slow
def test_without_a_baseline_the_number_is_promised_before_it_is_measured(lab: Lab) -> None:
    (lab.root / "bench.py").write_text((lab.root / "bench.py").read_text().replace("0.3", "2"))
    git(lab.root, "commit", "-qam", "slower still")
    assert detached(lab, NEARER)["number"] == 1
    (lab.root / "solver.py").write_text("edited again at once")
    done = call(lab, "wait", "1")
    assert "experiment 1 comes next; now process" in done.stderr
    assert done.stdout.startswith("experiment 1: keep\n")
    assert experiments(lab) == {0: "keep", 1: "keep"}


@pytest.mark.slow
def test_an_experiment_of_a_run_has_a_verdict_too(command_lab: Lab) -> None:
    call(command_lab, "run", "--tag", "t", "--agent", script(command_lab, *STEPS), "--experiments", "3")
    assert call(command_lab, "wait", "3").stdout.startswith("experiment 3: crash\n")
    assert call(command_lab, "wait", "0").stdout.startswith("experiment 0: keep\n")


# --- what it survives


@pytest.mark.slow
def test_the_measurement_survives_the_end_of_the_callers_shell(measured: Lab) -> None:
    """The shell gets SIGHUP; then its descendants are killed one by one, and at last its process group."""
    (measured.root / "solver.py").write_text(SOME_SECONDS)
    shell = subprocess.Popen(
        ["sh", "-c", f"'{sys.executable}' -m autoresearch_mlx try --detach -m mine; sleep 600"],
        cwd=measured.root,
        stdout=PIPE,
        start_new_session=True,
        text=True,
    )
    assert shell.stdout is not None
    assert shell.stdout.readline().startswith("experiment 1 is being measured")
    descendants = psutil.Process(shell.pid).children(recursive=True)
    os.killpg(shell.pid, signal.SIGHUP)
    for process in descendants:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    with suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGKILL)
    assert shell.wait(10) != 0
    assert call(measured, "wait", "1").stdout.startswith("experiment 1: discard\n")


@pytest.mark.slow
def test_a_try_lets_go_of_the_callers_pipes_and_can_be_waited_for_in_parts_and_ended_by_hand(measured: Lab) -> None:
    (measured.root / "solver.py").write_text(TEN_MINUTES)
    command = [sys.executable, "-m", "autoresearch_mlx", "try", "--detach", "-m", "mine", "--json"]
    done = subprocess.run(command, cwd=measured.root, capture_output=True, text=True, timeout=60, check=True)
    part = call(measured, "wait", "1", "--seconds", "0.2")
    assert (part.returncode, part.stdout) == (3, "")
    assert "experiment 1 is still being measured; call `autoresearch-mlx wait 1` again" in part.stderr
    assert wait_for(lambda: is_measured(measured, 1), 30.0)
    ended(measured, json.loads(done.stdout)["pid"])
    done = call(measured, "wait", "1")
    assert done.returncode == 130
    assert done.stdout.startswith("experiment 1: interrupted\nstopped by hand\n")


@pytest.mark.slow
def test_after_a_kill_without_mercy_wait_says_so_and_the_next_try_closes_it(measured: Lab) -> None:
    pid = detached(measured, TEN_MINUTES)["pid"]
    assert wait_for(lambda: is_measured(measured, 1), 30.0)
    ended(measured, pid, signal.SIGKILL)
    said = refused(measured, "wait", "1")
    assert "the process that measured experiment 1 ended without a verdict" in said
    assert "first closes experiment 1 as interrupted" in said
    assert detached(measured, NEARER)["number"] == 2
    assert call(measured, "wait", "2").returncode == 0
    assert experiments(measured) == {0: "keep", 1: "interrupted", 2: "keep"}
    assert call(measured, "wait", "1").returncode == 130


# --- what is refused


def test_a_number_that_nobody_measures_is_refused(measured: Lab) -> None:
    assert "session t has no experiment 7" in refused(measured, "wait", "7")
    assert "is not a valid integer" in refused(measured, "wait", "seven", code=2)


def test_without_a_session_there_is_nothing_to_wait_for(lab: Lab) -> None:
    assert "no session yet" in refused(lab, "wait", "1")


@pytest.mark.slow
def test_an_edit_that_cannot_be_measured_is_refused_before_anything_is_promised(lab: Lab) -> None:
    assert "there is nothing to try" in refused(lab, "try", "--detach", "-m", "mine")
    (lab.root / "solver.py").write_bytes(b"X = 4 # \xff\n")
    assert "cannot be read as UTF-8 text" in refused(lab, "try", "--detach", "-m", "mine")
    assert not list(lab.state.glob("*/tries/*"))


def test_a_baseline_that_fails_is_the_verdict_of_the_try(lab: Lab) -> None:
    (lab.root / "bench.py").write_text("raise SystemExit('no disk')\n")
    git(lab.root, "commit", "-qam", "broken")
    assert detached(lab, NEARER)["number"] == 1
    for _ in range(2):
        said = refused(lab, "wait", "1")
        assert "error: the baseline ended as crash" in said and "correct the file" in said


@pytest.mark.slow
def test_a_second_try_is_told_which_experiment_is_measured(measured: Lab) -> None:
    pid = detached(measured, TEN_MINUTES)["pid"]
    for command in (["try", "-m", "two"], ["try", "--detach", "-m", "two"], ["run"]):
        said = refused(measured, *command)
        assert f"in use by process {pid}, which measures experiment 1 (`try --detach`)" in said
        assert f"`autoresearch-mlx wait 1` gives the verdict; `kill {pid}` ends the process" in said
    shown = call(measured, "status").stdout
    assert "detached     `autoresearch-mlx wait 1` gives the verdict of experiment 1;" in shown
    assert data(measured, "status")["detached"] == 1
    ended(measured, pid)
    assert "detached" not in data(measured, "status")
