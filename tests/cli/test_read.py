"""The commands that read a session: tables for people, JSON for scripts, no error in a pipe."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_runs import STATUSES, STEPS, call, data, refused, script
from conftest import command_line, git, write_command_lab

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE

VALUES = {0: 11.0, 1: 10.25, 2: 46.0, 3: None, 4: None, 5: 1.25}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Return a session with one experiment of each outcome; tests only read it."""
    lab = write_command_lab(tmp_path_factory.mktemp("night") / "lab")
    agent = script(lab, *STEPS)
    done = call(lab, "run", "--tag", "t", "--agent", agent, "--experiments", "5")
    assert done.returncode == 0, done.stderr
    return lab


@pytest.mark.slow
def test_status(night: Lab) -> None:
    told = data(night, "status")
    assert list(told) == [
        "session", "branch", "target", "metric", "direction", "experiments", "kept", "discarded", "failed",
        "interrupted", "baseline", "incumbent", "sigma", "running", "agent", "spent", "noise", "budget", "key",
        "comparability", "stops", "certificate", "disturbed", "limits", "lanes", "left_out",
        "waiting",
    ]  # fmt: skip
    assert (told["experiments"], told["kept"], told["discarded"], told["failed"]) == (5, 2, 1, 2)
    assert told["incumbent"] == {"number": 5, "commit": git(night.root, "rev-parse", "autoresearch/t"), "value": 1.25}
    assert (told["sigma"], told["running"]) == (0.0, None)  # the program always prints the same value
    text = call(night, "status").stdout
    assert "1.250000" in text and "no" in text


@pytest.mark.slow
def test_log_is_a_table_or_one_object_a_line(night: Lab) -> None:
    table = call(night, "log")
    assert (table.returncode, table.stderr) == (0, "")
    assert re.search(r"^\* +5 +keep +1\.250000", table.stdout, re.MULTILINE)
    lines = [json.loads(line) for line in call(night, "log", "--json").stdout.splitlines()]
    assert {e["number"]: e["status"] for e in lines} == STATUSES
    assert {e["number"]: e["value"] for e in lines} == VALUES
    assert list(lines[1])[:15] == [
        "number", "status", "value", "gain", "commit", "base", "ref", "title", "axis", "knobs",
        "agent", "reason", "started", "finished", "measurements",
    ]  # fmt: skip
    assert lines[1]["knobs"] == {"X": [4.0, 3.5]}
    assert lines[4]["measurements"] == []


def test_show_has_reason_numbers_diff_and_log(night: Lab) -> None:
    text = call(night, "show", "1").stdout
    for part in (
        "experiment 1: keep",
        "X nearer",
        "gain 0.750000",
        "the minimum is at 3",
        "+X = 3.5",
        "METRIC score=10.25",
    ):
        assert part in text
    crashed = data(night, "show", "3")
    assert crashed["reason"] == "ZeroDivisionError: division by zero"
    assert "line 1, in <module>" in command_line("show", "3", cwd=night.root).stdout
    assert call(night, "show", "4").returncode == 0
    assert data(night, "show", "1")["rationale"] == "the minimum is at 3"


def test_diff_is_one_that_git_can_apply(night: Lab) -> None:
    assert "-X = 4.0  # knob: lin 0 10\n+X = 3.5  # knob: lin 0 10\n" in call(night, "diff", "1").stdout
    both = call(night, "diff", "0", "5").stdout
    assert subprocess.run(["git", "apply", "--check"], input=both, text=True, cwd=night.root).returncode == 0
    assert "+Y = 5" in both and "+X = 3.5" in both
    assert "-Y = 5" in call(night, "diff", "5", "0").stdout


def test_compare(night: Lab) -> None:
    assert "H100" in call(night, "compare").stdout
    told = data(night, "compare")
    assert (told["here"]["baseline"], told["here"]["best"], told["applies"]) == (11.0, 1.25, False)


@pytest.mark.parametrize("columns", ["1", "60"])
def test_every_width_is_wide_enough(night: Lab, columns: str) -> None:
    for command in (["status"], ["log"], ["show", "1"], ["compare"]):
        assert call(night, *command, COLUMNS=columns).returncode == 0


@pytest.mark.parametrize("command", [["log"], ["log", "--json"], ["show", "5"]])
def test_a_narrow_encoding_costs_a_letter_not_the_command(night: Lab, command: list[str]) -> None:
    done = call(night, *command, PYTHONIOENCODING="ascii:strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Y right" in done.stdout


def test_what_is_not_there_is_said_with_where_to_look(night: Lab) -> None:
    assert "no experiment 99" in (said := refused(night, "show", "99"))
    assert "autoresearch-mlx log" in said
    assert "no commit of experiment 99" in refused(night, "diff", "0", "99")
    for command in (["status"], ["diff", "1"]):
        assert "no session nope" in (said := refused(night, *command, "--tag", "nope"))
        assert "sessions here: t" in said
    for wrong in (["show"], ["show", "-1"], ["nosuch"], []):
        refused(night, *wrong, code=2)


def test_outside_of_a_lab_and_before_a_session(command_lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    nowhere = Lab(tmp_path / "empty")
    for command in (["log"], ["run"], ["try", "-m", "x"]):
        assert "no lab here" in refused(nowhere, *command)
    assert "no session yet" in (said := refused(command_lab, "status"))
    assert "`autoresearch-mlx run` starts one" in said


def test_a_mistake_in_the_settings_is_named(command_lab: Lab) -> None:
    with (command_lab.root / "lab.toml").open("a") as file:
        file.write("metrik = 'x'\n")
    assert "unknown setting target.metrik" in (said := refused(command_lab, "run"))
    assert "hint: did you mean target.metric?" in said


def test_a_damaged_ledger_is_named_by_line(command_lab: Lab) -> None:
    call(command_lab, "run", "--tag", "t", "--experiments", "0")
    with (command_lab.folder("t") / FILE).open("a") as file:
        file.write("<<<<<<< HEAD\n")
    for command in (["status"], ["run"]):
        assert "ledger.jsonl, line 4" in refused(command_lab, *command)


# --- pipes


@pytest.mark.parametrize("command", [["log", "--json"], ["log"], ["show", "1"], ["run", "--help"]])
def test_a_reader_that_went_away_is_no_error(night: Lab, command: list[str]) -> None:
    """This is the worst case of ``| head -1``: the reader ends before it has read anything."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "autoresearch_mlx", *command],
        cwd=night.root,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_log_into_head(night: Lab) -> None:
    line = f"set -o pipefail; '{sys.executable}' -m autoresearch_mlx log --json | head -1"
    done = subprocess.run(["bash", "-c", line], cwd=night.root, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["number"] == 0
