"""Coding agents by name in a real lab, with imitations of the programs on PATH: the loop calls them, or they drive."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from coding_agents import imitate
from command_runs import call, experiments, refused
from forked_command import launcher
from trial.test_runner import is_gone, wait_for

from autoresearch_mlx.errors import refused_by_disk
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.desk import Answer, ask, is_served, serve, serving
from autoresearch_mlx.store.ledger import FILE, read

TOOL = f"{sys.executable} -m autoresearch_mlx"
DRIVE = f"sed -i.old s/4.0/3.0/ solver.py; {TOOL} try --detach -m 'by the agent'; {TOOL} wait > verdict"


def beside(folder: Path, lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a forked process, with the agents in ``folder`` on PATH."""
    environment = {**os.environ, "COLUMNS": "100", "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = launcher().run(arguments, lab.root, environment, seconds=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done


# --- the loop calls the agent


def test_a_persons_own_options_and_lab_toml_name_an_agent(command_lab: Lab, tmp_path: Path) -> None:
    told = imitate(tmp_path / "bin", "claude")
    settings = command_lab.root / "lab.toml"
    settings.write_text(settings.read_text() + '[agent]\nname = "hybrid:claude:--model opus"\nshare = 1.0\n')
    assert beside(tmp_path / "bin", command_lab, "run", "--tag", "t", "--experiments", "1").returncode == 0
    assert told.read_text().startswith("-p\n--permission-mode\nacceptEdits\n--model\nopus\n")
    assert read(command_lab.folder("t") / FILE).history.experiments[-1].title == "X nearer"


@pytest.mark.slow
def test_an_agent_that_may_not_edit_ends_the_night_after_five_experiments(command_lab: Lab, tmp_path: Path) -> None:
    imitate(tmp_path / "bin", "codex")
    options = ["--tag", "t", "--experiments", "20", "--agent", "command:codex exec -"]
    done = beside(tmp_path / "bin", command_lab, "run", *options)
    assert done.returncode == 1  # no experiment was measured
    assert experiments(command_lab) == {0: "keep", **dict.fromkeys(range(1, 6), "invalid")}
    lost = read(command_lab.folder("t") / FILE).history.experiments[1:]
    assert [e.talk["calls"] for e in lost] == [3, 1, 1, 1, 1]
    assert all("codex edits no file without -s workspace-write" in e.reason for e in lost)
    assert (
        "stopped: 5 experiments in a row had no edit; the last one: the agent changed no editable file" in done.stdout
    )
    assert "hint: codex edits no file without -s workspace-write" in done.stderr
    assert "`--agent codex` passes that option" in done.stderr


# --- doctor


@pytest.mark.slow
def test_doctor_names_the_agents_on_path_and_whether_the_chosen_one_may_edit(command_lab: Lab, tmp_path: Path) -> None:
    settings = command_lab.root / "lab.toml"
    before = settings.read_text()
    imitate(tmp_path / "bin", "claude")
    imitate(tmp_path / "bin", "codex")

    def said(agent: str) -> dict[str, dict[str, str]]:
        settings.write_text(f"{before}[agent]\n{agent}\n")
        done = beside(tmp_path / "bin", command_lab, "doctor", "--json")
        return {finding["name"]: finding for finding in json.loads(done.stdout)}

    found = said('name = "command"\ncommand = "claude -p"')
    assert found["codex"]["value"].startswith(
        f"{tmp_path}/bin/codex; `--agent codex` lets this agent edit: codex exec -s workspace"
    )
    assert found["agent"]["state"] == "note"
    assert found["agent"]["hint"].startswith("claude edits no file without --permission-mode acceptEdits")
    assert said('name = "hybrid:claude"')["agent"]["state"] == "ok"
    absent = said('name = "opencode"')["agent"]
    assert (absent["state"], absent["hint"]) == ("note", "opencode is not on PATH: npm install -g opencode-ai")


# --- the agent drives


@pytest.mark.slow
def test_an_agent_drives_and_reads_its_verdict(command_lab: Lab, tmp_path: Path) -> None:
    told = imitate(tmp_path / "bin", "claude", DRIVE)
    assert call(command_lab, "drive", "command:true").stderr == "the agent has measured nothing\n"
    done = beside(tmp_path / "bin", command_lab, "drive", "claude")
    assert done.returncode == 0, done.stderr
    assert "1 experiment: 1 kept, 0 discarded, 0 failed; score 11 -> 10" in done.stderr
    assert (command_lab.root / "verdict").read_text().startswith("experiment 1: keep\n")
    assert "Bash(autoresearch-mlx *)" in told.read_text()
    assert "Read program.md and follow it. Call the tool by this path: " in told.read_text()
    assert not is_served(command_lab.state)


def test_the_exit_code_of_the_agent_is_that_of_drive_and_its_files_are_arguments(command_lab: Lab) -> None:
    done = call(command_lab, "drive", 'command:cat; echo "$@"; exit 7', "--prompt", "Do what you like.")
    assert done.returncode == 7
    assert "no coding agent named 'clod'" in refused(command_lab, "drive", "clod")


@pytest.mark.slow
def test_a_try_in_a_sandbox_is_carried_out_by_the_process_that_drives(command_lab: Lab) -> None:
    """All processes of the command in the sandbox are killed; the process that drives has begun the measurement."""
    driver = subprocess.Popen([*TOOL.split(), "drive"], cwd=command_lab.root, stderr=subprocess.PIPE, text=True)
    try:
        assert driver.stderr is not None and "carrying out the commands that coding agents" in driver.stderr.readline()
        end = time.monotonic() + 30
        while not is_served(command_lab.state) and time.monotonic() < end:
            time.sleep(0.02)
        assert ask(command_lab.state, ["run"]) == Answer(2, "", "only `try --detach` is carried out here\n")
        assert "nothing to try" in refused(command_lab, "try", "--detach", "-m", "nothing")
        (command_lab.root / "solver.py").write_text("X = 3.0\nY = 2\n")
        done = call(command_lab, "try", "--detach", "-m", "mine", "--json", "--tag", "t")
        assert json.loads(done.stdout)["session"] == "t"
        assert call(command_lab, "wait", "--tag", "t").stdout.startswith("experiment 1: keep\n")
        assert "another `autoresearch-mlx drive` works in this lab" in refused(command_lab, "drive")
        assert [path.name for path in (command_lab.state / "desk").iterdir()] == ["served"]
    finally:
        driver.terminate()
        driver.wait(10)


def test_a_damaged_request_is_dropped_and_without_a_server_nobody_answers(command_lab: Lab) -> None:
    command_lab.make_state()
    with serving(command_lab.state) as desk:
        assert desk is not None
        (desk / "a.request").write_text('["run"]')
        (desk / "b.request").write_text("garbage")
        assert serve(desk, lambda arguments: Answer(len(arguments), "", "")) == 2
        assert json.loads((desk / "a.answer").read_text()) == {"exit_code": 1, "out": "", "error": ""}
    assert ask(command_lab.state, ["try"]) is None


def test_a_process_that_begins_to_serve_removes_only_what_is_older(command_lab: Lab) -> None:
    """Others see at once that the desk is served, so a request may arrive before the old ones are removed."""
    command_lab.make_state()
    desk = command_lab.state / "desk"
    desk.mkdir()
    for name, age in (("old.request", 10), ("old.taken", 10), ("old.answer", 10), ("new.request", -10)):
        (desk / name).write_text('["try"]')
        os.utime(desk / name, (time.time() - age, time.time() - age))
    with serving(command_lab.state):
        assert sorted(path.name for path in desk.iterdir()) == ["new.request", "served"]


def test_who_asks_is_told_when_the_process_that_took_the_request_has_ended(command_lab: Lab) -> None:
    command_lab.make_state()
    with serving(command_lab.state) as desk, ThreadPoolExecutor() as pool:
        assert desk is not None
        asks = pool.submit(ask, command_lab.state, ["try"])
        assert wait_for(lambda: [*desk.glob("*.request")] != [], 10.0)
        next(desk.glob("*.request")).unlink()  # as by the next process that serves the desk
        assert asks.result(10) is None


def test_a_read_only_folder_is_said_to_be_a_sandbox_and_what_measures_outside_of_it() -> None:
    said = refused_by_disk(OSError(errno.EROFS, os.strerror(errno.EROFS), "/lab/.git/x"))
    assert said is not None and "`autoresearch-mlx drive AGENT` measures outside the sandbox" in said.hint


@pytest.mark.slow
def test_the_end_of_drive_is_the_end_of_the_agent(command_lab: Lab, tmp_path: Path) -> None:
    line = f"echo $$ > '{tmp_path}/pid'; sleep 600 & wait"
    driver = subprocess.Popen([*TOOL.split(), "drive", f"command:{line}"], cwd=command_lab.root)
    assert wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip() != "", 90.0)
    agent = int((tmp_path / "pid").read_text())
    (sleeper,) = psutil.Process(agent).children()
    driver.terminate()
    assert driver.wait(30) == 130
    assert wait_for(lambda: is_gone(agent) and is_gone(sleeper.pid), 30.0)
