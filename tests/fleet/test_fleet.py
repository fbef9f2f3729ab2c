"""A fleet of two made-up machines on this computer: real Dask with TLS on 127.0.0.1, real git, real measurements."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import tiny_training as tiny
from conftest import ROOT, command_line, git, write_command_lab

from autoresearch_mlx.experiment import Experiment, Measurement
from autoresearch_mlx.fleet.corpora import corpora_in, digest_of
from autoresearch_mlx.fleet.pairing import make_pairing
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE, Journal, read

pytestmark = pytest.mark.slow

pytest.importorskip("distributed", reason="the extra `fleet` is not installed")

BENCH = """\
import os
from solver import X, Y
noise = int(os.environ["AUTORESEARCH_SEED"]) * 7919 % 13 / 1000
print(f"METRIC score={X / Y + float(os.environ['OFFSET']) + noise:.6f}")
"""
SOLVER = "X = 4.0\nY = 1\n"
OFFSETS = {"mini": "0", "studio": "0.25"}
STEPS = [3.0, 4.5, 3.2, None, 3.1, 2.5]
"""Values of X, one for each experiment; lower is better.  None means an edit that does not run."""


@dataclass(frozen=True, slots=True)
class Process:
    """A command that runs until it is told to end; its messages go into a file."""

    popen: subprocess.Popen[bytes]
    said: Path

    def waits_for(self, words: str, seconds: float = 60.0) -> str:
        return waited(lambda: words in (text := self.said.read_text()) and text, f"{words!r} in {self.said}", seconds)

    def ends(self, seconds: float = 30.0) -> str:
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        self.popen.wait(seconds)
        return self.said.read_text()


def waited(holds: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


@dataclass(frozen=True, slots=True)
class Fleet:
    """A coordinator and two machines, with the output of their commands during a night of six experiments."""

    folder: Path
    lab: Lab
    coordinator: Process
    machines: dict[str, Process]
    run: subprocess.CompletedProcess[str]
    journal: Journal
    status: dict[str, Any]
    said: dict[str, str]
    """Output of each command that ends by itself."""

    @property
    def pairing(self) -> Path:
        return self.lab.state / ".fleet" / "pairing.json"

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return command_line(*arguments, cwd=self.lab.root, AUTORESEARCH_CACHE=str(self.folder / "cache"))


def started(folder: Path, cwd: Path, name: str, *arguments: str, **environment: str) -> Process:
    said = folder / f"{name}.txt"
    added = {"AUTORESEARCH_CACHE": str(folder / "cache"), **environment}
    with said.open("wb") as file:
        command = [sys.executable, "-m", "autoresearch_mlx", "fleet", *arguments, "--host", "127.0.0.1"]
        popen = subprocess.Popen(command, cwd=cwd, stdout=file, stderr=file, env={**os.environ, **added})
    return Process(popen, said)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Go through docs/fleet.md with two machines; the lab's experiments are those of STEPS."""
    folder = tmp_path_factory.mktemp("fleet")
    lab = write_command_lab(folder / "lab")
    (lab.root / "bench.py").write_text(BENCH)
    (lab.root / "solver.py").write_text(SOLVER)
    git(lab.root, "commit", "-qam", "machines differ")
    steps = [{"title": f"X = {x}", "knobs": {"X": x} if x else {"Y": 0}} for x in STEPS]
    (folder / "steps.json").write_text(json.dumps(steps))
    begun = [started(folder, lab.root, "coordinator", "start", "--port", "0")]
    try:
        begun[0].waits_for("pairing file")
        shutil.copy(lab.state / ".fleet" / "pairing.json", folder)
        machines = {}
        for name, offset in OFFSETS.items():
            home = ["--home", str(folder / "disk" / "fleet")] if name == "mini" else []
            machines[name] = started(folder, folder, name, "join", "pairing.json", "--name", name, *home, OFFSET=offset)
            begun.append(machines[name])
        for machine in machines.values():
            machine.waits_for("takes part in the fleet")
        night = ("run", "--fleet", "--experiments", "6")
        run = command_line(*night, "--tag", "t", "--agent", f"scripted:{folder}/steps.json", cwd=lab.root)
        said = {" ".join(night): run.stdout}
        for command in ("fleet status", "log"):
            said[command] = command_line(*command.split(), cwd=lab.root).stdout
        status = json.loads(command_line("fleet", "status", "--json", cwd=lab.root).stdout)
        yield Fleet(folder, lab, begun[0], machines, run, read(lab.folder("t") / FILE), status, said)
    finally:
        for process in reversed(begun):
            process.ends()


def experiments(fleet: Fleet) -> dict[int, Experiment]:
    return {e.number: e for e in fleet.journal.history.experiments}


def machine_of(m: Measurement) -> str:
    return str(m.machine["fleet_machine"])


def test_every_experiment_is_measured_once_and_both_machines_take_part(fleet: Fleet) -> None:
    assert fleet.run.returncode == 0, fleet.run.stderr
    events = [json.loads(line) for line in (fleet.lab.folder("t") / FILE).read_text().splitlines()]
    assert Counter(e["number"] for e in events if e["event"] == "finished") == dict.fromkeys(range(7), 1)
    measured = [m for e in experiments(fleet).values() for m in e.measurements]
    assert {machine_of(m) for m in measured} == set(OFFSETS)


def test_the_verdicts_are_right_although_the_values_of_the_machines_lie_apart(fleet: Fleet) -> None:
    statuses = {e.title.partition(" (")[0]: e.status for e in experiments(fleet).values()}
    assert (statuses["X = 4.5"], statuses["X = None"]) == ("discard", "crash")
    assert statuses["X = 2.5"] == "keep"
    assert "X = 2.5" in git(fleet.lab.root, "show", "autoresearch/t:solver.py")
    values = {machine_of(m): m.value for m in _baseline(fleet) if m.seed == 42 and m.value is not None}
    assert values["studio"] - values["mini"] == pytest.approx(0.25)


def _baseline(fleet: Fleet) -> list[Measurement]:
    again = [r.measurement for r in fleet.journal.history.repeats if r.number == 0]
    return [*experiments(fleet)[0].measurements, *again]


def test_each_machine_measures_the_baseline_in_a_regime_of_its_own(fleet: Fleet) -> None:
    regimes = {(machine_of(m), m.regime) for m in _baseline(fleet)}
    assert len(regimes) == 2 and {name for name, _ in regimes} == set(OFFSETS)
    keys = {machine_of(m): m.key for m in _baseline(fleet)}
    assert keys["mini"] != keys["studio"], "values of two machines are never compared"


def test_a_gain_is_kept_after_a_second_machine_has_confirmed_it(fleet: Fleet) -> None:
    kept = [e for e in experiments(fleet).values() if e.status == "keep" and e.number > 0]
    assert kept
    for e in kept:
        assert {machine_of(m) for m in e.measurements} == set(OFFSETS)
        assert "over 2 machines" in e.reason or " on mini" in e.reason


def test_status_names_the_machines_and_what_they_delivered(fleet: Fleet) -> None:
    told = {machine["name"]: machine for machine in fleet.status["machines"]}
    assert set(told) == set(OFFSETS) and fleet.status["answers"]
    assert all(machine["state"] == "free" and machine["runs"] >= 3 for machine in told.values())
    assert all(machine["sigma"] > 0 for machine in told.values())
    assert re.search(r"discard +\S+ +\S+ +knob.x +(mini|studio) +X = 4.5", fleet.said["log"]), fleet.said["log"]
    table = fleet.said["fleet status"]
    assert "http://127.0.0.1:" in table and "studio" in table


def test_only_the_owner_can_read_the_certificates(fleet: Fleet) -> None:
    folder = fleet.pairing.parent
    assert folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.glob("*.json"))


def test_a_client_without_a_certificate_gets_no_answer(fleet: Fleet) -> None:
    address = json.loads(fleet.pairing.read_text())["address"].removeprefix("tls://")
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        plain.sendall(b"hello\n" * 100)
        plain.settimeout(10)
        with pytest.raises(OSError):
            while data := plain.recv(1000):
                assert b"fleet" not in data
            raise OSError("closed")


def test_a_pairing_file_of_another_fleet_is_refused_in_words(fleet: Fleet) -> None:
    strange = make_pairing(fleet.folder / "strange", json.loads(fleet.pairing.read_text())["address"])
    done = fleet.call("fleet", "join", str(strange), "--name", "stranger")
    assert done.returncode == 1
    advice = "copy the file that `fleet start` names on the coordinator"
    assert f"has other certificates than this pairing file: {advice}" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [("{}", "is not a pairing file"), ("not JSON", "is not a pairing file"), (None, "No such file")],
)
def test_a_file_that_is_no_pairing_is_refused_with_the_next_step(fleet: Fleet, text: str | None, said: str) -> None:
    path = fleet.folder / "no-pairing.json"
    path.unlink(missing_ok=True)
    if text is not None:
        path.write_text(text)
    done = fleet.call("fleet", "join", str(path))
    assert done.returncode == 1 and said in done.stderr and "hint: copy to this machine" in done.stderr


def test_a_second_machine_of_the_same_name_is_refused(fleet: Fleet) -> None:
    done = fleet.call("fleet", "join", str(fleet.pairing), "--name", "studio", "--host", "127.0.0.1")
    assert done.returncode == 1 and "studio already takes part from" in done.stderr
    home = str(fleet.folder / "another")
    done = fleet.call("fleet", "join", str(fleet.pairing), "--name", "studio", "--host", "127.0.0.1", "--home", home)
    assert done.returncode == 1 and "another machine of this fleet is called studio" in done.stderr


def test_a_machine_without_the_sessions_corpus_is_refused_with_the_remedy(fleet: Fleet) -> None:
    wanted = fleet.pairing.with_name("wanted.json")
    before = wanted.read_text()
    wanted.write_text(json.dumps({**json.loads(before), "corpus": "0" * 12, "source": "tinystories"}))
    try:
        done = fleet.call("fleet", "join", str(fleet.pairing), "--name", "bare", "--host", "127.0.0.1")
    finally:
        wanted.write_text(before)
    assert done.returncode == 1 and "`autoresearch-mlx prepare tinystories` here" in done.stderr
    assert "bare was refused" in fleet.coordinator.said.read_text()


def test_a_machine_without_the_sessions_corpus_receives_it(fleet: Fleet) -> None:
    """The coordinator names the corpus only after the machine has joined, as when a first session starts."""
    wanted, cache = fleet.pairing.with_name("wanted.json"), fleet.folder / "another-cache"
    before = wanted.read_text()
    join = ("join", str(fleet.pairing), "--name", "bare")
    machine = started(fleet.folder, fleet.folder, "bare", *join, AUTORESEARCH_CACHE=str(cache))
    try:
        machine.waits_for("bare takes part in the fleet")
        digest = digest_of(tiny.corpus(fleet.folder / "cache").manifest.sha256)
        wanted.write_text(json.dumps({**json.loads(before), "corpus": digest}))
        machine.waits_for("receiving the session's corpus: folder-corpus-v300-t32")
        assert waited(lambda: digest in corpora_in(cache), "the corpus")
        for name in ("bare", "mini"):  # mini shares the coordinator's cache
            waited(lambda name=name: _told(fleet, name)["state"] == "free", f"{name} takes part again", 150)
    finally:
        wanted.write_text(before)
        machine.ends()


def _told(fleet: Fleet, name: str) -> dict[str, Any]:
    machines = json.loads(fleet.call("fleet", "status", "--json").stdout)["machines"]
    return next(machine for machine in machines if machine["name"] == name)


def test_a_second_coordinator_of_a_lab_is_refused(fleet: Fleet) -> None:
    done = fleet.call("fleet", "start")
    assert done.returncode == 1 and "is running already" in done.stderr


def test_machines_leave_when_they_are_told_to(fleet: Fleet) -> None:
    """This is the last test: afterwards no machine takes part."""
    assert fleet.call("fleet", "leave", "nobody").returncode == 1
    assert fleet.call("fleet", "leave", "studio").stdout == "studio leaves the fleet within seconds\n"
    fleet.machines["studio"].waits_for("studio has left the fleet")
    assert fleet.machines["studio"].popen.wait(30) == 0
    fleet.said["fleet leave"] = fleet.call("fleet", "leave").stdout
    assert fleet.said["fleet leave"] == "mini leaves the fleet within seconds\n", "its home is elsewhere"
    assert fleet.machines["mini"].popen.wait(30) == 0
    fleet.coordinator.waits_for("mini has left")
    told = {
        machine["name"]: machine for machine in json.loads(fleet.call("fleet", "status", "--json").stdout)["machines"]
    }
    assert {name: told[name]["state"] for name in OFFSETS} == dict.fromkeys(OFFSETS, "left")
    assert all(told[name]["seen"] is not None and told[name]["runs"] >= 3 for name in OFFSETS)
    (scheduler,) = psutil.Process(fleet.coordinator.popen.pid).children()
    scheduler.kill()
    fleet.coordinator.waits_for("the scheduler runs again")
    assert {name: _told(fleet, name) for name in OFFSETS} == {name: told[name] for name in OFFSETS}, "it remembers them"
    again = fleet.call("fleet", "leave", "mini")
    assert again.returncode == 1 and "no machine called mini takes part" in again.stderr


def test_every_command_of_the_page_has_been_run(fleet: Fleet) -> None:
    page = (ROOT / "docs" / "fleet.md").read_text()
    commands = re.findall(r"^\$ autoresearch-mlx (.*)$", page, re.MULTILINE)
    assert set(commands) == {"fleet start", "fleet join pairing.json", *fleet.said}
