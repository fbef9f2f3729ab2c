"""A fleet of two made-up machines on this computer: real Dask with TLS on 127.0.0.1, real git, real measurements."""

from __future__ import annotations

import json
import os
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

import pytest
from conftest import command_line, git, write_command_lab

from autoresearch_mlx.experiment import Experiment, Measurement
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE, Journal, read

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
"""Values of X, one for each experiment; lower is better.  None: an edit that does not run."""


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


def started(lab: Lab, name: str, *arguments: str, **environment: str) -> Process:
    said = lab.root.parent / f"{name}.txt"
    with said.open("wb") as file:
        command = [sys.executable, "-m", "autoresearch_mlx", "fleet", *arguments]
        popen = subprocess.Popen(command, cwd=lab.root, stdout=file, stderr=file, env={**os.environ, **environment})
    return Process(popen, said)


@dataclass(frozen=True, slots=True)
class Fleet:
    lab: Lab
    coordinator: Process
    machines: dict[str, Process]
    pairing: Path
    run: subprocess.CompletedProcess[str]
    journal: Journal
    status: dict[str, Any]
    table: str
    left: str


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Let two machines measure six experiments; one leaves afterwards."""
    folder = tmp_path_factory.mktemp("fleet")
    lab = write_command_lab(folder / "lab")
    (lab.root / "bench.py").write_text(BENCH)
    (lab.root / "solver.py").write_text(SOLVER)
    git(lab.root, "commit", "-qam", "machines differ")
    steps = [{"title": f"X = {x}", "knobs": {"X": x} if x else {"Y": 0}} for x in STEPS]
    (folder / "steps.json").write_text(json.dumps(steps))
    cache = {"AUTORESEARCH_CACHE": str(folder / "cache")}
    begun = [started(lab, "coordinator", "start", "--host", "127.0.0.1", "--port", "0", **cache)]
    pairing = lab.state / ".fleet" / "pairing.json"
    try:
        begun[0].waits_for("pairing file")
        machines = {}
        for name, offset in OFFSETS.items():
            options = ("join", str(pairing), "--name", name, "--host", "127.0.0.1")
            machines[name] = started(lab, name, *options, OFFSET=offset, **cache)
            begun.append(machines[name])
        for machine in machines.values():
            machine.waits_for("takes part in the fleet")
        run = command_line(
            *("run", "--fleet", "--tag", "t", "--agent", f"scripted:{folder}/steps.json", "--experiments", "6"),
            cwd=lab.root,
            **cache,
        )
        status = json.loads(command_line("fleet", "status", "--json", cwd=lab.root).stdout)
        table = command_line("fleet", "status", cwd=lab.root).stdout
        left = command_line("fleet", "leave", "mini", cwd=lab.root).stdout
        yield Fleet(lab, begun[0], machines, pairing, run, read(lab.folder("t") / FILE), status, table, left)
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
    assert "http://127.0.0.1:" in fleet.table and "studio" in fleet.table


def test_a_machine_leaves_when_it_is_told_to(fleet: Fleet) -> None:
    assert fleet.left == "mini leaves the fleet within seconds\n"
    fleet.machines["mini"].waits_for("mini has left the fleet")
    assert fleet.machines["mini"].popen.wait(30) == 0
    fleet.coordinator.waits_for("mini has left")


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
