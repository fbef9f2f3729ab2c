"""Start a fleet of made-up machines on this computer: real processes, real Dask, TLS on 127.0.0.1."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

BENCH = """\
import os, random, time
from solver import X
time.sleep({seconds} * float(os.environ["MACHINE_SLOWNESS"]))
noise = random.Random(os.urandom(8)).gauss(0.0, {noise})
print(f"METRIC score={{X + float(os.environ['MACHINE_OFFSET']) + noise:.6f}}")
"""
LAB = '[target]\nkind = "command"\neditable = ["solver.py"]\nrun = "{python} -S bench.py"\nmetric = "score"\n'
NOISE = 0.003
"""Standard deviation of one run."""


@dataclass(frozen=True, slots=True)
class Made:
    """A made-up machine: the amount that it adds to every value, and the factor by which it is slower."""

    name: str
    offset: float
    slowness: float


MACHINES = (Made("mini", 0.0, 1.0), Made("air", 0.06, 1.1), Made("studio", 0.15, 0.9), Made("box", 0.25, 1.2))


@dataclass(slots=True)
class Running:
    """A running fleet: its lab, its folder, and its processes by name."""

    lab: Path
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def pairing(self) -> Path:
        return self.lab / ".autoresearch" / ".fleet" / "pairing.json"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "AUTORESEARCH_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1"}

    def start(self, name: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a command whose messages are added to the file NAME.txt."""
        with (self.folder / f"{name}.txt").open("ab") as said:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "autoresearch_mlx", *arguments],
                cwd=self.lab,
                stdout=said,
                stderr=said,
                env={**self.environment, **environment},
                start_new_session=True,
            )
        return self.processes[name]

    def coordinate(self) -> None:
        port = [] if self.pairing.exists() else ["--port", "0"]
        self.start("coordinator", "fleet", "start", "--host", "127.0.0.1", *port)

    def join(self, machine: Made, home: Path | None = None) -> None:
        environment = {"MACHINE_OFFSET": str(machine.offset), "MACHINE_SLOWNESS": str(machine.slowness)}
        options = ["--name", machine.name, "--host", "127.0.0.1"]
        options += ["--home", str(home)] if home is not None else []
        self.start(machine.name, "fleet", "join", str(self.pairing), *options, **environment)

    def run(self, experiments: int) -> subprocess.Popen[bytes]:
        options = ["--agent", "scripted:steps.json", "--experiments", str(experiments), "--no-report"]
        return self.start("run", "run", "--fleet", "--tag", "t", *options)

    def said(self, name: str) -> str:
        path = self.folder / f"{name}.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the lines of the ledger of these kinds."""
        path = self.lab / ".autoresearch" / "t" / "ledger.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        found = []
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:  # the last line is still being written
                continue
            if event["event"] in kinds:
                found.append(event)
        return found

    def end(self) -> None:
        for process in reversed(list(self.processes.values())):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(holds: Callable[[], Any], what: str, seconds: float = 120.0) -> Any:
    """Wait until ``holds`` returns a true value, and return this value.  Raises SystemExit after ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.05)
    raise SystemExit(f"waited {seconds:.0f} s in vain for {what}")


@contextmanager
def fleet(folder: Path, machines: tuple[Made, ...], steps: list[float], seconds: float) -> Iterator[Running]:
    """Make a lab whose experiments set X to the ``steps``, start its fleet, and end it after the block."""
    running = Running(make_lab(folder / "lab", steps, seconds), folder)
    try:
        running.coordinate()
        wait_for(lambda: "pairing file" in running.said("coordinator"), "the coordinator")
        for machine in machines:
            running.join(machine)
        for machine in machines:
            wait_for(partial(joined, running, machine.name), machine.name)
        yield running
    finally:
        running.end()


def joined(running: Running, name: str) -> bool:
    return "takes part" in running.said(name)


def make_lab(root: Path, steps: list[float], seconds: float) -> Path:
    root.mkdir(parents=True)
    (root / "solver.py").write_text("X = 1.0\n")
    (root / "bench.py").write_text(BENCH.format(seconds=seconds, noise=NOISE))
    (root / "lab.toml").write_text(LAB.format(python=sys.executable))
    (root / "steps.json").write_text(json.dumps([{"title": f"X = {x}", "knobs": {"X": x}} for x in steps]))
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for command in (["init", "--quiet"], ["add", "-A"], [*identity, "commit", "--quiet", "-m", "a lab"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


def script(experiments: int) -> list[float]:
    """Return a value of X for each experiment: every tenth gains 0.03 over the one before, and the others lose."""
    best, found = 1.0, []
    for at in range(experiments):
        if at % 10 == 5:
            best = round(best - 0.03, 6)
            found.append(best)
        else:
            found.append(round(1.02 + 0.01 * (at % 7) + 0.0001 * at, 6))
    return found


def counts(running: Running, experiments: int) -> tuple[list[int], list[int]]:
    """Return two counts: experiments that began and have no result, and experiments with more than one result."""
    finished = running.events("finished")
    times = Counter(e["number"] for e in finished)
    dead = {e["number"] for e in finished if e["status"] == "interrupted"}
    begun = {e["number"] for e in running.events("started")} - {e["number"] for e in running.events("abandoned")}
    lost = sorted({number for number in begun if times[number] == 0} | dead)
    if len(finished) < experiments + 1:
        lost.append(experiments + 1 - len(finished))
    return lost, [number for number, count in times.items() if count > 1]


def runs_twice(running: Running) -> list[str]:
    """Return the runs that the ledger counts twice: runs with the same machine, value, seed and times."""
    runs = [m for e in running.events("finished") for m in e["measurements"]]
    runs += [e["measurement"] for e in running.events("repeated")]
    marks = Counter(json.dumps([m["value"], m["seed"], m["seconds"], _named(m["machine"])]) for m in runs)
    return [mark for mark, count in marks.items() if count > 1]


def _named(machine: Mapping[str, Any]) -> str:
    return str(machine.get("fleet_machine"))


def wrong(running: Running) -> list[str]:
    """Return the experiments with a wrong verdict; ``keep`` is right if X is lower than in the version before."""
    found, best = [], 1.0
    for event in running.events("finished"):
        number, status = event["number"], event["status"]
        if number == 0:
            continue
        x = float(event["title"].split()[2])
        if (status == "keep") != (x < best):
            found.append(f"#{number} X = {x} after {best}: {status}, {event['reason']}")
        best = x if status == "keep" else best
    return found
