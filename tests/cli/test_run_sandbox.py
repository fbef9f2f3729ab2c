"""Messages of the commands about the sandbox: required, missing, found, and its limits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import tiny_training as tiny
from command_runs import call, refused
from conftest import git

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE, read
from autoresearch_mlx.trial.sandbox.detect import Sandbox

TOML = tiny.settings(
    0.6,
    """\
[judge]
mode = "margin"
replicates = 1
""",
)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return tiny.lab(tmp_path / "lab", TOML)


def write(lab: Lab, text: str) -> None:
    with (lab.root / "lab.toml").open("a") as file:
        file.write(text)


def recorded(lab: Lab) -> str:
    (baseline,) = read(lab.folder("t") / FILE).history.experiments
    return str(baseline.measurements[0].machine["sandbox"])


@pytest.mark.slow
def test_a_required_sandbox_that_holds_lets_runs_begin_and_stands_in_the_record(sandbox: Sandbox, lab: Lab) -> None:
    done = call(lab, "run", "--tag", "t", "--experiments", "0", "--require-sandbox")
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert recorded(lab) == sandbox.words
    assert not list((lab.folder("t") / "runs").glob("*/tmp"))


@pytest.mark.slow
def test_without_a_sandbox_run_warns_once_and_each_measurement_says_so(lab: Lab) -> None:
    write(lab, '[sandbox]\nenabled = "never"\n')
    done = call(lab, "run", "--tag", "t", "--experiments", "0")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("WARNING: no sandbox: switched off by sandbox.enabled") == 1
    assert "runs with your rights" in done.stderr
    assert recorded(lab) == "none (switched off by sandbox.enabled)"


def test_a_sandbox_that_is_required_and_switched_off_is_a_contradiction(lab: Lab) -> None:
    write(lab, '[sandbox]\nenabled = "never"\n')
    for command in (["run"], ["try", "-m", "mine"]):
        said = refused(lab, *command, "--require-sandbox")
        assert 'require = true and enabled = "never" exclude each other' in said


def test_a_command_lab_runs_in_no_sandbox_and_does_not_pretend_to(command_lab: Lab) -> None:
    assert "runs without a sandbox" in refused(command_lab, "run", "--require-sandbox", "--experiments", "0")
    done = call(command_lab, "run", "--experiments", "0")
    assert done.returncode == 0 and "WARNING" not in done.stderr


@pytest.mark.slow
def test_doctor_shows_the_sandbox_the_limits_and_that_it_holds(sandbox: Sandbox, lab: Lab, tmp_path: Path) -> None:
    before = call(lab, "doctor", AUTORESEARCH_CACHE=str(tmp_path / "empty"))
    assert re.search(r"^  probe +not tried, because the test needs prepared data", before.stdout, re.MULTILINE)
    call(lab, "run", "--tag", "t", "--experiments", "0")
    findings = {f["name"]: f for f in json.loads(call(lab, "doctor", "--json").stdout) if f["section"] == "sandbox"}
    assert (findings["sandbox"]["value"], findings["sandbox"]["state"]) == (sandbox.words, "ok")
    assert re.fullmatch(r"\d+ attempts ended as expected", findings["probe"]["value"])
    memory = r"\d+\.\d GB of memory \(memory_gb = \d+\.\d in lab\.toml\)"
    disk = r"8\.\d GB written into its folder, 1\.\d GB of disk must stay free"
    assert re.fullmatch(f"{memory}, {disk}", findings["a run may use"]["value"])


def test_doctor_notes_a_missing_sandbox(lab: Lab) -> None:
    write(lab, '[sandbox]\nenabled = "never"\n')
    (finding,) = (f for f in json.loads(call(lab, "doctor", "--json").stdout) if f["name"] == "sandbox")
    assert (finding["state"], finding["value"]) == ("note", "none: switched off by sandbox.enabled")
    assert finding["hint"]


def test_limits_of_the_lab_hold_for_a_command_too(command_lab: Lab) -> None:
    (command_lab.root / "bench.py").write_text(
        "import time\nblocks = []\nfor _ in range(40):\n    blocks.append(b'x' * 10_000_000)\n    time.sleep(0.02)\n"
        "time.sleep(20)\n"
    )
    git(command_lab.root, "commit", "-qam", "a hungry bench")
    write(command_lab, "[limits]\nmemory_gb = 0.2\n")
    git(command_lab.root, "commit", "-qam", "limits")
    done = call(command_lab, "run", "--tag", "t", "--experiments", "0")
    (baseline,) = read(command_lab.folder("t") / FILE).history.experiments
    assert baseline.status == "crash"
    assert re.fullmatch(r"the run used 0\.\d GB of memory, and a run may use 0\.2 GB; killed", baseline.reason)
    assert "the run used" in done.stderr
